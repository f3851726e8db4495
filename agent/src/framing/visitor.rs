//! Who is behind a request, as far as the peer's address and the header fields of trusted proxies tell.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue, header};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The most addresses of `X-Forwarded-For` that are looked at, from the last on.
const HOPS_MAX: usize = 32;

/// The far end of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visitor {
    /// The client's address: the peer's, or what a trusted proxy says. Never an IPv4-mapped one.
    pub address: IpAddr,
    /// Whether the client's bytes were encrypted on their way, as the trusted proxies say.
    pub https: bool,
    /// Whether the client is on this very host: a loopback peer that forwards for nobody.
    pub local: bool,
}

impl Visitor {
    /// Whether nobody in between could read the request.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.https || self.local
    }
}

/// Who is behind a request of `peer` with `headers`; `trusts` knows the configured proxies.
///
/// `X-Forwarded-For` is read from its end, for as long as each address is a trusted proxy's: what
/// stands further left was written by the client. `https` needs every element of
/// `X-Forwarded-Proto` to say so, for a proxy might only have added to the client's list.
#[must_use]
pub fn visitor(peer: IpAddr, headers: &HeaderMap, trusts: impl Fn(IpAddr) -> bool) -> Visitor {
    let peer = peer.to_canonical();
    let relayed = [X_FORWARDED_FOR, X_FORWARDED_PROTO, X_FORWARDED_HOST, header::FORWARDED]
        .iter()
        .any(|name| headers.contains_key(name));
    let local = peer.is_loopback() && !relayed;
    if !trusts(peer) {
        return Visitor { address: peer, https: false, local };
    }
    let mut address = peer;
    for hop in elements(headers, &X_FORWARDED_FOR).rev().take(HOPS_MAX) {
        let Some(hop) = hop_address(hop) else { break };
        address = hop;
        if !trusts(hop) {
            break;
        }
    }
    let mut schemes = elements(headers, &X_FORWARDED_PROTO).peekable();
    let https = schemes.peek().is_some() && schemes.all(|s| s.eq_ignore_ascii_case(b"https"));
    Visitor { address, https, local }
}

/// The elements of a list that may stand in several fields.
fn elements<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl DoubleEndedIterator<Item = &'a [u8]> + use<'a> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value: &HeaderValue| value.as_bytes().split(|b| *b == b','))
        .map(<[u8]>::trim_ascii)
}

/// An address as proxies write it: bare, in brackets, or with a port.
fn hop_address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().or_else(|_| text.parse::<SocketAddr>().map(|a| a.ip())).ok()?;
    Some(IpAddr::to_canonical(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind(peer: &str, fields: &[(&'static str, &str)]) -> Visitor {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        let trusts = |ip: IpAddr| ip.to_string().starts_with("10.");
        visitor(peer.parse().unwrap(), &headers, trusts)
    }

    fn address(peer: &str, forwarded_for: &[&str]) -> String {
        let fields: Vec<_> = forwarded_for.iter().map(|v| ("x-forwarded-for", *v)).collect();
        behind(peer, &fields).address.to_string()
    }

    #[test]
    fn only_trusted_proxies_say_who_the_client_is() {
        assert_eq!(address("192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(address("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(address("10.0.0.1", &["1.1.1.1, 198.51.100.7, 10.0.0.2"]), "198.51.100.7");
        assert_eq!(address("10.0.0.1", &["1.1.1.1", "198.51.100.7"]), "198.51.100.7");
        assert_eq!(address("::ffff:10.0.0.1", &["[2001:db8::1]:443"]), "2001:db8::1");
        assert_eq!(address("10.0.0.1", &["[2001:db8::1]"]), "2001:db8::1");
        assert_eq!(address("10.0.0.1", &["192.0.2.9:80"]), "192.0.2.9");
        assert_eq!(address("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(address("10.0.0.1", &["1.1.1.1, unknown"]), "10.0.0.1", "no guess beyond junk");
        assert_eq!(address("10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
        assert_eq!(address("10.0.0.1", &["10.0.0.9,".repeat(100).as_str()]), "10.0.0.1");
    }

    #[test]
    fn https_is_what_every_proxy_on_the_way_says() {
        let proto = |peer, value| behind(peer, &[("x-forwarded-proto", value)]).https;
        assert!(proto("10.0.0.1", "https"));
        assert!(proto("10.0.0.1", "HTTPS, https"));
        assert!(!proto("10.0.0.1", "https, http"), "the client could have written the first");
        assert!(!proto("10.0.0.1", "http"));
        assert!(!proto("10.0.0.1", ""));
        assert!(!proto("192.0.2.1", "https"), "anybody can write that");
        assert!(!behind("10.0.0.1", &[]).https);
    }

    #[test]
    fn a_loopback_peer_is_local_unless_it_forwards() {
        assert!(behind("127.0.0.1", &[]).local);
        assert!(behind("::1", &[]).is_private());
        assert!(!behind("127.0.0.1", &[("x-forwarded-for", "1.1.1.1")]).local);
        assert!(!behind("127.0.0.1", &[("forwarded", "for=1.1.1.1")]).local);
        assert!(!behind("192.0.2.1", &[]).is_private());
    }
}
