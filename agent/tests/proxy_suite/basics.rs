//! Requests and answers in all their shapes.

use crate::support::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-App: yes\r\n\r\nhello";

#[tokio::test]
async fn a_get_reaches_the_instance_and_its_answer_comes_back() {
    let world = World::start().await;
    let backend = world.answering(OK);
    let answer = world.fetch(get("/path?query=1")).await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "hello"));
    assert_eq!(answer.get("x-app"), Some("yes"));
    assert_eq!(answer.get("x-tenement-wake"), Some("hot"));
    let request = backend.last();
    assert_eq!(request.start, "GET /path?query=1 HTTP/1.1");
    assert_eq!(request.get("host"), Some(HOST));
    assert_eq!(request.get("x-request-id"), answer.get("x-request-id"));
}

#[tokio::test]
async fn a_post_body_is_passed_on_as_it_was_framed() {
    let world = World::start().await;
    let backend = world.answering(OK);
    let mut client = world.client().await;
    client.send(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 4\r\n\r\nbody")).await;
    assert_eq!(client.answer().await.unwrap().status(), 200);
    assert_eq!(backend.last().body, b"body");
    assert_eq!(backend.last().get("content-length"), Some("4"));
    client
        .send(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"))
        .await;
    assert_eq!(client.answer().await.unwrap().status(), 200);
    assert_eq!(backend.last().body, b"abcde");
    assert_eq!(backend.seen.connections.load(std::sync::atomic::Ordering::SeqCst), 1);
}
