//! Messages that two parsers could understand differently go no further.

use tenement_agent::framing::{Reason, RequestLimits, RequestScanner};

use crate::support::*;

/// Each is refused; `H` stands for a good `Host` line.
const AMBIGUOUS: &[&str] = &[
    // Two ways to find the end of the body.
    "POST / HTTP/1.1\r\nH\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nH\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nH\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "POST / HTTP/1.1\r\nH\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "POST / HTTP/1.1\r\nH\r\nContent-Length: 3, 3\r\n\r\nabc",
    "POST / HTTP/1.1\r\nH\r\nContent-Length: +3\r\n\r\nabc",
    "POST / HTTP/1.1\r\nH\r\nContent-Length: -3\r\n\r\nabc",
    "POST / HTTP/1.1\r\nH\r\nContent-Length: 0x3\r\n\r\nabc",
    "POST / HTTP/1.1\r\nH\r\nContent-Length: 3 \u{b}\r\n\r\nabc",
    "POST / HTTP/1.1\r\nH\r\nContent-Length: 3a\r\n\r\nabc",
    "POST / HTTP/1.1\r\nH\r\nContent-Length: \r\n\r\nabc",
    "POST / HTTP/1.1\r\nH\r\nContent-Length: 3.0\r\n\r\nabc",
    "POST / HTTP/1.1\r\nH\r\nContent-Length: 99999999999999999999\r\n\r\nabc",
    "POST / HTTP/1.1\r\nH\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nH\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nH\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nH\r\nTransfer-Encoding: identity\r\n\r\n",
    "POST / HTTP/1.1\r\nH\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nH\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nH\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nH\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nH\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nH\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nH\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.0\r\nH\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    // Fields that some read and some skip.
    "POST / HTTP/1.1\r\nH\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nH\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nH\r\nContent-Length : 3\r\n\r\nabc",
    "POST / HTTP/1.1\r\nH\r\nX: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nH\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "GET / HTTP/1.1\r\n X: y\r\nH\r\n\r\n",
    "GET / HTTP/1.1\r\nH\r\nX: a\r\n\tb\r\n\r\n",
    "GET / HTTP/1.1\r\nH\r\nX\r\n\r\n",
    "GET / HTTP/1.1\r\nH\r\n: x\r\n\r\n",
    "GET / HTTP/1.1\r\nH\r\nX y: z\r\n\r\n",
    "GET / HTTP/1.1\r\nH\r\nX(y): z\r\n\r\n",
    "GET / HTTP/1.1\r\nH\r\nX\u{e9}: z\r\n\r\n",
    "GET / HTTP/1.1\r\nH\r\nX\0: z\r\n\r\n",
    // Line ends.
    "GET / HTTP/1.1\nH\r\n\r\n",
    "GET / HTTP/1.1\r\nH\nX: y\r\n\r\n",
    "GET / HTTP/1.1\r\nH\r\n\n",
    "GET / HTTP/1.1\n\n",
    "GET / HTTP/1.1\r\nH\r\nX: a\rb\r\n\r\n",
    "GET / HTTP/1.1\r\nH\r\nX: a\r\r\n\r\n",
    "GET / HTTP/1.1\r\nH\r\nX: a\0b\r\n\r\n",
    "GET / HTTP/1.1\r\nH\r\nX: a\u{1}b\r\n\r\n",
    "GET / HTTP/1.1\r\nH\r\nX: a\u{7f}b\r\n\r\n",
    "\r\n\r\nGET / HTTP/1.1\r\nH\r\n\r\n",
    "\nGET / HTTP/1.1\r\nH\r\n\r\n",
    // Request lines.
    "GET  / HTTP/1.1\r\nH\r\n\r\n",
    "GET /  HTTP/1.1\r\nH\r\n\r\n",
    "GET / HTTP/1.1 \r\nH\r\n\r\n",
    "GET\t/ HTTP/1.1\r\nH\r\n\r\n",
    " GET / HTTP/1.1\r\nH\r\n\r\n",
    "GET / a HTTP/1.1\r\nH\r\n\r\n",
    "GET /\r\nH\r\n\r\n",
    "GET / HTTP/1.2\r\nH\r\n\r\n",
    "GET / HTTP/2.0\r\nH\r\n\r\n",
    "GET / HTTP/0.9\r\nH\r\n\r\n",
    "GET / http/1.1\r\nH\r\n\r\n",
    "GET / HTTP/1.1x\r\nH\r\n\r\n",
    "GET / HTTP/11\r\nH\r\n\r\n",
    "G(T / HTTP/1.1\r\nH\r\n\r\n",
    "GET path HTTP/1.1\r\nH\r\n\r\n",
    "GET * HTTP/1.1\r\nH\r\n\r\n",
    "GET /#frag HTTP/1.1\r\nH\r\n\r\n",
    "GET /\u{7f} HTTP/1.1\r\nH\r\n\r\n",
    "GET ftp://a.app.example.com/ HTTP/1.1\r\nH\r\n\r\n",
    "CONNECT a.app.example.com:80 HTTP/1.1\r\nH\r\n\r\n",
    // Hosts.
    "GET / HTTP/1.1\r\nX: y\r\n\r\n",
    "GET / HTTP/1.0\r\nX: y\r\n\r\n",
    "GET / HTTP/1.1\r\nH\r\nH\r\n\r\n",
    "GET / HTTP/1.1\r\nH\r\nHost: b.app.example.com\r\n\r\n",
    "GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.app.example.com/x\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: u@a.app.example.com\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: u:p@a.app.example.com\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.app.example.com, b.app.example.com\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.app.example.com b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.app.example.com:80:80\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.app.example.com:http\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
    "GET http://b.app.example.com/ HTTP/1.1\r\nH\r\n\r\n",
    "GET http://u@a.app.example.com/ HTTP/1.1\r\nH\r\n\r\n",
    "GET http:///x HTTP/1.1\r\nH\r\n\r\n",
    "GET http://a.app.example.com:81/ HTTP/1.1\r\nH\r\n\r\n",
];

