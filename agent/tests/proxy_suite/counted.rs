//! What is counted of requests and streams, however they end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tenement_agent::config::TcpRoute;
use tenement_agent::flows::Instance;
use tenement_agent::flows::metrics::wakes::Outcome;
use tenement_agent::proxy::TcpDoor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::poll::until;
use crate::support::*;

fn statuses(instance: &Instance) -> Vec<(u16, u64)> {
    instance.meter().read().statuses
}

#[tokio::test]
async fn a_client_that_leaves_before_its_answer_is_counted_as_499_once() {
    let world = World::start().await;
    let backend = world.backend(|mut conn| async move {
        conn.request().await;
        conn.stream.is_closed().await;
    });
    let mut client = world.client().await;
    client.send(get("/hangs")).await;
    until("the backend has the request", || backend.count() == 1).await;
    assert_eq!(statuses(&backend.instance), []);
    drop(client);
    until("it is counted", || statuses(&backend.instance) == [(499, 1)]).await;
    assert_eq!(backend.instance.meter().read().took.count(), 1, "it took its time as well");
    assert_eq!(backend.instance.meter().read().errors(), 0, "nobody knows whose fault it was");
}

#[tokio::test]
async fn an_answered_request_is_counted_once_by_its_own_status() {
    let world = World::start().await;
    let backend = world.answering("HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(world.fetch(get("/")).await.status(), 201);
    until("it is counted", || statuses(&backend.instance) == [(201, 1)]).await;
    world.fake.refuse.lock().unwrap().replace(tenement_agent::flows::WakeError::GaveUp {
        name: "app:a".parse().unwrap(),
        reason: "it crashed".into(),
    });
    assert_eq!(world.fetch(get("/")).await.status(), 503);
    until("ours too", || statuses(&backend.instance) == [(201, 1), (503, 1)]).await;
}

#[tokio::test]
async fn a_wake_that_only_the_proxy_sees_fail_is_told_by_how_it_ended() {
    let world = World::start().await;
    *world.fake.startup.lock().unwrap() = Duration::from_millis(50);
    world.backend(|mut conn| async move {
        conn.request().await;
        conn.stream.is_closed().await;
    });
    world.fake.cold.store(true, Ordering::SeqCst);
    assert_eq!(world.fetch(get("/")).await.status(), 504);
    assert_eq!(*world.fake.lost.lock().unwrap(), [Outcome::TimedOut]);
    assert_eq!(world.fake.wakes.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn bytes_of_a_switched_protocol_count_while_it_lasts_and_survive_its_breaking() {
    let world = World::start().await;
    let backend = world.backend(|mut conn| async move {
        conn.request().await;
        let switch =
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
        conn.stream.send(switch).await;
        conn.stream.send("12345").await;
        let mut all = [0; 3];
        conn.stream.io.read_exact(&mut all).await.unwrap();
        conn.stream.is_closed().await;
    });
    let mut client = world.client().await;
    let upgrade = "Connection: upgrade\r\nUpgrade: echo\r\n";
    client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{upgrade}\r\n")).await;
    assert_eq!(client.head().await.unwrap().status(), 101);
    assert_eq!(client.exactly(5).await.unwrap(), b"12345");
    client.send("abc").await;
    let meter = || backend.instance.meter().read();
    until("what was passed on counts", || (meter().received, meter().sent) == (3, 5)).await;
    assert_eq!(backend.instance.gate.leases(), 1, "it lasts");
    // With this, closing is a reset.
    client.io.set_zero_linger().unwrap();
    drop(client);
    until("the lease has ended", || backend.instance.gate.leases() == 0).await;
    assert_eq!((meter().received, meter().sent), (3, 5));
}

#[tokio::test]
async fn a_tcp_connection_counts_its_bytes_and_its_wake_with_the_first_byte_of_the_instance() {
    let world = World::start().await;
    let backend = world.backend(|mut conn| async move {
        let mut all = [0; 4];
        conn.stream.io.read_exact(&mut all).await.unwrap();
        conn.stream.send("pong!").await;
        conn.stream.is_closed().await;
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap().into_std().unwrap();
    let address = listener.local_addr().unwrap();
    let target = "app:a".parse().unwrap();
    let door = Arc::new(TcpDoor::new(world.proxy.clone()));
    door.adopt(&[TcpRoute { port: address.port(), target, header: None }], vec![listener]);
    world.fake.cold.store(true, Ordering::SeqCst);
    let mut client = TcpStream::connect(address).await.unwrap();
    until("it is connected", || backend.seen.connections.load(Ordering::SeqCst) == 1).await;
    assert_eq!(world.fake.wakes.load(Ordering::SeqCst), 0, "systemd's socket alone took it");
    client.write_all(b"ping").await.unwrap();
    let mut all = [0; 5];
    client.read_exact(&mut all).await.unwrap();
    assert_eq!(&all, b"pong!");
    assert_eq!(world.fake.wakes.load(Ordering::SeqCst), 1);
    let meter = || backend.instance.meter().read();
    until("its bytes count", || (meter().received, meter().sent) == (4, 5)).await;
    assert_eq!(meter().requests(), 0, "a connection is no request");
}
