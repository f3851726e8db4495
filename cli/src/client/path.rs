//! Paths with parameters.

use std::fmt::Write as _;

/// `route` with the parameters given.
pub fn path_with(route: &str, given: &[(&str, String)]) -> String {
    let mut path = route.to_owned();
    for (at, (field, value)) in given.iter().enumerate() {
        path.push(if at == 0 { '?' } else { '&' });
        let _ = write!(path, "{field}={}", encoded(value));
    }
    path
}

/// Percent-encoded, but for what no URL gives a meaning (RFC 3986, section 2.3) and `:`.
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' | b':' => out.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            byte => drop(write!(out, "%{byte:02X}")),
        }
    }
    out
}
