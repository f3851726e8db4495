//! The circuit breaker, as a client sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::poll::until;
use crate::support::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn post() -> String {
    format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 2\r\n\r\nhi")
}

#[tokio::test]
async fn requests_fail_fast_after_ten_that_were_not_answered_until_a_probe_is() {
    let world = World::start().await;
    let answers = Arc::new(AtomicBool::new(false));
    let flag = answers.clone();
    let backend = world.backend(move |mut conn| {
        let flag = flag.clone();
        async move {
            while conn.request().await.is_some() && flag.load(Ordering::SeqCst) {
                conn.stream.send(OK).await;
            }
        }
    });
    for _ in 0..10 {
        assert_eq!(world.fetch(post()).await.status(), 502);
    }
    let seen = backend.count();
    let refused = world.fetch(post()).await;
    assert_eq!(refused.status(), 503);
    assert!(refused.get("retry-after").is_some(), "no Retry-After");
    assert_eq!(backend.count(), seen, "the instance was asked");
    answers.store(true, Ordering::SeqCst);
    let instance = backend.instance.clone();
    until("a probe has let requests through", || instance.breaker.refuses().is_none()).await;
    assert_eq!(world.fetch(post()).await.status(), 200);
}

#[tokio::test]
async fn half_open_one_failure_closes_the_door_again() {
    let world = World::start().await;
    let backend = world.backend(|mut conn| async move {
        conn.request().await;
    });
    for _ in 0..10 {
        assert_eq!(world.fetch(post()).await.status(), 502);
    }
    let instance = backend.instance.clone();
    // Without a health path a probe is a bare connection, which this backend takes.
    until("it is half open", || instance.breaker.refuses().is_none()).await;
    assert_eq!(world.fetch(post()).await.status(), 502);
    assert_eq!(world.fetch(post()).await.status(), 503);
    assert!(instance.breaker.refuses().unwrap() > Duration::from_secs(1));
}

#[tokio::test]
async fn the_apps_own_errors_do_not_count() {
    let world = World::start().await;
    let backend =
        world.answering("HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n");
    for _ in 0..25 {
        assert_eq!(world.fetch(post()).await.get("retry-after").unwrap(), "7");
    }
    assert_eq!(backend.count(), 25);
}
