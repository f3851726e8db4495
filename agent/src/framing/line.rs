//! Lines out of pieces.

use super::Reason;

/// Cuts CRLF lines out of input that may be split anywhere.
#[derive(Debug, Default)]
pub(super) struct Lines {
    carry: Vec<u8>,
    spent: bool,
}

impl Lines {
    /// The next whole line of `input` from `pos`, without its CRLF; `None` if it is not complete,
    /// after keeping what there is of it. At most `max` bytes are kept.
    #[inline]
    pub(super) fn next<'a>(
        &'a mut self,
        input: &'a [u8],
        pos: &mut usize,
        max: usize,
    ) -> Result<Option<&'a [u8]>, Reason> {
        if self.spent {
            self.carry = Vec::new();
            self.spent = false;
        }
        let rest = &input[*pos..];
        let Some(end) = memchr::memchr(b'\n', rest) else {
            *pos = input.len();
            if self.carry.len() + rest.len() > max {
                return Err(Reason::HeadTooLarge);
            }
            self.carry.extend_from_slice(rest);
            return Ok(None);
        };
        *pos += end + 1;
        let line = if self.carry.is_empty() {
            &rest[..end]
        } else {
            self.carry.extend_from_slice(&rest[..end]);
            self.spent = true;
            &self.carry
        };
        if line.len() > max {
            return Err(Reason::HeadTooLarge);
        }
        match line {
            [line @ .., b'\r'] => Ok(Some(line)),
            _ => Err(Reason::BareLf),
        }
    }

    /// Whether a partial line is kept.
    pub(super) fn is_partial(&self) -> bool {
        !self.spent && !self.carry.is_empty()
    }
}
