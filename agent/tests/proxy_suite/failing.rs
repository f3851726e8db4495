//! Instances that break, and what a client sees of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tenement_agent::flows::host::Active;
use tenement_agent::flows::observe::{Report, Unit};
use tenement_agent::flows::{Instance, WakeError};
use tokio::net::UnixListener;

use crate::poll::until;
use crate::support::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A backend that answers once per connection; the second request on one meets a closed socket
/// only after it was written.
async fn once_each(conn: BackendConn) {
    let mut conn = conn;
    conn.request().await;
    conn.stream.send(OK).await;
    conn.request().await;
}

#[tokio::test]
async fn a_pooled_connection_that_breaks_is_invisible_if_the_request_is_safe_to_retry() {
    let world = World::start().await;
    let backend = world.backend(once_each);
    let mut client = world.client().await;
    for method in ["GET", "GET", "OPTIONS", "PUT", "DELETE"] {
        client.send(format!("{method} / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        assert_eq!(client.answer().await.unwrap().status(), 200, "{method}");
    }
    assert!(backend.seen.connections.load(Ordering::SeqCst) >= 3);
    assert!(world.fake.suspects.load(Ordering::SeqCst) >= 1);
}

#[tokio::test]
async fn a_post_is_not_sent_twice() {
    let world = World::start().await;
    let backend = world.backend(once_each);
    let mut client = world.client().await;
    let post = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 2\r\n\r\nhi");
    client.send(&post).await;
    assert_eq!(client.answer().await.unwrap().status(), 200);
    client.send(&post).await;
    assert_eq!(client.answer().await.unwrap().status(), 502);
    assert_eq!(backend.count(), 2);
}

#[tokio::test]
async fn a_connection_closed_while_pooled_fails_nobody_not_even_a_post() {
    let world = World::start().await;
    let closed = Arc::new(AtomicUsize::new(0));
    let counter = closed.clone();
    world.backend(move |mut conn| {
        let counter = counter.clone();
        async move {
            conn.request().await;
            conn.stream.send(OK).await;
            drop(conn);
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    let mut client = world.client().await;
    for n in 1..=5 {
        client
            .send(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 2\r\n\r\nhi"))
            .await;
        assert_eq!(client.answer().await.unwrap().status(), 200);
        until("the backend has closed", || closed.load(Ordering::SeqCst) == n).await;
        // The runtime has to see the close as well: another task gets its turn.
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_answer_broken_in_the_middle_never_looks_whole() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let world = World::start().await;
        world.backend(move |mut conn| async move {
            conn.request().await;
            conn.stream.send(answer).await;
        });
        let mut client = world.client().await;
        client.send(get("/")).await;
        let whole =
            client.answer().await.is_some_and(|answer| answer.whole && answer.status() == 200);
        assert!(!whole, "{answer:?} looked whole");
    }
}

#[tokio::test]
async fn a_request_that_breaks_a_connection_made_for_it_is_not_sent_again() {
    let world = World::start().await;
    let backend = world.backend(|mut conn| async move {
        conn.request().await;
    });
    assert_eq!(world.fetch(get("/")).await.status(), 502);
    assert_eq!(backend.count(), 1, "it was sent again");
}

#[tokio::test]
async fn a_socket_that_is_not_there_yet_is_tried_until_it_is() {
    let world = World::start().await;
    let (_, path) = world.register(HOST);
    let mut client = world.client().await;
    client.send(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 2\r\n\r\nhi")).await;
    until("the instance is suspected", || world.fake.suspects.load(Ordering::SeqCst) > 0).await;
    let listener = UnixListener::bind(path).unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let mut backend = Raw::new(stream);
    assert_eq!(backend.message(Kind::Request).await.unwrap().body, b"hi");
    backend.send(OK).await;
    assert_eq!(client.answer().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_cold_request_says_so_and_reports_its_wake() {
    let world = World::start().await;
    world.answering(OK);
    world.fake.cold.store(true, Ordering::SeqCst);
    let answer = world.fetch(get("/")).await;
    let wake = answer.get("x-tenement-wake").unwrap();
    let took = wake.strip_prefix("cold;dur=").expect(wake);
    assert!(took.parse::<f64>().is_ok(), "{wake}");
    assert_eq!(world.fake.wakes.load(Ordering::SeqCst), 1);
    assert_eq!(world.fetch(get("/")).await.get("x-tenement-wake"), Some("hot"));
}

#[tokio::test]
async fn failed_wakes_are_503_with_retry_after_and_late_ones_504() {
    let world = World::start().await;
    world.answering(OK);
    let name: tenement_wire::InstanceName = "app:a".parse().unwrap();
    let secret = "/etc/secret/path exited 203/EXEC".to_owned();
    let retry_after = Duration::from_millis(4200);
    for (error, status, code) in [
        (WakeError::Failed { name: name.clone(), reason: secret, retry_after }, 503, "wake_failed"),
        (
            WakeError::TimedOut { name: name.clone(), after: retry_after, last: None },
            504,
            "wake_timeout",
        ),
        (WakeError::Gone { name: name.clone() }, 404, "unknown_instance"),
    ] {
        *world.fake.refuse.lock().unwrap() = Some(error);
        let answer = world.fetch(get("/")).await;
        assert_eq!(answer.status(), status);
        assert!(answer.text().contains(code), "{}", answer.text());
        assert!(!answer.text().contains("/etc"), "the answer leaks: {}", answer.text());
        assert_eq!(answer.get("retry-after"), (status == 503).then_some("5"));
    }
}

#[tokio::test]
async fn a_cold_instance_that_never_answers_gives_504_at_the_startup_deadline() {
    let world = World::start().await;
    *world.fake.startup.lock().unwrap() = Duration::from_millis(50);
    let backend = world.backend(|mut conn| async move {
        conn.request().await;
        conn.stream.is_closed().await;
    });
    world.fake.cold.store(true, Ordering::SeqCst);
    let answer = world.fetch(get("/")).await;
    assert_eq!(answer.status(), 504);
    assert!(answer.text().contains("wake_timeout"));
    until("the lease has ended", || backend.instance.gate.leases() == 0).await;
}

#[tokio::test]
async fn connections_from_before_a_stop_are_not_used_after_it() {
    let world = World::start().await;
    let backend = world.answering(OK);
    let mut client = world.client().await;
    client.send(get("/")).await;
    client.answer().await.unwrap();
    until("the connection is pooled", || backend.instance.pool.len() == 1).await;
    backend.instance.pool.clear();
    client.send(get("/")).await;
    client.answer().await.unwrap();
    assert_eq!(backend.seen.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_connection_in_use_during_a_stop_does_not_come_back_to_the_pool() {
    let world = World::start().await;
    let backend = world.backend(|mut conn| async move {
        conn.request().await;
        conn.stream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no").await;
        conn.stream.more().await;
    });
    let mut client = world.client().await;
    client.send(get("/")).await;
    client.head().await.unwrap();
    backend.instance.pool.clear();
    drop(client);
    until("the lease has ended", || backend.instance.gate.leases() == 0).await;
    assert!(backend.instance.pool.is_empty());
}

#[tokio::test]
async fn a_full_queue_at_the_instances_socket_fails_nobody() {
    let world = World::start().await;
    let (_, path) = world.register(HOST);
    let socket = tokio::net::UnixSocket::new_stream().unwrap();
    socket.bind(&path).unwrap();
    let listener = socket.listen(1).unwrap();
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = world.client().await;
        client.send(get("/")).await;
        clients.push(client);
    }
    // Two fit in; the others have asked in vain by the time that all clients are admitted.
    until("all are admitted", || world.proxy.open_connections() == 20).await;
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mut backend = Raw::new(stream);
            tokio::spawn(async move {
                while backend.message(Kind::Request).await.is_some() && backend.send(OK).await {}
            });
        }
    });
    for mut client in clients {
        assert_eq!(client.answer().await.unwrap().status(), 200);
    }
    assert_eq!(world.fake.suspects.load(Ordering::SeqCst), 0, "a full queue is no suspicion");
}

#[tokio::test]
async fn a_request_whose_process_died_is_not_sent_to_the_next_and_one_whose_process_was_stopped_is()
{
    for (pooled, auto_restart, status, sent) in
        [(false, true, 502, 1), (true, true, 502, 2), (false, false, 200, 2), (true, false, 200, 3)]
    {
        let world = World::start().await;
        let told = Arc::new(std::sync::Mutex::new(None::<Arc<Instance>>));
        let shared = told.clone();
        let count = Arc::new(AtomicUsize::new(0));
        let ends_at = 1 + usize::from(pooled);
        let backend = world.backend(move |mut conn| {
            let (shared, count) = (shared.clone(), count.clone());
            async move {
                while conn.request().await.is_some() {
                    if count.fetch_add(1, Ordering::SeqCst) + 1 != ends_at {
                        conn.stream.send(OK).await;
                        continue;
                    }
                    let instance = shared.lock().unwrap().clone().unwrap();
                    let active =
                        if auto_restart { Active::Activating } else { Active::Deactivating };
                    let report = Report::of(instance.name.clone(), Unit::Service, active);
                    instance.note_end(&Report { auto_restart, ..report }, false);
                    return;
                }
            }
        });
        *told.lock().unwrap() = Some(backend.instance.clone());
        let mut client = world.client().await;
        if pooled {
            client.send(get("/")).await;
            assert_eq!(client.answer().await.unwrap().status(), 200);
        }
        client.send(get("/")).await;
        let answer = client.answer().await.unwrap();
        assert_eq!(answer.status(), status, "pooled: {pooled}, died: {auto_restart}");
        assert_eq!(backend.count(), sent, "pooled: {pooled}, died: {auto_restart}");
    }
}
