//! `X-Forwarded-*` and `Forwarded` (RFC 7239): who the client is, as we see it.

use std::net::IpAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};

pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The parts that are the same for every request of a connection.
#[derive(Debug)]
pub(super) struct PeerHeaders {
    address: HeaderValue,
    node: String,
    /// `http` or `https`: how the client speaks to us.
    scheme: &'static str,
}

impl PeerHeaders {
    pub(super) fn new(peer: IpAddr, secure: bool) -> Self {
        let text = peer.to_string();
        let node = match peer {
            IpAddr::V4(_) => format!("for={text}"),
            IpAddr::V6(_) => format!("for=\"[{text}]\""),
        };
        let address = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("unknown"));
        Self { address, node, scheme: if secure { "https" } else { "http" } }
    }

    /// Sets the headers, over what the client sent, or after it if the peer is `trusted`.
    /// `host` is the request's `Host` as it stands.
    pub(super) fn set(&self, headers: &mut HeaderMap, host: &HeaderValue, trusted: bool) {
        let forwarded = self.forwarded(host);
        if !trusted {
            headers.insert(X_FORWARDED_FOR, self.address.clone());
            headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(self.scheme));
            headers.insert(X_FORWARDED_HOST, host.clone());
            headers.insert(header::FORWARDED, forwarded);
            return;
        }
        append(headers, &X_FORWARDED_FOR, &self.address);
        append(headers, &header::FORWARDED, &forwarded);
        headers.entry(X_FORWARDED_PROTO).or_insert(HeaderValue::from_static(self.scheme));
        headers.entry(X_FORWARDED_HOST).or_insert_with(|| host.clone());
    }

    fn forwarded(&self, host: &HeaderValue) -> HeaderValue {
        let mut text = Vec::with_capacity(self.node.len() + host.len() + 25);
        text.extend_from_slice(self.node.as_bytes());
        // `host` was checked to hold neither quote nor backslash, so that it can be quoted as it is.
        text.extend_from_slice(b";host=\"");
        text.extend_from_slice(host.as_bytes());
        text.extend_from_slice(b"\";proto=");
        text.extend_from_slice(self.scheme.as_bytes());
        HeaderValue::from_maybe_shared(Bytes::from(text))
            .unwrap_or(HeaderValue::from_static("for=unknown"))
    }
}

/// Joins all values of `name` and `last` to one list.
fn append(headers: &mut HeaderMap, name: &HeaderName, last: &HeaderValue) {
    let mut list = Vec::new();
    for value in headers.get_all(name) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(last.as_bytes());
    let joined = HeaderValue::from_maybe_shared(Bytes::from(list)).unwrap_or(last.clone());
    headers.insert(name.clone(), joined);
}
