//! What answers on the domain itself is asked below the paths that the proxy knows.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tenement_agent::config::Cidr;
use tenement_agent::framing::Visitor;
use tenement_agent::proxy::{Root, RootBody, RootFuture, Visit};
use tokio::net::TcpStream;

use crate::support::*;

/// Answers with the body that it was sent.
#[derive(Debug, Default)]
struct Echo {
    open: AtomicBool,
    visits: Mutex<Vec<(String, Visitor)>>,
}

impl Root for Echo {
    fn is_open(&self) -> bool {
        self.open.load(Ordering::SeqCst)
    }

    fn has_pages(&self) -> bool {
        false
    }

    fn answers_as(&self, host: &str, visitor: &Visitor) -> bool {
        host == "localhost" && visitor.local
    }

    fn answer(&self, visit: Visit) -> RootFuture {
        let (method, uri) = (visit.request.method().clone(), visit.request.uri().clone());
        let (host, id) = (visit.host.to_str().unwrap(), visit.id.to_str().unwrap());
        let seen = format!("{method} {uri} {host} {id}");
        self.visits.lock().unwrap().push((seen, visit.visitor));
        Box::pin(async move {
            let body = visit.request.into_body().collect().await.map(|b| b.to_bytes());
            let body = Full::new(body.unwrap_or_default()).map_err(|never| match never {});
            Response::new(RootBody::new(body))
        })
    }
}

async fn world(trusted: Vec<Cidr>) -> (World, Arc<Echo>) {
    let world = World::with(tenement_agent::proxy::Policy { trusted_proxies: trusted, ..policy() });
    let world = world.await;
    let echo = Arc::new(Echo::default());
    echo.open.store(true, Ordering::SeqCst);
    world.proxy.set_root(echo.clone());
    (world, echo)
}

fn loopback() -> Vec<Cidr> {
    vec![Cidr { address: "127.0.0.1".parse().unwrap(), prefix: 32 }]
}

#[tokio::test]
async fn the_domain_itself_is_answered_with_the_client_the_host_and_the_request_id() {
    let (world, echo) = world(loopback()).await;
    let request = "POST /api/v1/x?y=1 HTTP/1.1\r\nHost: Example.com:8080\r\nContent-Length: 3\r\n\
                   X-Forwarded-For: 9.9.9.9, 198.51.100.7\r\nX-Forwarded-Proto: https\r\n\
                   X-Request-Id: theirs\r\n\r\nabc";
    let answer = world.fetch(request).await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "abc"));
    assert_eq!(answer.get("x-request-id"), Some("theirs"));
    let (seen, visitor) = echo.visits.lock().unwrap().pop().unwrap();
    assert_eq!(seen, "POST /api/v1/x?y=1 Example.com:8080 theirs");
    assert_eq!(visitor.address.to_string(), "198.51.100.7");
    assert!(visitor.https && !visitor.local);
}

#[tokio::test]
async fn it_is_answered_over_http2_too() {
    let (world, echo) = world(Vec::new()).await;
    let io = TokioIo::new(TcpStream::connect(world.addr).await.unwrap());
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let body = Full::new(Bytes::from_static(b"abc"));
    let request = Request::put("http://example.com/api/x").body(body).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "abc");
    let (seen, visitor) = echo.visits.lock().unwrap().pop().unwrap();
    assert!(seen.starts_with("PUT /api/x example.com "), "{seen}");
    assert!(visitor.local);
}

#[tokio::test]
async fn other_names_reach_it_only_if_it_takes_them() {
    let (world, echo) = world(Vec::new()).await;
    let ask = |host: &str, more: &str| {
        let request = format!("GET /api/x HTTP/1.1\r\nHost: {host}\r\n{more}\r\n");
        async { world.fetch(request).await.status() }
    };
    assert_eq!(ask("localhost:8080", "").await, 200);
    assert_eq!(ask("LOCALHOST", "").await, 200);
    assert_eq!(ask("localhost", "X-Forwarded-For: 1.1.1.1\r\n").await, 404);
    assert_eq!(ask("evil.example.org", "").await, 404);
    assert_eq!(ask("b.app.example.com", "").await, 404);
    assert_eq!(echo.visits.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn what_is_known_needs_nobody_and_a_closed_one_is_not_there() {
    let (world, echo) = world(Vec::new()).await;
    let ask = |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: example.com\r\n\r\n");
        async { world.fetch(request).await }
    };
    for path in ["/", "/health", "/healthz"] {
        let answer = ask(path).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.get("x-frame-options"), Some("DENY"));
        assert_eq!(answer.get("x-content-type-options"), Some("nosniff"));
    }
    echo.open.store(false, Ordering::SeqCst);
    assert_eq!(ask("/api/v1/health").await.status(), 404);
    assert_eq!(ask("/health").await.status(), 200);
    assert!(echo.visits.lock().unwrap().is_empty());
}
