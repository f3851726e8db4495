//! What holds of header fields, whatever a client sends: the body of the fuzz target `headers`.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::forwarded::PeerHeaders;
use super::{headers, request_id};
use crate::framing::{cookie, is_own_origin, visitor};

/// Reads `data` as lines `name: value` and does to them what the proxy and the API do.
///
/// # Panics
/// If a promise is broken.
pub fn check(data: &[u8]) {
    let mut map = HeaderMap::new();
    for line in data.split(|b| *b == b'\n').take(100) {
        let mut parts = line.splitn(2, |b| *b == b':');
        let name = HeaderName::from_bytes(parts.next().unwrap_or_default());
        let value = HeaderValue::from_bytes(parts.next().unwrap_or_default().trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            map.append(name, value);
        }
    }
    let peer: IpAddr = "192.0.2.1".parse().expect("an address");
    let plain = visitor(peer, &map, |_| false);
    assert!(plain.address == peer && !plain.https && !plain.local, "an untrusted peer is believed");
    let all = visitor(peer, &map, |_| true);
    assert_eq!(all.address, all.address.to_canonical());
    if let Some(value) = cookie(&map, "ten") {
        assert!(!value.contains(';') && value.trim_ascii_end() == value);
    }
    let origins = map.get_all(header::ORIGIN).iter().any(|o| o.as_bytes() != b"http://a.b");
    assert!(!(origins && is_own_origin(&map, "a.b") && !own_by_case(&map)), "a foreign origin");
    let id = map.get("x-request-id").filter(|id| request_id::is_valid(id));
    assert!(id.is_none_or(|id| id.to_str().is_ok_and(|id| !id.contains(['<', '"', ' ']))));

    for trusted in [false, true] {
        let mut sent = map.clone();
        headers::strip(&mut sent);
        for gone in ["connection", "upgrade", "transfer-encoding", "te", "keep-alive"] {
            assert!(!sent.contains_key(gone), "{gone} is passed on");
        }
        assert!(sent.keys().all(|name| !name.as_str().contains('_')));
        let host = HeaderValue::from_static("a.b");
        PeerHeaders::new(peer, false).set(&mut sent, &host, trusted);
        let last = sent.get_all("x-forwarded-for").iter().next_back().expect("it was set");
        assert!(last.as_bytes().ends_with(b"192.0.2.1"));
        assert!(trusted || sent.get_all("x-forwarded-for").iter().count() == 1);
    }
}

/// The same origin in other words: another case, its default port, a trailing dot, or HTTPS.
fn own_by_case(map: &HeaderMap) -> bool {
    map.get_all(header::ORIGIN).iter().all(|origin| {
        let text = String::from_utf8_lossy(origin.as_bytes()).to_ascii_lowercase();
        let rest = text.split_once("://").map_or("", |(_, rest)| rest);
        matches!(
            rest,
            "a.b" | "a.b." | "a.b:" | "a.b.:" | "a.b:80" | "a.b.:80" | "a.b:443" | "a.b.:443"
        )
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::check;

    #[test]
    fn the_seeds_and_some_thousand_variations_of_them_break_no_promise() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/headers");
        let seeds: Vec<Vec<u8>> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
            .collect();
        assert!(seeds.len() >= 5);
        seeds.iter().for_each(|seed| check(seed));
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below.max(1) as u64) as usize
        };
        for _ in 0..5_000 {
            let mut data = seeds[random(seeds.len())].clone();
            let other = &seeds[random(seeds.len())];
            for _ in 0..=random(6) {
                let at = random(data.len() + 1);
                match random(3) {
                    0 => data.insert(at, random(256) as u8),
                    1 if at < data.len() => drop(data.remove(at)),
                    _ => drop(data.splice(at..at, other[random(other.len())..].iter().copied())),
                }
            }
            check(&data);
        }
    }
}
