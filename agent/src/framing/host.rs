//! `Host` and `:authority` values.

/// A checked host with its port, as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host<'a> {
    /// The name or address, without a trailing dot.
    pub name: &'a [u8],
    /// The port's digits.
    pub port: Option<&'a [u8]>,
}

impl Host<'_> {
    /// Whether both name the same host and port. A default port, of HTTP or HTTPS, counts as none.
    #[must_use]
    pub fn same_as(&self, other: &Host<'_>) -> bool {
        fn port<'a>(host: &Host<'a>) -> Option<&'a [u8]> {
            host.port.filter(|port| !port.is_empty() && !matches!(*port, b"80" | b"443"))
        }
        self.name.eq_ignore_ascii_case(other.name) && port(self) == port(other)
    }
}

/// Takes `value` apart. `None` if it is not `name[:port]` or `[address][:port]`: userinfo, paths,
/// percent escapes, lists and empty names are refused (RFC 9110 section 7.2).
#[must_use]
pub fn parse(value: &[u8]) -> Option<Host<'_>> {
    let (name, port) = match value {
        [b'[', rest @ ..] => {
            let end = memchr::memchr(b']', rest)?;
            let (address, after) = (&value[..end + 2], &rest[end + 1..]);
            let inner = &rest[..end];
            let valid = !inner.is_empty()
                && inner.iter().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'));
            if !valid {
                return None;
            }
            match after {
                [] => (address, None),
                [b':', port @ ..] => (address, Some(port)),
                _ => return None,
            }
        }
        _ => match memchr::memchr(b':', value) {
            None => (value, None),
            Some(at) => (&value[..at], Some(&value[at + 1..])),
        },
    };
    let name = if name.first() == Some(&b'[') { name } else { checked_name(name)? };
    if let Some(port) = port
        && (port.len() > 5 || !port.iter().all(u8::is_ascii_digit))
    {
        return None;
    }
    Some(Host { name, port })
}

fn checked_name(name: &[u8]) -> Option<&[u8]> {
    let name = name.strip_suffix(b".").unwrap_or(name);
    let label = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    // 253 is the longest host name in text (RFC 1035 section 2.3.4 less length bytes).
    let valid = !name.is_empty()
        && name.len() <= 253
        && name.iter().all(label)
        && !name.starts_with(b".")
        && !name.ends_with(b".");
    valid.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_case_and_trailing_dot_do_not_change_the_host() {
        let host = parse(b"Prod.API.example.com.:8080").unwrap();
        assert!(host.name.eq_ignore_ascii_case(b"prod.api.example.com"));
        assert_eq!(host.port, Some(&b"8080"[..]));
        assert!(parse(b"a.b:80").unwrap().same_as(&parse(b"A.B").unwrap()));
        assert!(parse(b"a.b:443").unwrap().same_as(&parse(b"a.b").unwrap()));
        assert!(!parse(b"a.b:81").unwrap().same_as(&parse(b"a.b").unwrap()));
        assert_eq!(parse(b"[::1]:8080").unwrap().name, b"[::1]");
    }

    #[test]
    fn what_is_not_a_host_is_refused() {
        for bad in [
            "", ".", "a..", "u@h", "u:p@h", "a/b", "a b", "a,b", "a%2eb", "h:x", "h:80:80",
            "h:123456", "[", "[]", "[::1", "[::1]x", "[g::1]", ".a", "é.b", "h?x", "h#x", "h\\x",
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad:?} was taken");
        }
    }
}
