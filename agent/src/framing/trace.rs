//! `traceparent` of W3C Trace Context (<https://www.w3.org/TR/trace-context/>): parsed strictly, written as version 00.

/// Bytes of a `traceparent` of version 00.
pub const TRACEPARENT_LEN: usize = 55;
/// The bit of the flags that says that the sender records this trace.
const SAMPLED: u8 = 1;
/// The bit that says that the trace's id is random in its last seven bytes (level 2 of the specification).
const RANDOM: u8 = 2;

/// Which trace a request belongs to, and whose span caused it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// Never all zeros.
    pub trace_id: [u8; 16],
    /// The sender's span; never all zeros.
    pub parent_id: [u8; 8],
    /// The sender records this trace.
    pub sampled: bool,
    /// The trace's id is random.
    pub random: bool,
}

impl TraceParent {
    /// Reads a field's value. `None` for whatever the specification calls invalid: upper case, ids of zeros only,
    /// version `ff`, a version 00 that goes on, a later version whose beginning is another.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (known, rest) = value.split_at_checked(TRACEPARENT_LEN)?;
        let mut version = [0];
        unhex(&known[..2], &mut version)?;
        // What a later version adds begins with a dash, and is not for us.
        let goes_on = rest.first().is_some_and(|byte| *byte == b'-');
        let whole = rest.is_empty() || (goes_on && version != [0]);
        let dashes = [2, 35, 52].iter().all(|at| known[*at] == b'-');
        if version == [0xff] || !whole || !dashes {
            return None;
        }
        let (mut trace_id, mut parent_id, mut flags) = ([0; 16], [0; 8], [0]);
        unhex(&known[3..35], &mut trace_id)?;
        unhex(&known[36..52], &mut parent_id)?;
        unhex(&known[53..], &mut flags)?;
        let zero = trace_id == [0; 16] || parent_id == [0; 8];
        let has = |bit: u8| flags[0] & bit != 0;
        (!zero).then(|| Self { trace_id, parent_id, sampled: has(SAMPLED), random: has(RANDOM) })
    }

    /// The field's value.
    #[must_use]
    pub fn render(&self) -> [u8; TRACEPARENT_LEN] {
        let mut text = [b'-'; TRACEPARENT_LEN];
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        let flags = flag(self.sampled, SAMPLED) | flag(self.random, RANDOM);
        hex(&[0], &mut text[..2]);
        hex(&self.trace_id, &mut text[3..35]);
        hex(&self.parent_id, &mut text[36..52]);
        hex(&[flags], &mut text[53..]);
        text
    }
}

/// Writes `bytes` in lower case hexadecimal into `text`, which is twice as long.
pub fn hex(bytes: &[u8], text: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

/// Reads lower case hexadecimal; `None` if `text` is anything else, or not twice as long as `bytes`.
pub fn unhex(text: &[u8], bytes: &mut [u8]) -> Option<()> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    if text.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn parse(text: &str) -> Option<TraceParent> {
        TraceParent::parse(text.as_bytes())
    }

    #[test]
    fn what_was_read_is_written_again() {
        for flags in ["00", "01", "02", "03"] {
            let text = format!("{}{flags}", &GOOD[..53]);
            let parent = parse(&text).unwrap();
            assert_eq!(std::str::from_utf8(&parent.render()).unwrap(), text);
            assert_eq!(parent.sampled, flags == "01" || flags == "03");
        }
        // Bits that have no meaning yet are not handed on (section 3.2.2.5.2).
        assert_eq!(parse(&format!("{}ff", &GOOD[..53])).unwrap().render()[53..], *b"03");
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let of = |version: &str, rest: &str| parse(&format!("{version}{}{rest}", &GOOD[2..]));
        assert!(of("cc", "").is_some());
        assert!(of("cc", "-what-the-future-will-be-like").is_some());
        assert!(of("01", "-").is_some());
        assert!(of("cc", ".what-the-future-will-be-like").is_none());
        assert!(of("cc", "what").is_none());
    }

    #[test]
    fn whatever_the_specification_calls_invalid_is_refused() {
        let bad = [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-extra",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-011",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-B7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x",
            "00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01",
            "0-00af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            ".0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c8031-9c-7ad6b7169203331-01",
        ];
        for text in bad {
            assert_eq!(parse(text), None, "{text}");
        }
        for cut in 0..GOOD.len() {
            assert_eq!(parse(&GOOD[..cut]), None, "cut at {cut}");
        }
    }
}
