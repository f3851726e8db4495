//! Answers compressed on their way, where a process asks for it.
//!
//! Only what shrinks and is whole: a type of text, no encoding yet, no range, no event stream. What the instance has
//! sent so far is never held back for what it may send later: a pause in its body flushes the encoder.

use std::io::{self, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::{Body as _, Frame};

use super::answer::{BodyError, ProxyBody};
use crate::config::Compress;

/// Answers below this many bytes gain nothing.
const LENGTH_MIN: u64 = 512;
/// gzip at its fastest that still pays: level 6 costs three times as much for a few percent.
const GZIP_LEVEL: u32 = 4;
const ZSTD_LEVEL: i32 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Gzip,
    Zstd,
}

/// Which encodings the client takes, as it says in `Accept-Encoding` (RFC 9110 section 12.5.3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Accepted {
    gzip: bool,
    zstd: bool,
}

impl Accepted {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut accepted = Self::default();
        for value in headers.get_all(header::ACCEPT_ENCODING) {
            for item in value.as_bytes().split(|b| *b == b',') {
                let mut parts = item.split(|b| *b == b';');
                let name = parts.next().unwrap_or_default().trim_ascii();
                let refused = parts.any(|part| is_zero(part.trim_ascii()));
                if name.eq_ignore_ascii_case(b"gzip") || name.eq_ignore_ascii_case(b"x-gzip") {
                    accepted.gzip = !refused;
                } else if name.eq_ignore_ascii_case(b"zstd") {
                    accepted.zstd = !refused;
                }
            }
        }
        accepted
    }
}

/// Whether a parameter is `q=0`.
fn is_zero(parameter: &[u8]) -> bool {
    let Some(value) = parameter.strip_prefix(b"q=").or_else(|| parameter.strip_prefix(b"Q="))
    else {
        return false;
    };
    value.starts_with(b"0") && value[1..].iter().all(|b| matches!(b, b'.' | b'0'))
}

/// Compresses `answer` if it, its request and the process are for it.
pub(super) fn compress(
    answer: Response<ProxyBody>,
    allowed: Compress,
    accepted: Accepted,
    is_head: bool,
) -> Response<ProxyBody> {
    let (mut parts, body) = answer.into_parts();
    if !is_compressible(parts.status, &parts.headers) {
        return Response::from_parts(parts, body);
    }
    // Whoever keeps the answer must know, compressed or not, that it depends on what the client takes.
    vary(&mut parts.headers);
    let coding = match (allowed.zstd && accepted.zstd, allowed.gzip && accepted.gzip) {
        (true, _) => Coding::Zstd,
        (_, true) => Coding::Gzip,
        _ => return Response::from_parts(parts, body),
    };
    let Ok(encoder) = Encoder::new(coding) else { return Response::from_parts(parts, body) };
    let name = match coding {
        Coding::Gzip => HeaderValue::from_static("gzip"),
        Coding::Zstd => HeaderValue::from_static("zstd"),
    };
    parts.headers.insert(header::CONTENT_ENCODING, name);
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.remove(header::ACCEPT_RANGES);
    weaken(&mut parts.headers);
    if is_head {
        return Response::from_parts(parts, body);
    }
    let packed = Packed { inner: body, encoder: Some(encoder), unflushed: false };
    Response::from_parts(parts, ProxyBody::packed(packed))
}

fn is_compressible(status: StatusCode, headers: &HeaderMap) -> bool {
    let bare = status.is_informational()
        || matches!(
            status,
            StatusCode::NO_CONTENT | StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED
        );
    if bare
        || headers.contains_key(header::CONTENT_ENCODING)
        || headers.contains_key(header::CONTENT_RANGE)
    {
        return false;
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length < LENGTH_MIN) {
        return false;
    }
    let mut control = headers.get_all(header::CACHE_CONTROL).iter();
    if control.any(|v| {
        memchr::memmem::find(&v.as_bytes().to_ascii_lowercase(), b"no-transform").is_some()
    }) {
        return false;
    }
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let kind = kind.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
    let kind = kind.to_ascii_lowercase();
    // An event must not wait for the next one.
    if kind == b"text/event-stream" {
        return false;
    }
    kind.starts_with(b"text/")
        || kind.ends_with(b"+json")
        || kind.ends_with(b"+xml")
        || KINDS.contains(&kind.as_slice())
}

/// Types beside `text/…` that shrink.
const KINDS: [&[u8]; 9] = [
    b"application/json",
    b"application/javascript",
    b"application/xml",
    b"application/manifest+json",
    b"application/wasm",
    b"application/x-ndjson",
    b"application/graphql-response+json",
    b"image/svg+xml",
    b"image/bmp",
];

