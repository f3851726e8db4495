//! The `Cookie` field (RFC 6265 section 5.4), as far as one cookie of ours is looked for.

use http::{HeaderMap, header};

/// The value of the cookie `name`. `None` if there is none, or several that differ: then somebody
/// else, an instance on a subdomain say, has set one too, and nobody can tell which is ours.
#[must_use]
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut found = None;
    for field in headers.get_all(header::COOKIE) {
        for pair in field.as_bytes().split(|b| *b == b';') {
            let pair = std::str::from_utf8(pair).unwrap_or_default().trim_ascii();
            let Some((key, value)) = pair.split_once('=') else { continue };
            if key != name {
                continue;
            }
            if found.is_some_and(|first| first != value) {
                return None;
            }
            found = Some(value);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[&str]) -> HeaderMap {
        fields.iter().map(|value| (header::COOKIE, value.parse().unwrap())).collect()
    }

    #[test]
    fn the_named_cookie_is_found_among_others() {
        let headers = headers(&["a=1; ten=x=y; b=2", "c=3"]);
        assert_eq!(cookie(&headers, "ten"), Some("x=y"));
        assert_eq!(cookie(&headers, "c"), Some("3"));
        assert_eq!(cookie(&headers, "te"), None);
        assert_eq!(cookie(&headers, "x"), None);
    }

    #[test]
    fn two_that_differ_are_none() {
        assert_eq!(cookie(&headers(&["ten=1; ten=2"]), "ten"), None);
        assert_eq!(cookie(&headers(&["ten=1", "ten=1"]), "ten"), Some("1"));
        assert_eq!(cookie(&headers(&["ten", "; ;=;"]), "ten"), None);
    }
}
