//! Limits of one instance's requests.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tenement_agent::flows::throttle::RequestLimits;
use tokio::sync::Semaphore;

use super::poll::until;
use super::support::{World, get};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn limit(backend: &super::support::Backend, requests: RequestLimits) {
    let mut setup = (**backend.instance.setup()).clone();
    setup.requests = requests;
    backend.instance.set_setup(setup);
}

#[tokio::test]
async fn more_requests_in_flight_than_requests_max_get_503_and_wake_nothing() {
    let world = World::start().await;
    let gate = Arc::new(Semaphore::new(0));
    let hold = gate.clone();
    let backend = world.backend(move |mut conn| {
        let hold = hold.clone();
        async move {
            while conn.request().await.is_some() {
                hold.acquire().await.unwrap().forget();
                conn.stream.send(OK).await;
            }
        }
    });
    limit(&backend, RequestLimits { max: 2, rate: 0 });
    let (mut one, mut two) = (world.client().await, world.client().await);
    one.send(get("/")).await;
    two.send(get("/")).await;
    until("both are in flight", || backend.instance.gate.leases() == 2).await;
    world.fake.cold.store(true, Ordering::SeqCst);
    let refused = world.fetch(get("/")).await;
    assert_eq!((refused.status(), refused.get("retry-after")), (503, Some("1")));
    assert!(refused.text().contains("instance_busy"), "{}", refused.text());
    assert!(world.fake.cold.load(Ordering::SeqCst), "a refused request woke it");
    world.fake.cold.store(false, Ordering::SeqCst);
    gate.add_permits(3);
    assert_eq!(one.answer().await.unwrap().status(), 200);
    assert_eq!(two.answer().await.unwrap().status(), 200);
    until("both have ended", || backend.instance.gate.leases() == 0).await;
    assert_eq!(world.fetch(get("/")).await.status(), 200);
}

#[tokio::test]
async fn requests_beyond_request_rate_get_429_with_retry_after() {
    let world = World::start().await;
    let backend = world.answering(OK);
    // One a minute or so would be slow to test; the burst is what counts here.
    limit(&backend, RequestLimits { max: 0, rate: 3 });
    let mut client = world.client().await;
    let (mut good, mut refused) = (0, 0);
    for _ in 0..12 {
        client.send(get("/")).await;
        let answer = client.answer().await.expect("the connection stays open");
        match answer.status() {
            200 => good += 1,
            429 => {
                refused += 1;
                assert_eq!(answer.get("retry-after"), Some("1"));
                assert!(answer.text().contains("too_many_requests"), "{}", answer.text());
            }
            other => panic!("{other}: {}", answer.text()),
        }
    }
    assert!(good >= 3 && refused >= 1, "{good} passed, {refused} were refused");
}
