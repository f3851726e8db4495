//! Hop-by-hop header fields (RFC 9110 section 7.6.1): taken off on the way in and out.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// What was taken off that the proxy itself must act on.
#[derive(Debug, Default)]
pub(super) struct Hop {
    /// The protocol of `Upgrade`, if `Connection` names it too.
    pub(super) upgrade: Option<HeaderValue>,
    /// Whether the peer takes trailers (`TE: trailers`).
    pub(super) trailers: bool,
    /// Whether there is a `traceparent`.
    pub(super) traced: bool,
    /// Whether there is an `X-Forwarded-Prefix`.
    pub(super) prefixed: bool,
}

/// The fields that are hop-by-hop whether `Connection` lists them or not.
const FIXED: [HeaderName; 9] = [
    header::CONNECTION,
    header::TE,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    HTTP2_SETTINGS,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHORIZATION,
    header::PROXY_AUTHENTICATE,
];

/// Takes off `Connection` and what it lists, the other hop-by-hop fields, and every field with a
/// `_` in its name, which many frameworks cannot tell from the one with a `-`.
pub(super) fn strip(headers: &mut HeaderMap) -> Hop {
    let mut found = Found::default();
    for name in headers.keys() {
        found.look_at(name.as_str());
    }
    let mut hop = Hop { traced: found.traced, prefixed: found.prefixed, ..Hop::default() };
    if found.underscore {
        let names: Vec<_> =
            headers.keys().filter(|name| name.as_str().contains('_')).cloned().collect();
        for name in names {
            headers.remove(name);
        }
    }
    if found.fixed & TE != 0 {
        hop.trailers = headers.get_all(header::TE).iter().any(|te| lists(te, "trailers"));
    }
    let listed = if found.fixed & CONNECTION != 0 { listed_names(headers) } else { Vec::new() };
    if listed.contains(&header::UPGRADE) {
        hop.upgrade = headers.get(header::UPGRADE).cloned();
    }
    for name in listed {
        // A message without these is another message: they are never hop-by-hop.
        if ![header::HOST, header::CONTENT_LENGTH, header::CONTENT_TYPE].contains(&name) {
            headers.remove(name);
        }
    }
    // Removing means hashing, so only what is there.
    for (n, name) in FIXED.iter().enumerate() {
        if found.fixed & (1 << n) != 0 {
            headers.remove(name);
        }
    }
    hop
}

/// Bits of [`Found::fixed`].
const CONNECTION: u16 = 1 << 0;
const TE: u16 = 1 << 1;

#[derive(Default)]
struct Found {
    /// Which of [`FIXED`] there are, a bit each.
    fixed: u16,
    underscore: bool,
    traced: bool,
    prefixed: bool,
}

impl Found {
    #[inline]
    fn look_at(&mut self, name: &str) {
        // By length first: nearly every name is none of these.
        if matches!(name.len(), 2 | 7 | 10 | 14 | 16..=19)
            && let Some(n) = FIXED.iter().position(|fixed| fixed.as_str() == name)
        {
            self.fixed |= 1 << n;
        }
        self.prefixed |= name.len() == 18 && name == "x-forwarded-prefix";
        self.traced |= name.len() == 11 && name == "traceparent";
        self.underscore |= memchr::memchr(b'_', name.as_bytes()).is_some();
    }
}

/// Joins the `Cookie` fields of a request that came by HTTP/2, where clients split them, to the one that HTTP/1.1
/// allows (RFC 9113 section 8.2.3).
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    let mut fields = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (fields.next(), fields.next()) else { return };
    let mut joined = first.as_bytes().to_vec();
    for field in std::iter::once(second).chain(fields) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(field.as_bytes());
    }
    // Made of values, it is one.
    if let Ok(joined) = HeaderValue::from_maybe_shared(Bytes::from(joined)) {
        headers.insert(header::COOKIE, joined);
    }
}

fn listed_names(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|b| *b == b','))
        .map(<[u8]>::trim_ascii)
        // What nearly all of them say; the field of that name goes with the fixed ones.
        .filter(|name| !name.eq_ignore_ascii_case(b"keep-alive"))
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .collect()
}

/// Whether the list `value` has `word`, parameters aside.
fn lists(value: &HeaderValue, word: &str) -> bool {
    value.as_bytes().split(|b| *b == b',').any(|item| {
        let item = item.split(|b| *b == b';').next().unwrap_or_default();
        item.trim_ascii().eq_ignore_ascii_case(word.as_bytes())
    })
}
