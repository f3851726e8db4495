//! What `ten logs` asks the agent.

use jiff::tz::TimeZone;

use crate::args::Which;

/// The path of a route with the parameters that say which lines.
pub fn path(route: &str, which: &Which, more: &[(&str, String)]) -> String {
    let mut given: Vec<(&str, String)> = Vec::new();
    match (which.instance(), which.process()) {
        (Some(name), _) => given.push(("instance", name.to_string())),
        (None, Some(process)) => given.push(("process", process.to_string())),
        (None, None) => {}
    }
    let options = [
        ("since", &which.since),
        ("until", &which.until),
        ("level", &which.level),
        ("search", &which.search),
    ];
    for (field, value) in options {
        given.extend(value.as_ref().map(|value| (field, value.clone())));
    }
    if which.since.is_some() || which.until.is_some() {
        // Times are meant as the clock of whoever types them shows them.
        given.extend(TimeZone::system().iana_name().map(|zone| ("zone", zone.to_owned())));
    }
    given.extend(more.iter().cloned());
    crate::client::path_with(route, &given)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_searched_for_arrives_as_it_is() {
        let which = Which {
            target: Some("api:prod".parse().unwrap()),
            search: Some("a&b=\"é\" +x#%".into()),
            ..Which::default()
        };
        assert_eq!(
            path("/logs", &which, &[("limit", "5".into())]),
            "/logs?instance=api:prod&search=a%26b%3D%22%C3%A9%22%20%2Bx%23%25&limit=5"
        );
        assert_eq!(path("/logs", &Which::default(), &[]), "/logs");
    }
}
