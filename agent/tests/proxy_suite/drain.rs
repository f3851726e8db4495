//! The end of the proxy, which nobody should notice.

use std::time::Duration;

use crate::poll::until;
use crate::support::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn during_the_drain_every_request_is_answered_with_connection_close() {
    let mut world = World::start().await;
    world.answering(OK);
    let mut kept = world.client().await;
    kept.send(get("/")).await;
    assert_eq!(kept.answer().await.unwrap().get("connection"), None);
    world.shut_down();
    let mut new = world.client().await;
    tokio::task::yield_now().await;
    kept.send(get("/")).await;
    let answer = kept.answer().await.expect("a kept-alive connection was closed under a request");
    assert_eq!((answer.status(), answer.get("connection")), (200, Some("close")));
    new.send(get("/")).await;
    assert_eq!(new.answer().await.expect("a new connection was refused").status(), 200);
    assert!(kept.is_closed().await);
    tokio::time::timeout(PATIENCE, world.serving.take().unwrap()).await.expect("it ends").unwrap();
}

#[tokio::test]
async fn a_request_in_flight_is_finished_before_the_end() {
    let mut world = World::start().await;
    let (go, wait) = tokio::sync::watch::channel(false);
    let backend = world.backend(move |mut conn| {
        let mut wait = wait.clone();
        async move {
            conn.request().await;
            let _ = wait.wait_for(|go| *go).await;
            conn.stream.send(OK).await;
        }
    });
    let mut client = world.client().await;
    client.send(get("/")).await;
    until("the backend has the request", || backend.count() == 1).await;
    world.shut_down();
    let addr = world.addr;
    until("new connections wait in the kernel or are refused", || {
        std::net::TcpStream::connect(addr).is_err()
    })
    .await;
    go.send(true).unwrap();
    assert_eq!(client.answer().await.unwrap().text(), "ok");
    tokio::time::timeout(PATIENCE, world.serving.take().unwrap()).await.expect("it ends").unwrap();
}

#[tokio::test]
async fn what_does_not_end_is_dropped_after_the_drain_timeout() {
    let mut policy = policy();
    policy.drain_timeout = Duration::from_millis(100);
    let mut world = World::with(policy).await;
    let backend = world.backend(|mut conn| async move {
        conn.request().await;
        conn.stream.is_closed().await;
    });
    let mut client = world.client().await;
    client.send(get("/")).await;
    until("the backend has the request", || backend.count() == 1).await;
    world.shut_down();
    tokio::time::timeout(PATIENCE, world.serving.take().unwrap()).await.expect("it ends").unwrap();
    assert!(client.answer().await.is_none());
}
