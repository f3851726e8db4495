//! A list of counts as bytes: LEB128, without the zeros at its end. Most are a few bytes long.

/// The bytes; none for nothing but zeros.
pub(super) fn pack(counts: &[u64]) -> Option<Vec<u8>> {
    let end = counts.iter().rposition(|count| *count > 0)? + 1;
    let mut bytes = Vec::with_capacity(end + 4);
    for count in &counts[..end] {
        let mut rest = *count;
        while rest >= 0x80 {
            bytes.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        bytes.push(rest as u8);
    }
    Some(bytes)
}

/// The counts; what is no such list ends where it stops making sense.
pub(super) fn unpack(bytes: &[u8]) -> Vec<u64> {
    let (mut counts, mut count, mut shift) = (Vec::new(), 0u64, 0);
    for byte in bytes {
        if shift > 63 {
            break;
        }
        count |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            counts.push(count);
            (count, shift) = (0, 0);
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_come_back_without_the_zeros_at_their_end() {
        assert_eq!(pack(&[0, 0]), None);
        let counts = [0, 1, 127, 128, u64::MAX, 0, 0];
        assert_eq!(unpack(&pack(&counts).unwrap()), counts[..5]);
        assert!(unpack(&[0xff; 40]).is_empty(), "garbage is no count");
    }
}
