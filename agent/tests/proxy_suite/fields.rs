//! Header fields: what is taken off, what is put on, whom we believe.

use tenement_agent::config::Cidr;

use crate::support::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// What the backend got of a request with these `fields`.
async fn forwarded(fields: &str, trusted: bool) -> Message {
    let mut policy = policy();
    if trusted {
        policy.trusted_proxies = vec![Cidr { address: "127.0.0.0".parse().unwrap(), prefix: 8 }];
    }
    let world = World::with(policy).await;
    let backend = world.answering(OK);
    let answer = world.fetch(format!("GET / HTTP/1.1\r\nHost: {HOST}:8080\r\n{fields}\r\n")).await;
    assert_eq!(answer.status(), 200, "{fields}");
    backend.last()
}

#[tokio::test]
async fn forwarded_headers_say_who_the_client_is() {
    let request = forwarded("", false).await;
    assert_eq!(request.get("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.get("x-forwarded-proto"), Some("http"));
    assert_eq!(request.get("x-forwarded-host"), Some("a.app.example.com:8080"));
    let expected = "for=127.0.0.1;host=\"a.app.example.com:8080\";proto=http";
    assert_eq!(request.get("forwarded"), Some(expected));
    assert_eq!(request.get("host"), Some("a.app.example.com:8080"));
}

const CLAIMS: &str = "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\nX-Forwarded-Proto: https\r\n\
    X-Forwarded-Host: shop.example\r\nForwarded: for=1.1.1.1\r\nX-Request-Id: abc-1\r\n";

#[tokio::test]
async fn a_strangers_claims_are_replaced() {
    let request = forwarded(CLAIMS, false).await;
    assert_eq!(request.get("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.get("x-forwarded-proto"), Some("http"));
    assert_eq!(request.get("x-forwarded-host"), Some("a.app.example.com:8080"));
    assert!(!request.get("forwarded").unwrap().contains("1.1.1.1"));
    assert_ne!(request.get("x-request-id"), Some("abc-1"));
}

#[tokio::test]
async fn a_trusted_proxys_claims_are_kept_and_added_to() {
    let request = forwarded(CLAIMS, true).await;
    assert_eq!(request.get("x-forwarded-for"), Some("1.1.1.1, 2.2.2.2, 127.0.0.1"));
    assert_eq!(request.get("x-forwarded-proto"), Some("https"));
    assert_eq!(request.get("x-forwarded-host"), Some("shop.example"));
    assert!(request.get("forwarded").unwrap().starts_with("for=1.1.1.1, for=127.0.0.1;"));
    assert_eq!(request.get("x-request-id"), Some("abc-1"));
    let request = forwarded("X-Request-Id: <script>\r\n", true).await;
    assert_ne!(request.get("x-request-id"), Some("<script>"));
}

#[tokio::test]
async fn connection_cannot_strip_what_we_set() {
    let listed = "Connection: x-forwarded-for, X-Forwarded-Proto, forwarded, x-request-id, host, x-mine\r\nX-Mine: 1\r\n";
    let request = forwarded(listed, false).await;
    for name in ["x-forwarded-for", "x-forwarded-proto", "forwarded", "x-request-id", "host"] {
        assert!(request.get(name).is_some(), "{name} was stripped");
    }
    assert_eq!(request.get("x-mine"), None);
}

#[tokio::test]
async fn hop_by_hop_and_underscored_fields_stop_here() {
    let request = forwarded(
        "Keep-Alive: 5\r\nProxy-Connection: x\r\nTE: gzip\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nUpgrade: h2c\r\n\
         Connection: Upgrade, HTTP2-Settings\r\nProxy-Authorization: x\r\nX_Forwarded_For: 6.6.6.6\r\nContent_Length: 5\r\nExpect: 100-continue\r\n",
        false,
    )
    .await;
    for name in [
        "keep-alive",
        "proxy-connection",
        "te",
        "http2-settings",
        "upgrade",
        "connection",
        "proxy-authorization",
        "x_forwarded_for",
        "content_length",
        "expect",
    ] {
        assert_eq!(request.get(name), None, "{name} was passed on");
    }
}

#[tokio::test]
async fn end_to_end_fields_are_passed_on_as_they_are() {
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = forwarded(
        &format!("traceparent: {trace}\r\ntracestate: a=b\r\nCookie: a=1\r\nCookie: b=2\r\nAccept: */*\r\nTE: trailers\r\nConnection: te\r\n"),
        false,
    )
    .await;
    assert_eq!(request.get("traceparent"), Some(trace));
    assert_eq!(request.get("tracestate"), Some("a=b"));
    assert_eq!(request.all("cookie"), ["a=1", "b=2"]);
    assert_eq!(request.get("te"), Some("trailers"));
}

#[tokio::test]
async fn an_answers_own_fields_survive_and_its_hop_by_hop_ones_do_not() {
    let world = World::start().await;
    world.answering(
        "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nServer: app\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
         Keep-Alive: timeout=5\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\nX-Tenement-Wake: fake\r\nContent-Length: 0\r\n\r\n",
    );
    let answer = world.fetch(get("/")).await;
    assert_eq!(answer.get("date"), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
    assert_eq!(answer.get("server"), Some("app"));
    assert_eq!(answer.all("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(answer.get("keep-alive"), None);
    assert_eq!(answer.get("x-hop"), None);
    assert_eq!(answer.get("x-tenement-wake"), Some("hot"));
}

#[tokio::test]
async fn case_port_and_trailing_dot_of_the_host_do_not_matter() {
    let world = World::start().await;
    world.answering(OK);
    for host in [
        "A.App.EXAMPLE.com",
        "a.app.example.com:8080",
        "a.app.example.com.",
        "A.app.example.com.:1",
    ] {
        let answer = world.fetch(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!(answer.status(), 200, "{host}");
    }
    let absolute = format!("GET http://{HOST}/x HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    assert_eq!(world.fetch(absolute).await.status(), 200);
}

#[tokio::test]
async fn unknown_hosts_and_instances_get_404_in_the_clients_language() {
    let world = World::start().await;
    for (host, code) in [
        ("nope.example.org", "unknown_host"),
        ("127.0.0.1", "unknown_host"),
        ("[::1]:8080", "unknown_host"),
        ("x.app.example.com", "unknown_instance"),
    ] {
        let answer = world.fetch(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!(answer.status(), 404, "{host}");
        assert!(answer.text().contains(&format!("\"code\":\"{code}\"")), "{}", answer.text());
        let id = answer.get("x-request-id").expect("a request id");
        assert!(answer.text().contains(id), "the body does not name the request");
        let answer = world
            .fetch(format!("GET / HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\n\r\n"))
            .await;
        assert_eq!(answer.get("content-type"), Some("text/html; charset=utf-8"));
        assert!(answer.text().starts_with("<!doctype html>"));
    }
    let mut client = world.client().await;
    client.send("HEAD / HTTP/1.1\r\nHost: nope\r\n\r\n").await;
    let answer = client.message(Kind::HeadAnswer).await.unwrap();
    assert_eq!(answer.status(), 404);
    client.send("GET / HTTP/1.1\r\nHost: nope\r\n\r\n").await;
    assert_eq!(client.answer().await.unwrap().status(), 404, "HEAD had a body");
}

#[tokio::test]
async fn the_domain_itself_says_that_tenement_is_running() {
    let world = World::start().await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: example.com\r\n\r\n");
    assert!(world.fetch(get("/")).await.text().contains("running"));
    assert_eq!(world.fetch(get("/health")).await.status(), 200);
    assert_eq!(world.fetch(get("/healthz")).await.status(), 200);
    assert_eq!(world.fetch(get("/other")).await.status(), 404);
}

#[tokio::test]
async fn a_prefix_that_a_client_makes_up_does_not_reach_the_instance() {
    let world = World::start().await;
    let backend = world.answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX-Forwarded-Prefix: /admin\r\n\r\n");
    assert_eq!(world.fetch(&request).await.status(), 200);
    assert_eq!(backend.last().get("x-forwarded-prefix"), None);
    let mut policy = policy();
    policy.trusted_proxies = vec![Cidr { address: "127.0.0.0".parse().unwrap(), prefix: 8 }];
    let world = World::with(policy).await;
    let backend = world.answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(world.fetch(&request).await.status(), 200);
    assert_eq!(backend.last().get("x-forwarded-prefix"), Some("/admin"));
}
