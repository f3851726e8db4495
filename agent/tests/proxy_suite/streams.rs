//! Bodies as they flow, and protocols that are not HTTP.

use std::sync::atomic::Ordering;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::poll::until;
use crate::support::*;

#[tokio::test]
async fn events_arrive_one_by_one_and_hold_the_lease() {
    let world = World::start().await;
    let (next, mut turn) = tokio::sync::mpsc::unbounded_channel::<()>();
    let turn = std::sync::Arc::new(tokio::sync::Mutex::new(turn_of(&mut turn)));
    let backend = world.backend(move |mut conn| {
        let turn = turn.clone();
        async move {
            conn.request().await;
            conn.stream.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            while turn.lock().await.recv().await.is_some() {
                conn.stream.send("9\r\ndata: 1\n\n\r\n").await;
            }
            conn.stream.send("0\r\n\r\n").await;
        }
    });
    let mut client = world.client().await;
    client.send(get("/")).await;
    let head = client.head().await.unwrap();
    assert_eq!(head.get("content-type"), Some("text/event-stream"));
    for _ in 0..3 {
        next.send(()).unwrap();
        // The next event is sent only after this one has arrived.
        assert_eq!(client.line().await.unwrap(), "9");
        assert_eq!(client.exactly(11).await.unwrap(), b"data: 1\n\n\r\n");
        assert_eq!(backend.instance.gate.leases(), 1);
    }
    drop(next);
    assert_eq!(client.line().await.unwrap(), "0");
    until("the lease has ended", || backend.instance.gate.leases() == 0).await;
}

fn turn_of<T>(
    receiver: &mut tokio::sync::mpsc::UnboundedReceiver<T>,
) -> tokio::sync::mpsc::UnboundedReceiver<T> {
    let (_, empty) = tokio::sync::mpsc::unbounded_channel();
    std::mem::replace(receiver, empty)
}

#[tokio::test]
async fn trailers_are_passed_on_both_ways() {
    let world = World::start().await;
    let backend = world.answering(
        "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 7\r\n\r\n",
    );
    let answer = world
        .fetch(format!(
            "POST / HTTP/1.1\r\nHost: {HOST}\r\nTE: trailers\r\nConnection: te\r\nTrailer: X-In\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-In: 3\r\n\r\n"
        ))
        .await;
    assert_eq!(answer.text(), "hi");
    assert_eq!(answer.trailers, [("x-sum".to_owned(), "7".to_owned())]);
    assert_eq!(backend.last().trailers, [("x-in".to_owned(), "3".to_owned())]);
}