/// Chunked bodies that are refused: their heads are good, so the backend may see the head.
const BAD_CHUNKS: &[&str] = &[
    "x\r\n",
    "-1\r\n",
    "+1\r\na\r\n0\r\n\r\n",
    "0x1\r\na\r\n0\r\n\r\n",
    " 1\r\na\r\n0\r\n\r\n",
    "1 \r\na\r\n0\r\n\r\n",
    "1\na\r\n0\r\n\r\n",
    "1\r\nab\r\n0\r\n\r\n",
    "1\r\na\n0\r\n\r\n",
    "1\r\na\r0\r\n\r\n",
    "\r\n1\r\na\r\n0\r\n\r\n",
    "1;a\rb\r\na\r\n0\r\n\r\n",
    "1;a\nb\r\na\r\n0\r\n\r\n",
    "1;\0\r\na\r\n0\r\n\r\n",
    "1111111111111111\r\na\r\n",
    "1\r\na\r\n0\r\nContent-Length: 3\r\n\r\n",
    "1\r\na\r\n0\r\nTransfer-Encoding: x\r\n\r\n",
    "1\r\na\r\n0\r\nHost: b.app.example.com\r\n\r\n",
    "1\r\na\r\n0\r\n X: folded\r\n\r\n",
    "1\r\na\r\n0\r\nX : y\r\n\r\n",
    "1\r\na\r\n0\n\n",
    "1\r\na\r\n0\r\nX: y\n\r\n",
];

fn with_host(request: &str) -> String {
    request
        .replace("\r\nH\r\n", &format!("\r\nHost: {HOST}\r\n"))
        .replace("\r\nH\n", &format!("\r\nHost: {HOST}\n"))
        .replace("\nH\r\n", &format!("\nHost: {HOST}\r\n"))
}

fn scanner() -> RequestScanner {
    RequestScanner::new(RequestLimits { bytes: 4096, fields: 20 })
}

#[tokio::test]
async fn ambiguous_requests_get_400_and_never_reach_an_instance() {
    let world = World::start().await;
    let backend = world.answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert!(AMBIGUOUS.len() >= 60);
    for request in AMBIGUOUS {
        let mut client = world.client().await;
        client.send(with_host(request)).await;
        let answer = client.answer().await.unwrap_or_else(|| panic!("no answer to {request:?}"));
        assert_eq!(answer.status(), 400, "{request:?}");
        assert_eq!(answer.get("connection"), Some("close"), "{request:?}");
        assert!(answer.text().contains("\"code\":\"bad_request\""), "{request:?}");
        assert!(client.is_closed().await, "still open after {request:?}");
        assert_eq!(backend.count(), 0, "the instance saw {request:?}");
    }
}

