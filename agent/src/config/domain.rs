//! The domain: a DNS name, never an address.

use tenement_wire::names::LABEL_MAX;

/// The longest domain: a name has at most 253 characters (RFC 1035 section 2.3.4), and the longest
/// `{id}.{process}.` stands before it.
const DOMAIN_MAX: usize = 253 - 2 * (LABEL_MAX + 1);

/// The domain in lower case and without a trailing dot, or what is wrong with it and what to write.
pub(super) fn domain(text: &str) -> Result<String, (String, String)> {
    let fix = "write a DNS name such as \"example.com\" or \"localhost\"".to_owned();
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if let Some((_, rest)) = name.split_once("://") {
        let host = rest.split(['/', ':']).next().unwrap_or_default();
        let fix = if host.is_empty() { fix } else { format!("write only \"{host}\"") };
        return Err(("this is a URL, not a domain".into(), fix));
    }
    if name.parse::<std::net::IpAddr>().is_ok() || name.starts_with('[') {
        return Err(("an IP address has no subdomains".into(), fix));
    }
    if let Some((host, _)) = name.split_once(':') {
        let fix = format!("write \"{host}\"; the port is a key of its own: port = 8080");
        return Err(("a domain has no port".into(), fix));
    }
    if let Some(rest) = name.strip_prefix("*.") {
        return Err((
            "the wildcard is implied".into(),
            format!("write \"{rest}\"; instances are its subdomains"),
        ));
    }
    if name.len() > DOMAIN_MAX {
        let message =
            format!("the domain has {} characters, and {DOMAIN_MAX} is the most", name.len());
        return Err((message, "use a shorter domain: id and process stand before it".into()));
    }
    if let Some(label) = name.split('.').find(|label| !is_label(label)) {
        let message = if label.is_empty() {
            "the domain has an empty label".to_owned()
        } else {
            format!("`{}` is not a label of a domain", label.escape_default())
        };
        return Err((message, fix));
    }
    // A last label of digits only would make hosts that read as IPv4 addresses (WHATWG URL, 3.5).
    if name.rsplit('.').next().is_some_and(|tld| tld.bytes().all(|b| b.is_ascii_digit())) {
        return Err(("the last label of a domain cannot be a number".into(), fix));
    }
    Ok(name)
}

fn is_label(label: &str) -> bool {
    let inner = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    inner
        && !label.is_empty()
        && label.len() <= LABEL_MAX
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dns_names_are_domains() {
        assert_eq!(domain("Example.COM.").unwrap(), "example.com");
        assert_eq!(domain("localhost").unwrap(), "localhost");
        for bad in [
            "", ".", "a..b", "10.0.0.1", "::1", "[::1]", "a:80", "http://a", "*.a", "a_b", "-a",
            "1.2",
        ] {
            assert!(domain(bad).is_err(), "{bad:?} was taken");
        }
        assert!(domain(&"a.".repeat(100)).is_err());
    }
}
