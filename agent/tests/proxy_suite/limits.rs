//! Deadlines and bounds.

use std::time::Duration;

use crate::poll::{pace, until};
use crate::support::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const SHORT: Duration = Duration::from_millis(60);

#[tokio::test]
async fn a_head_that_trickles_in_is_refused_at_the_deadline() {
    let mut policy = policy();
    policy.limits.header_timeout = SHORT;
    let world = World::with(policy).await;
    let backend = world.answering(OK);
    let mut client = world.client().await;
    client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n")).await;
    // One byte after the other keeps nobody alive.
    let trickle = async {
        while client.io.try_write(b"X").is_ok() {
            pace(Duration::from_millis(5)).await;
        }
    };
    let _ = tokio::time::timeout(PATIENCE / 10, trickle).await;
    let answer = client.answer().await;
    assert!(answer.is_none_or(|answer| answer.status() == 408));
    assert_eq!(backend.count(), 0);
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let mut policy = policy();
    policy.limits.header_timeout = SHORT;
    let world = World::with(policy).await;
    let mut client = world.client().await;
    assert!(client.is_closed().await);
    until("it is not counted any more", || world.proxy.open_connections() == 0).await;
}

#[tokio::test]
async fn an_idle_kept_alive_connection_is_closed_without_a_word() {
    let mut policy = policy();
    policy.limits.keepalive_timeout = SHORT;
    let world = World::with(policy).await;
    world.answering(OK);
    let mut client = world.client().await;
    client.send(get("/")).await;
    assert_eq!(client.answer().await.unwrap().status(), 200);
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn an_upload_that_stalls_gets_408() {
    let mut policy = policy();
    policy.limits.body_timeout = SHORT;
    let world = World::with(policy).await;
    world.answering(OK);
    let request = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 9\r\n\r\nhalf");
    assert_eq!(world.fetch(request).await.status(), 408);
}

#[tokio::test]
async fn an_answer_that_stalls_is_broken_off_unless_it_is_an_event_stream() {
    let mut policy = policy();
    policy.limits.body_timeout = SHORT;
    let world = World::with(policy).await;
    world.backend(|mut conn| async move {
        let request = conn.request().await.unwrap();
        let kind =
            if request.start.contains("events") { "text/event-stream" } else { "text/plain" };
        conn.stream
            .send(format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: 4\r\n\r\nab"))
            .await;
        if kind == "text/plain" {
            conn.stream.is_closed().await;
        } else {
            pace(SHORT * 5).await;
            conn.stream.send("cd").await;
        }
    });
    let answer = world.fetch(get("/plain")).await;
    assert!(!answer.whole, "half an answer looked whole");
    let answer = world.fetch(get("/events")).await;
    assert_eq!((answer.whole, answer.text().as_str()), (true, "abcd"));
}

#[tokio::test]
async fn an_instance_that_does_not_answer_in_time_gives_504() {
    let mut policy = policy();
    policy.limits.response_timeout = SHORT;
    let world = World::with(policy).await;
    world.backend(|mut conn| async move {
        conn.request().await;
        conn.stream.is_closed().await;
    });
    let answer = world.fetch(get("/")).await;
    assert_eq!(answer.status(), 504);
    assert!(answer.text().contains("answer_timeout"));
}

#[tokio::test]
async fn bodies_beyond_the_limit_get_413_however_they_are_framed() {
    let mut policy = policy();
    policy.limits.body_bytes = 5;
    let world = World::with(policy).await;
    let backend = world.answering(OK);
    let post = |rest: &str| format!("POST / HTTP/1.1\r\nHost: {HOST}\r\n{rest}");
    assert_eq!(world.fetch(post("Content-Length: 6\r\n\r\nabcdef")).await.status(), 413);
    assert_eq!(backend.count(), 0, "the length was known at once");
    assert_eq!(world.fetch(post("Content-Length: 5\r\n\r\nabcde")).await.status(), 200);
    let chunked = post("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n");
    assert_eq!(world.fetch(chunked).await.status(), 413);
}

#[tokio::test]
async fn one_connection_too_many_is_turned_away_and_counted_out_again() {
    let mut policy = policy();
    policy.limits.connections = 2;
    let world = World::with(policy).await;
    world.answering(OK);
    let (first, _second) = (world.client().await, world.client().await);
    until("both are counted", || world.proxy.open_connections() == 2).await;
    let mut third = world.client().await;
    assert_eq!(third.answer().await.unwrap().status(), 503);
    drop(first);
    until("the place is free", || world.proxy.open_connections() == 1).await;
    assert_eq!(world.fetch(get("/")).await.status(), 200);
}

#[tokio::test]
async fn one_client_address_cannot_take_all_connections() {
    let mut policy = policy();
    policy.limits.connections_per_client = 1;
    let world = World::with(policy).await;
    let _first = world.client().await;
    until("it is counted", || world.proxy.open_connections() == 1).await;
    assert_eq!(world.client().await.answer().await.unwrap().status(), 503);
}

#[tokio::test]
async fn requests_to_an_instance_whose_disk_is_full_get_507() {
    let world = World::start().await;
    let backend = world.answering(OK);
    backend.instance.disk.limit(Some(1 << 20));
    assert!(backend.instance.disk.measured(1 << 20));
    let answer = world.fetch(get("/")).await;
    assert_eq!(answer.status(), 507);
    assert!(answer.text().contains("disk_full"), "{}", answer.text());
    assert_eq!(backend.count(), 0);
}