#[tokio::test]
async fn a_client_that_expects_100_gets_it_before_it_sends_the_body() {
    let world = World::start().await;
    let backend = world.answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let mut client = world.client().await;
    client
        .send(format!(
            "POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        ))
        .await;
    assert_eq!(client.message(Kind::Answer).await.unwrap().status(), 100);
    client.send("abc").await;
    assert_eq!(client.answer().await.unwrap().status(), 200);
    assert_eq!(backend.last().body, b"abc");
}

#[tokio::test]
async fn answers_without_a_body_do_not_break_keep_alive() {
    let world = World::start().await;
    world.backend(|mut conn| async move {
        while let Some(request) = conn.request().await {
            let answer = match request.start.split(' ').nth(1).unwrap() {
                "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/304" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\nETag: x\r\n\r\n",
                "/103" => "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
            };
            conn.stream.send(answer).await;
        }
    });
    let mut client = world.client().await;
    for path in ["/204", "/304", "/204"] {
        client.send(get(path)).await;
        assert_eq!(format!("/{}", client.answer().await.unwrap().status()), path);
    }
    client.send(format!("HEAD / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    let answer = client.message(Kind::HeadAnswer).await.unwrap();
    assert_eq!(answer.get("content-length"), Some("100"));
    client.send(get("/103")).await;
    assert_eq!(client.answer().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_body_that_ends_with_the_connection_is_passed_on_whole() {
    let world = World::start().await;
    world.backend(|mut conn| async move {
        conn.request().await;
        conn.stream.send("HTTP/1.0 200 OK\r\n\r\nall of it").await;
    });
    let answer = world.fetch(get("/")).await;
    assert_eq!((answer.status(), answer.text().as_str(), answer.whole), (200, "all of it", true));
}

#[tokio::test]
async fn an_http_10_client_is_answered_and_closed() {
    let world = World::start().await;
    world.answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n");
    let mut client = world.client().await;
    client.send(format!("GET / HTTP/1.0\r\nHost: {HOST}\r\n\r\n")).await;
    let answer = client.answer().await.unwrap();
    assert_eq!((answer.text().as_str(), answer.get("transfer-encoding")), ("hi", None));
}

const SWITCH: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\nX-Key: 1\r\n\r\n";

fn upgrade(protocol: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: {HOST}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: {protocol}\r\nSec-WebSocket-Key: k\r\n\r\n"
    )
}

#[tokio::test]
async fn another_protocol_is_tunnelled_both_ways_with_half_close() {
    let world = World::start().await;
    let backend = world.backend(|mut conn| async move {
        conn.request().await;
        conn.stream.send(SWITCH).await;
        // Everything until the client's half is closed, then it all back.
        let mut all = std::mem::take(&mut conn.stream.rest);
        conn.stream.io.read_to_end(&mut all).await.unwrap();
        all.reverse();
        conn.stream.send(&all).await;
    });
    let mut client = world.client().await;
    // Sent before the 101: held back until the instance has agreed.
    client.send(upgrade("echo")).await;
    client.send("abc\n\0").await;
    let answer = client.head().await.unwrap();
    assert_eq!(answer.status(), 101);
    assert_eq!(answer.get("upgrade"), Some("echo"));
    assert_eq!(answer.get("x-key"), Some("1"));
    assert_eq!(backend.last().get("connection"), Some("upgrade"));
    assert_eq!(backend.last().get("upgrade"), Some("echo"));
    assert_eq!(backend.last().get("sec-websocket-key"), Some("k"));
    assert_eq!(backend.instance.gate.leases(), 1, "an open tunnel keeps the instance awake");
    client.send("def").await;
    client.io.shutdown().await.unwrap();
    client.io.read_to_end(&mut client.rest).await.unwrap();
    assert_eq!(client.rest, b"fed\0\ncba");
    until("the lease has ended", || backend.instance.gate.leases() == 0).await;
}

#[tokio::test]
async fn a_refused_switch_is_an_ordinary_answer_and_the_connection_goes_on() {
    let world = World::start().await;
    world.answering("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno");
    let mut client = world.client().await;
    client.send(upgrade("websocket")).await;
    client.send(get("/after")).await;
    assert_eq!(client.answer().await.unwrap().status(), 426);
    assert_eq!(client.answer().await.unwrap().status(), 426);
}

#[tokio::test]
async fn what_follows_a_refused_switch_is_checked_like_any_request() {
    let world = World::start().await;
    let backend = world.answering("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n");
    let mut client = world.client().await;
    client
        .send(format!("{}GET / HTTP/1.1\r\nHost: b\r\nHost: c\r\n\r\n", upgrade("websocket")))
        .await;
    assert_eq!(client.answer().await.unwrap().status(), 426);
    assert!(client.answer().await.is_none_or(|answer| answer.status() == 400));
    assert!(client.is_closed().await);
    assert_eq!(backend.count(), 1);
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_request_with_it() {
    let world = World::start().await;
    let (gone, mut is_gone) = tokio::sync::mpsc::unbounded_channel();
    let backend = world.backend(move |mut conn| {
        let gone = gone.clone();
        async move {
            conn.request().await;
            conn.stream.is_closed().await;
            gone.send(()).unwrap();
        }
    });
    let mut client = world.client().await;
    client.send(get("/slow")).await;
    until("the backend has the request", || backend.count() == 1).await;
    drop(client);
    let seen = tokio::time::timeout(PATIENCE, is_gone.recv()).await;
    assert!(seen.is_ok(), "the backend's connection was kept");
    until("the lease has ended", || backend.instance.gate.leases() == 0).await;
}

const BIG: usize = 64 << 20;

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn large_bodies_stream_both_ways_in_constant_memory() {
    let world = World::start().await;
    world.backend(|mut conn| async move {
        let head = conn.stream.head().await.unwrap();
        let mut left: usize = head.get("content-length").unwrap().parse().unwrap();
        left -= conn.stream.rest.len();
        let mut piece = vec![0; 65536];
        while left > 0 {
            left -= conn.stream.io.read(&mut piece).await.unwrap();
        }
        conn.stream.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {BIG}\r\n\r\n")).await;
        for _ in 0..BIG / piece.len() {
            conn.stream.send(&piece).await;
        }
    });
    let before = resident_kib();
    let mut client = world.client().await;
    client.send(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {BIG}\r\n\r\n")).await;
    let mut piece = vec![1; 65536];
    for _ in 0..BIG / piece.len() {
        assert!(client.send(&piece).await);
    }
    assert_eq!(client.head().await.unwrap().status(), 200);
    let mut got = client.rest.len();
    while got < BIG {
        let n = client.io.read(&mut piece).await.unwrap();
        assert!(n > 0, "ended after {got} bytes");
        got += n;
    }
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 24 * 1024, "{grown} KiB more are resident");
}

#[tokio::test]
async fn an_upload_goes_on_while_its_answer_is_read() {
    let world = World::start().await;
    world.backend(|mut conn| async move {
        conn.stream.head().await.unwrap();
        conn.stream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        // Echoes the chunks as they stand: both sides are framed the same way.
        while conn.stream.more().await {
            let echoed = std::mem::take(&mut conn.stream.rest);
            conn.stream.send(&echoed).await;
        }
    });
    let mut client = world.client().await;
    client
        .send(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n"))
        .await;
    assert_eq!(client.head().await.unwrap().status(), 200);
    for _ in 0..5 {
        client.send("4\r\nping\r\n").await;
        assert_eq!(client.line().await.unwrap(), "4");
        assert_eq!(client.exactly(6).await.unwrap(), b"ping\r\n");
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(client.line().await.unwrap(), "0");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_over_one_pooled_connection() {
    let world = World::start().await;
    let backend = world.backend(|mut conn| async move {
        while let Some(request) = conn.request().await {
            let path = request.start.split(' ').nth(1).unwrap().to_owned();
            conn.stream
                .send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len()))
                .await;
        }
    });
    let mut client = world.client().await;
    client.send((0..20).map(|i| get(&format!("/{i}"))).collect::<String>()).await;
    for i in 0..20 {
        assert_eq!(client.answer().await.unwrap().text(), format!("/{i}"));
    }
    assert_eq!(backend.seen.connections.load(Ordering::SeqCst), 1);
}
