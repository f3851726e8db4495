//! Byte classes (RFC 9110 section 5.6.2, RFC 9112 section 3.2).

const fn token_table() -> [bool; 256] {
    let mut table = [false; 256];
    let mut b = 0;
    while b < 256 {
        let c = b as u8;
        table[b] = c.is_ascii_alphanumeric()
            || matches!(
                c,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        b += 1;
    }
    table
}

static TOKEN: [bool; 256] = token_table();

/// Whether `b` may be in a method or a field name.
#[inline]
pub(super) fn is_token(b: u8) -> bool {
    TOKEN[usize::from(b)]
}

/// Whether `bytes` hold a control byte other than a tab. Written without an early exit, so that
/// the compiler can use vector instructions.
#[inline]
pub(super) fn has_control(bytes: &[u8]) -> bool {
    bytes.iter().fold(false, |bad, &b| bad | ((b < 0x20) & (b != b'\t')) | (b == 0x7f))
}

/// Whether `bytes` hold a space or any control byte.
#[inline]
pub(super) fn has_space_or_control(bytes: &[u8]) -> bool {
    bytes.iter().fold(false, |bad, &b| bad | (b <= 0x20) | (b == 0x7f))
}

/// `bytes` without spaces and tabs at its ends.
#[inline]
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}
