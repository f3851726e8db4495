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

/// Whether `bytes` hold a control byte other than a tab.
#[inline]
pub(super) fn has_control(bytes: &[u8]) -> bool {
    // Eight at a time, the last eight overlapping those before; tabs are rare enough to look twice.
    let suspect = match bytes.last_chunk::<8>() {
        Some(last) => {
            bytes.as_chunks::<8>().0.iter().any(eight_hold_control) || eight_hold_control(last)
        }
        None => true,
    };
    suspect && bytes.iter().any(|&b| ((b < 0x20) & (b != b'\t')) | (b == 0x7f))
}

/// Whether one of eight bytes is below 0x20 or is 0x7f: subtracting borrows from the high bit of a
/// byte only if it, or one below it that is smaller, is less than what is subtracted.
#[inline]
fn eight_hold_control(bytes: &[u8; 8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let word = u64::from_le_bytes(*bytes);
    let delete = word ^ (0x7f * ONES);
    let low = word.wrapping_sub(0x20 * ONES) & !word;
    let zero = delete.wrapping_sub(ONES) & !delete;
    (low | zero) & (0x80 * ONES) != 0
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_byte_is_found_at_any_place_among_any_bytes() {
        for len in 1..20 {
            for (at, byte) in (0..len).flat_map(|at| (0..=255).map(move |byte| (at, byte))) {
                for around in [b' ', b'\t', b'~', 0x80, 0xff] {
                    let mut bytes = vec![around; len];
                    bytes[at] = byte;
                    let control = (byte < 0x20 && byte != b'\t') || byte == 0x7f;
                    assert_eq!(has_control(&bytes), control, "{bytes:?}");
                }
            }
        }
    }
}
