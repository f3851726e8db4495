//! Load balancers that say who the client is, before the connection's first byte.

use tenement_agent::config::{Cidr, TcpRoute};
use tenement_agent::proxy::{Policy, TcpDoor};
use tokio::net::TcpStream;

use crate::poll::until;
use crate::secure::Secure;
use crate::support::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello";
/// 192.0.2.7 has connected to port 80 of 192.0.2.1.
const V1: &str = "PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n";

/// The same in version 2, by TLS.
fn v2_by_tls() -> Vec<u8> {
    let mut bytes =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x14\xc0\x00\x02\x07\xc0\x00\x02\x01\x12\x67\x00\x50"
            .to_vec();
    bytes.extend(b"\x20\x00\x05\x01\x00\x00\x00\x00");
    bytes
}

fn behind_a_balancer() -> Policy {
    let mut policy = policy();
    policy.proxy_protocol = vec![Cidr { address: "127.0.0.0".parse().unwrap(), prefix: 8 }];
    policy.secure.redirect = Some(443);
    policy
}

async fn asks(addr: std::net::SocketAddr, header: &[u8]) -> Option<Answer> {
    let mut client = Raw::new(TcpStream::connect(addr).await.unwrap());
    client.send(header).await;
    client.send(get("/x")).await;
    client.answer().await
}

#[tokio::test]
async fn plain_http_is_redirected_only_while_https_is_served() {
    let secure = Secure::start(behind_a_balancer()).await;
    secure.world.answering(OK);
    let answer = asks(secure.world.plain, V1.as_bytes()).await.expect("an answer");
    assert_eq!(answer.status(), 308);
    assert_eq!(answer.get("location"), Some("https://a.app.example.com/x"));
    secure.tls.listens(0);
    let answer = asks(secure.world.plain, V1.as_bytes()).await.expect("an answer");
    assert_eq!(answer.status(), 200, "nobody would answer at the other port");
}

#[tokio::test]
async fn a_client_that_came_to_its_load_balancer_by_tls_is_not_redirected() {
    let secure = Secure::start(behind_a_balancer()).await;
    let backend = secure.world.answering(OK);
    let answer = asks(secure.world.plain, &v2_by_tls()).await.expect("an answer");
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert_eq!(backend.last().get("x-forwarded-proto"), Some("https"));
    assert_eq!(backend.last().get("x-forwarded-for"), Some("192.0.2.7"));
}

#[tokio::test]
async fn a_tcp_port_reads_the_load_balancers_header_and_names_the_client() {
    let world = World::with(behind_a_balancer()).await;
    let (say, mut heard) = tokio::sync::mpsc::unbounded_channel();
    world.backend(move |mut conn| {
        let say = say.clone();
        async move {
            let header = conn.stream.line().await;
            let _ = say.send((header, conn.stream.line().await));
        }
    });
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = free.local_addr().unwrap();
    let target = "app:a".parse().unwrap();
    let route = TcpRoute { port: addr.port(), target, header: Some(1) };
    let door = TcpDoor::new(world.proxy.clone());
    door.adopt(&[route], vec![free]);
    let mut client = Raw::new(TcpStream::connect(addr).await.unwrap());
    client.send(V1).await;
    client.send("first\r\n").await;
    let (header, first) = heard.recv().await.expect("a connection");
    assert!(header.unwrap().starts_with("PROXY TCP4 192.0.2.7 127.0.0.1 4711 "));
    assert_eq!(first.unwrap().trim_end(), "first", "the header was taken off");
    let mut rude = Raw::new(TcpStream::connect(addr).await.unwrap());
    rude.send("no header at all\r\n").await;
    assert!(rude.is_closed().await);
    let refused = &world.proxy.counters.connections_refused;
    until("it is counted", || refused.load(std::sync::atomic::Ordering::SeqCst) == 1).await;
}