fn vary(headers: &mut HeaderMap) {
    let named = |value: &HeaderValue| {
        value.as_bytes().split(|b| *b == b',').any(|item| {
            let item = item.trim_ascii();
            item == b"*" || item.eq_ignore_ascii_case(b"accept-encoding")
        })
    };
    if !headers.get_all(header::VARY).iter().any(named) {
        headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
}

/// The bytes are others now, so a strong tag does not hold (RFC 9110 section 8.8.1).
fn weaken(headers: &mut HeaderMap) {
    let Some(tag) = headers.get(header::ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/"))
    else {
        return;
    };
    match HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()) {
        Ok(weak) => drop(headers.insert(header::ETAG, weak)),
        Err(_) => drop(headers.remove(header::ETAG)),
    }
}

enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    fn new(coding: Coding) -> io::Result<Self> {
        Ok(match coding {
            Coding::Gzip => {
                Self::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL)))
            }
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
                // What every client must be able to take (RFC 8878 section 3.1.1.1.2).
                encoder.window_log(20)?;
                Self::Zstd(encoder)
            }
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.write_all(bytes),
            Self::Zstd(encoder) => encoder.write_all(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }

    fn take(&mut self) -> Vec<u8> {
        std::mem::take(match self {
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        })
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

/// A body and its encoder.
pub(super) struct Packed {
    inner: ProxyBody,
    /// None: it has ended.
    encoder: Option<Encoder>,
    unflushed: bool,
}

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packed").field("inner", &self.inner).finish_non_exhaustive()
    }
}

type Polled = Poll<Option<Result<Frame<Bytes>, BodyError>>>;

impl Packed {
    pub(super) fn is_end(&self) -> bool {
        self.encoder.is_none() && self.inner.is_end_stream()
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Polled {
        loop {
            let Some(encoder) = &mut self.encoder else {
                return Pin::new(&mut self.inner).poll_frame(cx);
            };
            let done = match Pin::new(&mut self.inner).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        self.unflushed = true;
                        encoder.write(&data).map(|()| encoder.take())
                    }
                    // Trailers say something of the bytes that were sent before; they are others now.
                    Err(_) => self.encoder.take().map_or(Ok(Vec::new()), Encoder::finish),
                },
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => self.encoder.take().map_or(Ok(Vec::new()), Encoder::finish),
                Poll::Pending if self.unflushed => {
                    self.unflushed = false;
                    encoder.flush().map(|()| encoder.take())
                }
                Poll::Pending => return Poll::Pending,
            };
            match done {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => return Poll::Ready(Some(Ok(Frame::data(bytes.into())))),
                Err(error) => return Poll::Ready(Some(Err(BodyError::Packing(error)))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(n, v)| (n.parse().unwrap(), HeaderValue::from_static(v))).collect()
    }

    fn accepted(text: &'static str) -> (bool, bool) {
        let accepted = Accepted::of(&headers(&[("accept-encoding", text)]));
        (accepted.gzip, accepted.zstd)
    }

    #[test]
    fn only_what_the_client_takes_is_used() {
        assert_eq!(accepted("gzip, deflate, br, zstd"), (true, true));
        assert_eq!(accepted("GZIP;q=0.5"), (true, false));
        assert_eq!(accepted("gzip;q=0, zstd;q=0.000"), (false, false));
        assert_eq!(accepted("br, *"), (false, false));
    }

    #[test]
    fn only_whole_text_without_an_encoding_is_compressed() {
        let of = |status: u16, fields: &[(&'static str, &'static str)]| {
            is_compressible(StatusCode::from_u16(status).unwrap(), &headers(fields))
        };
        assert!(of(200, &[("content-type", "text/html; charset=utf-8")]));
        assert!(of(
            404,
            &[("content-type", "application/problem+json"), ("content-length", "600")]
        ));
        for (status, fields) in [
            (200, &[("content-type", "image/png")][..]),
            (200, &[]),
            (200, &[("content-type", "text/event-stream")]),
            (200, &[("content-type", "text/plain"), ("content-length", "100")]),
            (200, &[("content-type", "text/plain"), ("content-encoding", "br")]),
            (200, &[("content-type", "text/plain"), ("cache-control", "No-Transform")]),
            (206, &[("content-type", "text/plain"), ("content-range", "bytes 0-1/2")]),
            (304, &[("content-type", "text/plain")]),
            (204, &[("content-type", "text/plain")]),
        ] {
            assert!(!of(status, fields), "{status} {fields:?}");
        }
    }

    #[test]
    fn a_strong_tag_becomes_a_weak_one_and_vary_is_said_once() {
        let mut fields = headers(&[("etag", "\"a\""), ("vary", "cookie, Accept-Encoding")]);
        weaken(&mut fields);
        vary(&mut fields);
        assert_eq!(fields["etag"], "W/\"a\"");
        assert_eq!(fields.get_all("vary").iter().count(), 1);
        weaken(&mut fields);
        assert_eq!(fields["etag"], "W/\"a\"");
    }
}