#[tokio::test]
async fn bad_chunks_end_in_400_or_a_broken_upload_but_never_in_a_whole_request() {
    let world = World::start().await;
    let backend = world.answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    for chunks in BAD_CHUNKS {
        let mut client = world.client().await;
        let head = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send(format!("{head}{chunks}")).await;
        let answer = client.answer().await.unwrap_or_else(|| panic!("no answer to {chunks:?}"));
        assert_eq!(answer.status(), 400, "{chunks:?}");
        assert!(client.is_closed().await, "still open after {chunks:?}");
        let whole = backend.seen.requests.lock().unwrap().iter().any(|request| request.whole);
        assert!(!whole, "the instance took {chunks:?} for a whole request");
    }
}

#[tokio::test]
async fn requests_before_a_bad_one_are_answered_first() {
    let world = World::start().await;
    let backend = world.answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let mut client = world.client().await;
    client.send(format!("{}{}GET / HTTP/1.1\nHost: {HOST}\r\n\r\n", get("/1"), get("/2"))).await;
    assert_eq!(client.answer().await.unwrap().status(), 200);
    assert_eq!(client.answer().await.unwrap().status(), 200);
    assert_eq!(client.answer().await.unwrap().status(), 400);
    assert!(client.is_closed().await);
    assert_eq!(backend.count(), 2);
}

#[test]
fn the_verdict_does_not_depend_on_where_the_bytes_are_split() {
    for request in AMBIGUOUS.iter().map(|r| with_host(r)) {
        let whole = scanner().feed(request.as_bytes()).expect_err(&request).reason;
        for at in 0..request.len() {
            let (a, b) = request.as_bytes().split_at(at);
            let mut scanner = scanner();
            let verdict = scanner.feed(a).and_then(|_| scanner.feed(b));
            assert_eq!(verdict.expect_err(&request).reason, whole, "{request:?} split at {at}");
        }
        let mut scanner = scanner();
        let verdict = request.bytes().find_map(|byte| scanner.feed(&[byte]).err());
        assert_eq!(verdict.expect(&request).reason, whole, "{request:?} byte by byte");
    }
}

#[test]
fn nothing_of_a_refused_message_is_passed_on_from_the_input_that_refuses_it() {
    let good = get("/");
    let input = format!("{good}GET / HTTP/1.1\r\nHost: {HOST}\r\nHost: b\r\n\r\n");
    let rejected = scanner().feed(input.as_bytes()).unwrap_err();
    assert_eq!((rejected.reason, rejected.good), (Reason::DuplicateHost, good.len()));
}

#[tokio::test]
async fn heads_beyond_the_limits_get_431() {
    let mut policy = policy();
    policy.limits.header_bytes = 1000;
    policy.limits.header_count = 10;
    let world = World::with(policy).await;
    let backend = world.answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let long = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX: {}\r\n\r\n", "x".repeat(1000));
    let many = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{}\r\n", "X: y\r\n".repeat(10));
    let endless = format!("GET /{}", "x".repeat(2000));
    for request in [long, many, endless] {
        assert_eq!(world.fetch(&request).await.status(), 431, "{request}");
    }
    assert_eq!(backend.count(), 0);
    let fits = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{}\r\n", "X: y\r\n".repeat(9));
    assert_eq!(world.fetch(fits).await.status(), 200);
}

#[tokio::test]
async fn ambiguous_answers_become_502() {
    let bad = [
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\na",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "hello\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nabHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ];
    for answer in bad {
        let world = World::start().await;
        world.answering(answer);
        let got = world.fetch(get("/")).await;
        assert_eq!(got.status(), 502, "{answer:?}");
        assert!(got.text().contains("bad_answer"), "{answer:?}: {}", got.text());
    }
}

#[tokio::test]
async fn a_bad_chunk_of_an_answer_breaks_the_connection_instead_of_ending_the_body() {
    let world = World::start().await;
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    world.backend(move |mut conn| async move {
        conn.request().await;
        conn.stream.send(format!("{head}5\r\nhello\r\n")).await;
        conn.stream.send("zz\r\n").await;
    });
    let answer = world.fetch(get("/")).await;
    assert!(!answer.whole || answer.status() == 502, "a broken body looked whole: {answer:?}");
}
