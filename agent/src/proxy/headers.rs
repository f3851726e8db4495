//! Hop-by-hop header fields (RFC 9110 section 7.6.1): taken off on the way in and out.

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
}

/// Takes off `Connection` and what it lists, the other hop-by-hop fields, and every field with a
/// `_` in its name, which many frameworks cannot tell from the one with a `-`.
pub(super) fn strip(headers: &mut HeaderMap) -> Hop {
    let mut found = Found::default();
    for name in headers.keys() {
        found.look_at(name);
    }
    let mut hop = Hop::default();
    if found.underscore {
        let names: Vec<_> =
            headers.keys().filter(|name| name.as_str().contains('_')).cloned().collect();
        for name in names {
            headers.remove(name);
        }
    }
    if !found.hop {
        return hop;
    }
    hop.trailers = headers.get_all(header::TE).iter().any(|te| lists(te, "trailers"));
    let listed = listed_names(headers);
    if listed.contains(&header::UPGRADE) {
        hop.upgrade = headers.get(header::UPGRADE).cloned();
    }
    for name in listed {
        // A message without these is another message: they are never hop-by-hop.
        if ![header::HOST, header::CONTENT_LENGTH, header::CONTENT_TYPE].contains(&name) {
            headers.remove(name);
        }
    }
    let fixed = [
        header::CONNECTION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        HTTP2_SETTINGS,
        header::TE,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::PROXY_AUTHORIZATION,
        header::PROXY_AUTHENTICATE,
    ];
    for name in fixed {
        headers.remove(name);
    }
    hop
}

#[derive(Default)]
struct Found {
    hop: bool,
    underscore: bool,
}

impl Found {
    fn look_at(&mut self, name: &HeaderName) {
        let text = name.as_str();
        // By length first: nearly every name is none of these.
        self.hop |= match text.len() {
            2 => *name == header::TE,
            7 => *name == header::UPGRADE,
            10 => *name == header::CONNECTION || *name == KEEP_ALIVE,
            14 => *name == HTTP2_SETTINGS,
            16 => *name == PROXY_CONNECTION,
            17 => *name == header::TRANSFER_ENCODING,
            18 => *name == header::PROXY_AUTHENTICATE,
            19 => *name == header::PROXY_AUTHORIZATION,
            _ => false,
        };
        self.underscore |= memchr::memchr(b'_', text.as_bytes()).is_some();
    }
}

fn listed_names(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|b| *b == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect()
}

/// Whether the list `value` has `word`, parameters aside.
fn lists(value: &HeaderValue, word: &str) -> bool {
    value.as_bytes().split(|b| *b == b',').any(|item| {
        let item = item.split(|b| *b == b';').next().unwrap_or_default();
        item.trim_ascii().eq_ignore_ascii_case(word.as_bytes())
    })
}
