//! Whether a browser sends a request for a page of ours.
//!
//! Cookies go along with what any page makes a browser send. `SameSite` stops pages of other sites, but
//! instances are subdomains of the domain and so the same *site*: a tenant's page could still send. So a
//! session counts only for requests of the same *origin*, which browsers tell by `Sec-Fetch-Site`
//! (<https://www.w3.org/TR/fetch-metadata/>) and `Origin` (RFC 6454).

use http::{HeaderMap, HeaderName, header};

use super::host;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether nothing says that another origin's page is behind a request to `host` (with its port). A
/// client that is no browser says nothing.
#[must_use]
pub fn is_own_origin(headers: &HeaderMap, host: &str) -> bool {
    let site = headers.get_all(SEC_FETCH_SITE).iter().all(|site| {
        // `none`: somebody typed the address.
        matches!(site.as_bytes(), b"same-origin" | b"none")
    });
    let origin =
        headers.get_all(header::ORIGIN).iter().all(|origin| names(origin.as_bytes(), host));
    site && origin
}

/// Whether `origin` is that of `host`. Either scheme: who answers here can't always tell which one the
/// client used, and whoever owns the name at one owns it at the other.
fn names(origin: &[u8], host: &str) -> bool {
    let (rest, default) = match (origin.strip_prefix(b"https://"), origin.strip_prefix(b"http://"))
    {
        (Some(rest), _) => (rest, "443"),
        (_, Some(rest)) => (rest, "80"),
        // `null`, for one.
        _ => return false,
    };
    let (Some(theirs), Some(ours)) = (host::parse(rest), host::parse(host.as_bytes())) else {
        return false;
    };
    let port = |port: Option<&[u8]>| {
        port.filter(|port| !port.is_empty() && *port != default.as_bytes()).map(<[u8]>::to_vec)
    };
    theirs.name.eq_ignore_ascii_case(ours.name) && port(theirs.port) == port(ours.port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(fields: &[(&'static str, &str)], host: &str) -> bool {
        let headers = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        is_own_origin(&headers, host)
    }

    #[test]
    fn a_page_of_the_same_origin_and_a_client_that_is_no_browser_may() {
        assert!(own(&[], "example.com"));
        assert!(own(
            &[("origin", "https://Example.com"), ("sec-fetch-site", "same-origin")],
            "example.com"
        ));
        assert!(own(&[("sec-fetch-site", "none")], "example.com"));
        assert!(own(&[("origin", "http://localhost:8080")], "localhost:8080"));
        assert!(own(&[("origin", "https://example.com")], "example.com:443"));
        assert!(own(&[("origin", "http://[::1]:8080")], "[::1]:8080"));
    }

    #[test]
    fn pages_of_tenants_other_sites_and_other_ports_may_not() {
        for bad in [
            "https://prod.api.example.com",
            "https://example.com.evil.org",
            "https://evil.org",
            "https://example.com:8443",
            "http://localhost:3000",
            "https://example.com@evil.org",
            "null",
            "",
            "file://",
        ] {
            assert!(!own(&[("origin", bad)], "example.com"), "{bad}");
        }
        assert!(!own(&[("origin", "http://localhost:3000")], "localhost:8080"));
        for site in ["same-site", "cross-site", "Same-Origin", ""] {
            assert!(!own(&[("sec-fetch-site", site)], "example.com"), "{site}");
        }
        let two = [("origin", "https://example.com"), ("origin", "https://evil.org")];
        assert!(!own(&two, "example.com"));
    }
}
