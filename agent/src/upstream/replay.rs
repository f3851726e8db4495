//! A request once more, out of the head that was written for it.

use http::{HeaderName, HeaderValue, Method, Request, Uri};

use super::UploadBody;

/// Takes apart a head that hyper wrote. `None` if it is not whole.
pub(super) fn parse(head: &[u8]) -> Option<Request<UploadBody>> {
    let mut lines = head.strip_suffix(b"\r\n\r\n")?.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
    let mut words = lines.next()?.split(|b| *b == b' ');
    let mut request = Request::new(UploadBody::empty());
    *request.method_mut() = Method::from_bytes(words.next()?).ok()?;
    *request.uri_mut() = Uri::try_from(words.next()?).ok()?;
    for line in lines {
        let colon = memchr::memchr(b':', line)?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        request.headers_mut().append(name, value);
    }
    Some(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_head_gives_the_same_request_again() {
        let head = b"GET /a?b HTTP/1.1\r\nhost: x.y:1\r\na: 1\r\na: \xe9 2\r\nempty: \r\n\r\n";
        let request = parse(head).unwrap();
        assert_eq!(
            (request.method().as_str(), request.uri().to_string().as_str()),
            ("GET", "/a?b")
        );
        let values: Vec<_> = request.headers().get_all("a").iter().map(|v| v.as_bytes()).collect();
        assert_eq!(values, [&b"1"[..], b"\xe9 2"]);
        assert_eq!(request.headers()["host"], "x.y:1");
        assert_eq!(request.headers()["empty"], "");
    }

    #[test]
    fn half_a_head_gives_none() {
        for half in [&b""[..], b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nhost: x\r\n"] {
            assert!(parse(half).is_none());
        }
    }
}
