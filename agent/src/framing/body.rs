//! Bodies: skipped by count, or chunk by chunk (RFC 9112 section 7.1).

use super::chars::has_control;
use super::line::Lines;
use super::{Reason, field};

/// The longest chunk-size line. Extensions are legal but nobody uses them; hyper bounds them too.
const CHUNK_LINE_MAX: usize = 1024;
/// The most bytes and fields of trailers.
const TRAILER_BYTES_MAX: usize = 8 * 1024;
const TRAILERS_MAX: usize = 64;

/// Where in a body the scanner is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// This many bytes of a `Content-Length` body are left.
    Length(u64),
    /// Before or in a chunk-size line.
    ChunkSize,
    /// This many bytes of a chunk are left.
    ChunkData(u64),
    /// Before the CRLF (0) or the LF (1) after a chunk.
    ChunkEnd(u8),
    /// In the trailers, after this many bytes and fields.
    Trailers(usize, usize),
    /// After the end.
    Done,
}

impl Body {
    pub(super) fn of(length: Option<u64>, chunked: bool) -> Self {
        match (chunked, length) {
            (true, _) => Self::ChunkSize,
            (false, None | Some(0)) => Self::Done,
            (false, Some(n)) => Self::Length(n),
        }
    }

    /// Reads on from `pos` until the body or the input ends.
    pub(super) fn scan(
        &mut self,
        lines: &mut Lines,
        input: &[u8],
        pos: &mut usize,
    ) -> Result<(), Reason> {
        while *pos < input.len() && *self != Self::Done {
            *self = match *self {
                Self::Length(left) => match skip(input, pos, left) {
                    0 => Self::Done,
                    left => Self::Length(left),
                },
                Self::ChunkData(left) => match skip(input, pos, left) {
                    0 => Self::ChunkEnd(0),
                    left => Self::ChunkData(left),
                },
                Self::ChunkEnd(seen) => {
                    if input[*pos] != b"\r\n"[usize::from(seen)] {
                        return Err(Reason::Chunk);
                    }
                    *pos += 1;
                    if seen == 0 { Self::ChunkEnd(1) } else { Self::ChunkSize }
                }
                Self::ChunkSize => match lines.next(input, pos, CHUNK_LINE_MAX) {
                    Ok(None) => break,
                    Ok(Some(line)) => match chunk_size(line)? {
                        0 => Self::Trailers(0, 0),
                        size => Self::ChunkData(size),
                    },
                    Err(_) => return Err(Reason::Chunk),
                },
                Self::Trailers(bytes, count) => {
                    let max = TRAILER_BYTES_MAX - bytes;
                    match lines.next(input, pos, max)? {
                        None => break,
                        Some([]) => Self::Done,
                        Some(_) if count == TRAILERS_MAX => return Err(Reason::HeadTooLarge),
                        Some(line) => {
                            check_trailer(line)?;
                            Self::Trailers(
                                (bytes + line.len() + 2).min(TRAILER_BYTES_MAX),
                                count + 1,
                            )
                        }
                    }
                }
                Self::Done => Self::Done,
            };
        }
        Ok(())
    }
}

/// Skips up to `left` bytes and says how many are left to skip.
fn skip(input: &[u8], pos: &mut usize, left: u64) -> u64 {
    let here = (input.len() - *pos) as u64;
    let step = left.min(here);
    *pos += step as usize;
    left - step
}

fn chunk_size(line: &[u8]) -> Result<u64, Reason> {
    let digits = line.iter().position(|b| !b.is_ascii_hexdigit()).unwrap_or(line.len());
    // 15 hexadecimal digits cannot overflow.
    if digits == 0 || digits > 15 {
        return Err(Reason::Chunk);
    }
    match &line[digits..] {
        [] => {}
        [b';', extension @ ..] if !has_control(extension) => {}
        _ => return Err(Reason::Chunk),
    }
    let value = |b: &u8| u64::from((*b as char).to_digit(16).unwrap_or_default());
    Ok(line[..digits].iter().fold(0, |n, b| n << 4 | value(b)))
}

fn check_trailer(line: &[u8]) -> Result<(), Reason> {
    let (name, _) = field::split(line)?;
    let refused: [&[u8]; 5] =
        [b"content-length", b"transfer-encoding", b"host", b"connection", b"upgrade"];
    if refused.iter().any(|refused| name.eq_ignore_ascii_case(refused)) {
        return Err(Reason::Trailer);
    }
    Ok(())
}
