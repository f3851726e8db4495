//! What `tenement-park` computes, without touching anything: no memory is allocated, nothing is called.

#![cfg_attr(not(test), no_std)]

/// The longest path of a unix socket, without the NUL at its end (unix(7)).
const PATH_MAX: usize = 107;
/// `AF_UNIX`.
const AF_UNIX: u16 = 1;

/// `struct sockaddr_un` (unix(7)).
#[repr(C)]
#[derive(Debug)]
pub struct Address {
    family: u16,
    path: [u8; PATH_MAX + 1],
    /// How many bytes of it count; not part of the kernel's structure.
    len: u32,
}

impl Address {
    /// No address.
    #[must_use]
    pub const fn none() -> Self {
        Self { family: AF_UNIX, path: [0; PATH_MAX + 1], len: 0 }
    }

    /// Becomes the address that `$NOTIFY_SOCKET` names (sd_notify(3)): a path, or `@` and an abstract
    /// name. Stays none for anything else. In place, for a move would be a call of memcpy.
    pub fn set(&mut self, name: &[u8]) {
        let Some(first) = name.first() else { return };
        let len = name.len();
        if len > PATH_MAX || !(*first == b'/' || *first == b'@') {
            return;
        }
        for (slot, byte) in self.path.iter_mut().zip(name) {
            // Hidden from the optimiser, which would make a call of memcpy of this loop.
            *slot = core::hint::black_box(*byte);
        }
        // A path's NUL counts; an abstract name begins with one and ends without.
        let mut counted = len + 1;
        if *first == b'@' {
            self.path[0] = 0;
            counted = len;
        }
        self.len = (2 + counted) as u32;
    }

    /// Its length as sendto(2) wants it; 0 if it is none.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether it is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// The value of `variable` if `entry` (`NAME=value`) is about it.
#[must_use]
pub fn value<'e>(entry: &'e [u8], variable: &[u8]) -> Option<&'e [u8]> {
    let mut at = 0;
    while let Some(wanted) = variable.get(at) {
        if entry.get(at) != Some(wanted) {
            return None;
        }
        at += 1;
    }
    if entry.get(at) == Some(&b'=') { entry.get(at + 1..) } else { None }
}

/// Why a program could not be executed, from the error number of execve(2), for a log.
#[must_use]
pub fn reason(errno: i32) -> &'static str {
    match errno {
        2 => "it does not exist, or its interpreter doesn't",
        7 => "its arguments and environment are too long",
        8 => "it is no program for this machine",
        12 => "there is not enough memory",
        13 => "permission denied",
        26 => "it is being written to",
        _ => "see errno(3)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notify_socket_is_a_path_or_an_abstract_name() {
        let of = |name: &[u8]| {
            let mut address = Address::none();
            address.set(name);
            address
        };
        let path = of(b"/run/systemd/notify");
        assert_eq!((path.family, path.len()), (1, 2 + 19 + 1));
        assert_eq!(&path.path[..20], b"/run/systemd/notify\0");
        let name = of(b"@notify");
        assert_eq!((&name.path[..7], name.len()), (&b"\0notify"[..], 2 + 7));
        assert_eq!(of(&[b'/'; PATH_MAX]).len(), 110);
        for bad in [&b""[..], b"vsock:2:1234", b"relative", &[b'/'; PATH_MAX + 1]] {
            assert!(of(bad).is_empty(), "{bad:?}");
        }
    }

    #[test]
    fn a_variable_is_found_by_its_whole_name() {
        assert_eq!(value(b"LISTEN_FDS=1", b"LISTEN_FDS"), Some(&b"1"[..]));
        assert_eq!(value(b"LISTEN_FDS=", b"LISTEN_FDS"), Some(&b""[..]));
        for other in [&b"LISTEN_FDSX=1"[..], b"LISTEN_FDS", b"LISTEN_FD=1", b"", b"=1"] {
            assert_eq!(value(other, b"LISTEN_FDS"), None, "{other:?}");
        }
    }
}
