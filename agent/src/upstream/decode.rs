//! An answer's body out of bytes that the scanner has judged: what is malformed never comes here.

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::{Frame, SizeHint};

/// Where in a body the reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decode {
    /// This many bytes are left.
    Length(u64),
    /// Until the instance closes.
    UntilClose,
    /// Before or in a chunk-size line.
    ChunkSize,
    /// This many bytes of a chunk are left.
    ChunkData(u64),
    /// Before the CRLF after a chunk.
    ChunkEnd,
    /// Before or in the trailers.
    Trailers,
    /// After the end.
    Done,
}

impl Decode {
    /// The body of `answer`, which is to a HEAD request if `to_head` (RFC 9112 section 6.3).
    pub(super) fn of(answer: &Response<()>, to_head: bool) -> Self {
        let bodiless = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED];
        if to_head || bodiless.contains(&answer.status()) {
            return Self::Done;
        }
        if answer.headers().contains_key(header::TRANSFER_ENCODING) {
            return Self::ChunkSize;
        }
        match answer.headers().get(header::CONTENT_LENGTH) {
            None => Self::UntilClose,
            Some(length) => match decimal(length.as_bytes()) {
                0 => Self::Done,
                length => Self::Length(length),
            },
        }
    }

    pub(super) fn size_hint(self) -> SizeHint {
        match self {
            Self::Length(left) => SizeHint::with_exact(left),
            Self::Done => SizeHint::with_exact(0),
            _ => SizeHint::default(),
        }
    }

    /// The next piece of the body in `buf`. `None` if there is no whole one, or at the end.
    pub(super) fn next(&mut self, buf: &mut BytesMut) -> Option<Frame<Bytes>> {
        while *self != Self::Done && !buf.is_empty() {
            match *self {
                Self::Length(left) => {
                    let (data, left) = data(buf, left);
                    *self = if left == 0 { Self::Done } else { Self::Length(left) };
                    return Some(Frame::data(data));
                }
                Self::UntilClose => return Some(Frame::data(buf.split().freeze())),
                Self::ChunkData(left) => {
                    let (data, left) = data(buf, left);
                    *self = if left == 0 { Self::ChunkEnd } else { Self::ChunkData(left) };
                    return Some(Frame::data(data));
                }
                Self::ChunkEnd => {
                    if buf.len() < 2 {
                        return None;
                    }
                    buf.advance(2);
                    *self = Self::ChunkSize;
                }
                Self::ChunkSize => {
                    let end = memchr::memchr(b'\n', buf)?;
                    let size = hexadecimal(&buf[..end]);
                    if size > 0 {
                        buf.advance(end + 1);
                        *self = Self::ChunkData(size);
                    } else {
                        // The end of this line stays, so that the trailers always end in two.
                        buf.advance(end - 1);
                        *self = Self::Trailers;
                    }
                }
                Self::Trailers => {
                    let end = memchr::memmem::find(buf, b"\r\n\r\n")?;
                    let lines = buf.split_to(end + 4);
                    *self = Self::Done;
                    let trailers = trailers(&lines);
                    return (!trailers.is_empty()).then(|| Frame::trailers(trailers));
                }
                Self::Done => {}
            }
        }
        None
    }
}

/// Up to `left` bytes of `buf`, and how many are left.
fn data(buf: &mut BytesMut, left: u64) -> (Bytes, u64) {
    let n = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
    (buf.split_to(n).freeze(), left - n as u64)
}

fn decimal(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |n, b| n * 10 + u64::from(b.wrapping_sub(b'0')))
}

/// The number at the start of a chunk-size line.
fn hexadecimal(line: &[u8]) -> u64 {
    let digits = line.iter().map_while(|b| (*b as char).to_digit(16));
    digits.fold(0, |n, digit| n << 4 | u64::from(digit))
}

fn trailers(lines: &[u8]) -> HeaderMap {
    let fields = lines.split(|b| *b == b'\n').filter_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        Some((name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?))
    });
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(name, value);
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_and_trailers_come_out_the_same_however_they_are_cut() {
        let text = b"5;x=y\r\nhello\r\n0A\r\n, world...\r\n0\r\na: 1\r\na: 2\r\n\r\n";
        for cut in 1..text.len() {
            let (mut decode, mut buf) = (Decode::ChunkSize, BytesMut::new());
            let (mut body, mut fields) = (Vec::new(), 0);
            for piece in text.chunks(cut) {
                buf.extend_from_slice(piece);
                while let Some(frame) = decode.next(&mut buf) {
                    match frame.into_data() {
                        Ok(data) => body.extend_from_slice(&data),
                        Err(frame) => fields = frame.trailers_ref().unwrap().len(),
                    }
                }
            }
            assert_eq!((&body[..], fields), (&b"hello, world..."[..], 2), "cut {cut}");
            assert_eq!((decode, buf.len()), (Decode::Done, 0));
        }
    }
}
