//! HTTP/2 without TLS, by prior knowledge.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::support::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello";

async fn connect(world: &World) -> hyper::client::conn::http2::SendRequest<Full<Bytes>> {
    let io = TokioIo::new(TcpStream::connect(world.addr).await.unwrap());
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    sender
}

#[tokio::test]
async fn http2_by_prior_knowledge_becomes_http_11_with_the_authority_as_host() {
    let world = World::start().await;
    let backend = world.answering(OK);
    let mut sender = connect(&world).await;
    for _ in 0..3 {
        let request = Request::post(format!("http://{HOST}/x?y")).body(Full::from("abc")).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(answer.headers().contains_key("x-request-id"));
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "hello");
        let request = backend.last();
        assert_eq!(request.start, "POST /x?y HTTP/1.1");
        assert_eq!(request.get("host"), Some(HOST));
        assert_eq!(request.body, b"abc");
    }
    let streams = (0..20).map(|_| {
        let request = Request::get(format!("http://{HOST}/")).body(Full::default()).unwrap();
        sender.send_request(request)
    });
    for answer in futures_util::future::join_all(streams).await {
        assert_eq!(answer.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn an_http2_host_that_contradicts_the_authority_is_refused() {
    let world = World::start().await;
    let backend = world.answering(OK);
    let mut sender = connect(&world).await;
    let request = Request::get(format!("http://{HOST}/"))
        .header("host", "b.app.example.com")
        .body(Full::default())
        .unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 400);
    assert_eq!(backend.count(), 0);
    let request = Request::get("http://nope.example.org/").body(Full::default()).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 404);
}

#[tokio::test]
async fn an_upgrade_to_h2c_is_ignored() {
    let world = World::start().await;
    let backend = world.answering(OK);
    let answer = world
        .fetch(format!(
            "GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
        ))
        .await;
    assert_eq!(answer.status(), 200);
    assert_eq!(backend.last().get("upgrade"), None);
}

#[tokio::test]
async fn cookies_that_a_client_of_http2_splits_reach_the_instance_as_one_field() {
    let world = World::start().await;
    let backend = world.answering(OK);
    let mut sender = connect(&world).await;
    let request = Request::get(format!("http://{HOST}/"))
        .header("cookie", "a=1")
        .header("cookie", "b=2; c=3")
        .header("cookie", "d=4")
        .body(Full::default())
        .unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
    assert_eq!(backend.last().all("cookie"), ["a=1; b=2; c=3; d=4"]);
}

#[tokio::test]
async fn more_fields_than_allowed_are_refused_in_http2_too() {
    let mut policy = policy();
    policy.limits.header_count = 10;
    let world = World::with(policy).await;
    let backend = world.answering(OK);
    let mut sender = connect(&world).await;
    let mut request = Request::get(format!("http://{HOST}/"));
    for n in 0..11 {
        request = request.header(format!("x-{n}"), "y");
    }
    let answer = sender.send_request(request.body(Full::default()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 431);
    assert_eq!(backend.count(), 0);
}
