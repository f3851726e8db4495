//! Heads of requests and answers as text. An answer's has been judged by the scanner before.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version, header};

use super::UploadBody;

/// Writes the head of `request` into `head`.
pub(super) fn write_request(head: &mut Vec<u8>, request: &Request<UploadBody>) {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    head.clear();
    head.extend_from_slice(request.method().as_str().as_bytes());
    head.push(b' ');
    head.extend_from_slice(target.as_bytes());
    head.extend_from_slice(b" HTTP/1.1\r\n");
    for (name, value) in request.headers() {
        let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
        head.reserve(name.len() + value.len() + 4);
        head.extend_from_slice(name);
        head.extend_from_slice(b": ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
}

/// Takes the head of an answer off the front of `buf`. `None` if it is not whole.
pub(super) fn take(buf: &mut BytesMut) -> Option<Response<()>> {
    // Line by line: preparing a search for all four bytes costs more than a head is long.
    let ends = |&at: &usize| buf[at + 1..].starts_with(b"\r\n");
    let end = memchr::memchr_iter(b'\n', buf).find(ends)? - 1;
    let head = buf.split_to(end + 4).freeze();
    let mut response = Response::new(());
    let line = memchr::memchr(b'\n', &head)?;
    if head.get(7) == Some(&b'0') {
        *response.version_mut() = Version::HTTP_10;
    }
    *response.status_mut() = StatusCode::from_bytes(head.get(9..12)?).ok()?;
    let headers = response.headers_mut();
    // Room for the proxy's own as well.
    headers.reserve(12);
    let mut from = line + 1;
    while from < end {
        let to = from + memchr::memchr(b'\n', &head[from..])?;
        add(headers, &head, from, to - 1)?;
        from = to + 1;
    }
    Some(response)
}

/// Adds the field in `head[from..to]`.
fn add(headers: &mut HeaderMap, head: &Bytes, from: usize, to: usize) -> Option<()> {
    let colon = from + memchr::memchr(b':', &head[from..to])?;
    let name = HeaderName::from_bytes(&head[from..colon]).ok()?;
    let value = &head[colon + 1..to];
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let start = value.iter().position(|b| !blank(b)).unwrap_or(value.len());
    let end = value.iter().rposition(|b| !blank(b)).map_or(start, |last| last + 1);
    let value = head.slice(colon + 1 + start..colon + 1 + end);
    headers.append(name, HeaderValue::from_maybe_shared(value).ok()?);
    Some(())
}

/// Whether the connection goes on after `answer` (RFC 9112 section 9.3).
pub(super) fn keeps_alive(answer: &Response<()>) -> bool {
    let says = |word: &[u8]| {
        let values = answer.headers().get_all(header::CONNECTION).iter();
        let mut words = values.flat_map(|value| value.as_bytes().split(|b| *b == b','));
        words.any(|said| said.trim_ascii().eq_ignore_ascii_case(word))
    };
    !says(b"close") && (answer.version() != Version::HTTP_10 || says(b"keep-alive"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_taken_and_the_rest_is_left() {
        let mut buf =
            BytesMut::from(&b"HTTP/1.1 299 Fine\r\nA:  x y\t\r\nb:\r\nA: \xe9\r\n\r\nbody"[..]);
        let answer = take(&mut buf).unwrap();
        assert_eq!((answer.status().as_u16(), &buf[..]), (299, &b"body"[..]));
        let values: Vec<_> = answer.headers().get_all("a").iter().map(|v| v.as_bytes()).collect();
        assert_eq!((values, answer.headers()["b"].len()), (vec![&b"x y"[..], b"\xe9"], 0));
        assert!(keeps_alive(&answer));
    }

    #[test]
    fn a_connection_ends_with_close_or_an_old_version() {
        for (head, keeps) in [
            ("HTTP/1.1 200 OK\r\nConnection: x, Close\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n\r\n", true),
            ("HTTP/1.1 204\r\n\r\n", true),
        ] {
            let answer = take(&mut BytesMut::from(head)).unwrap();
            assert_eq!(keeps_alive(&answer), keeps, "{head:?}");
        }
    }
}
