//! HTTPS: the same proxy behind a handshake.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tenement_agent::config::{CertificateFiles, TlsSettings};
use tenement_agent::proxy::Policy;
use tenement_agent::tls::{Hooks, Tls, Wanted};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::floods::{flood, frame, request};
use crate::poll::until;
use crate::support::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello";

/// A world with a certificate for the hosts below `app.example.com`.
pub struct Secure {
    pub world: World,
    roots: RootCertStore,
    dir: tempfile::TempDir,
    pub tls: Arc<Tls>,
}

fn write_pair(dir: &std::path::Path, name: &str, hosts: &[&str]) -> CertificateFiles {
    let key = rcgen::KeyPair::generate().unwrap();
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let made = rcgen::CertificateParams::new(hosts).unwrap().self_signed(&key).unwrap();
    let path = |end: &str| -> PathBuf { dir.join(format!("{name}.{end}")) };
    std::fs::write(path("pem"), made.pem()).unwrap();
    std::fs::write(path("key"), key.serialize_pem()).unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path("key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    CertificateFiles { certificate: path("pem"), key: path("key") }
}

impl Secure {
    pub async fn start(policy: Policy) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let files = write_pair(dir.path(), "app", &["*.app.example.com", "example.com"]);
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&files.certificate).unwrap()).unwrap();
        let settings = TlsSettings { certificates: vec![files], ..TlsSettings::default() };
        let wanted = Wanted { settings, domain: "example.com".into(), ..Wanted::default() };
        let hooks = Hooks { allowed: Box::new(|_| false), tell: Box::new(|_| {}) };
        let tls = Tls::open(dir.path(), "test", wanted, hooks).unwrap();
        tls.listens(1);
        let world = World::at(policy, Some(tls.clone())).await;
        Self { world, roots, dir, tls }
    }

    async fn connect(&self, host: &str, alpn: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap();
        let mut config = config.with_root_certificates(self.roots.clone()).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|one| one.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(self.world.addr).await?;
        let name = ServerName::try_from(host.to_owned()).unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    async fn client(&self, host: &str) -> Raw<TlsStream<TcpStream>> {
        Raw::new(self.connect(host, &["http/1.1"]).await.expect("a handshake"))
    }
}

fn with_redirect() -> Policy {
    let mut policy = policy();
    policy.secure.redirect = Some(443);
    policy.secure.hsts = Some("max-age=60".parse().unwrap());
    policy
}

#[tokio::test]
async fn an_instance_is_told_that_its_client_came_by_https() {
    let secure = Secure::start(with_redirect()).await;
    let backend = secure.world.answering(OK);
    let mut client = secure.client(HOST).await;
    for _ in 0..3 {
        client.send(get("/x")).await;
        let answer = client.answer().await.expect("an answer");
        assert_eq!((answer.status(), answer.text().as_str()), (200, "hello"));
        assert_eq!(answer.get("strict-transport-security"), Some("max-age=60"));
    }
    assert_eq!(backend.last().get("x-forwarded-proto"), Some("https"));
    assert!(backend.last().get("forwarded").unwrap().ends_with("proto=https"));
    assert_eq!(backend.seen.connections.load(Ordering::SeqCst), 1, "the pool is used");
}

#[tokio::test]
async fn a_connection_serves_the_host_of_its_handshake_and_no_other() {
    let secure = Secure::start(policy()).await;
    let backend = secure.world.answering(OK);
    let mut client = secure.client("b.app.example.com").await;
    client.send(get("/")).await;
    let answer = client.answer().await.expect("an answer");
    assert_eq!(answer.status(), 421, "{}", answer.text());
    assert_eq!(backend.count(), 0, "one certificate for both is no reason");
    let mut client = secure.client("A.App.Example.com").await;
    client.send(get("/")).await;
    assert_eq!(client.answer().await.expect("an answer").status(), 200, "case is no other host");
}

#[tokio::test]
async fn a_host_without_a_certificate_gets_no_handshake() {
    let secure = Secure::start(policy()).await;
    assert!(secure.connect("a.other.example.com", &[]).await.is_err());
    until("it is counted", || {
        secure.world.proxy.counters.handshakes_failed.load(Ordering::SeqCst) == 1
    })
    .await;
}

#[tokio::test]
async fn a_silent_client_is_let_go_and_half_open_ones_do_not_keep_others_out() {
    let mut policy = policy();
    policy.secure.handshake_timeout = Duration::from_millis(200);
    policy.secure.handshakes = 10;
    let secure = Secure::start(policy).await;
    secure.world.answering(OK);
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(secure.world.addr).await.unwrap());
    }
    until("all of them are let go", || secure.world.proxy.open_connections() == 0).await;
    let mut client = secure.client(HOST).await;
    client.send(get("/")).await;
    assert_eq!(client.answer().await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn this_host_itself_is_not_redirected_on_another_port_than_80() {
    let secure = Secure::start(with_redirect()).await;
    secure.world.answering(OK);
    let mut plain = Raw::new(TcpStream::connect(secure.world.plain).await.unwrap());
    plain.send(get("/a?b=c")).await;
    assert_eq!(plain.answer().await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn framing_and_time_limits_hold_on_https_too() {
    let mut policy = policy();
    policy.limits.header_timeout = Duration::from_millis(300);
    let secure = Secure::start(policy).await;
    let backend = secure.world.answering(OK);
    let mut client = secure.client(HOST).await;
    client.send(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")).await;
    assert_eq!(client.answer().await.expect("an answer").status(), 400);
    let mut slow = secure.client(HOST).await;
    slow.send("GET / HTTP/1.1\r\nHos").await;
    assert_eq!(slow.answer().await.expect("an answer").status(), 408);
    assert_eq!(backend.count(), 0);
}

#[tokio::test]
async fn another_protocol_is_tunnelled_through_tls() {
    let secure = Secure::start(policy()).await;
    secure.world.backend(|mut conn| async move {
        let _ = conn.request().await;
        conn.stream
            .send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n",
            )
            .await;
        while conn.stream.more().await {
            let bytes = std::mem::take(&mut conn.stream.rest);
            conn.stream.send(bytes).await;
        }
    });
    let mut client = secure.client(HOST).await;
    client
        .send(format!(
            "GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
        ))
        .await;
    assert_eq!(client.answer().await.expect("an answer").status(), 101);
    client.send("ping").await;
    while client.rest.len() < 4 {
        assert!(client.more().await);
    }
    assert_eq!(client.rest, b"ping");
}

#[tokio::test]
async fn http2_floods_over_tls_are_cut_off_while_others_are_served() {
    let secure = Secure::start(policy()).await;
    secure.world.answering(OK);
    let mut other = secure.client(HOST).await;
    let h2 = || async { secure.connect(HOST, &["h2"]).await.expect("a handshake") };
    assert_eq!(h2().await.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let settings = flood(h2().await, 5_000, |_| frame(4, 0, 0, &[]).repeat(100)).await;
    assert!(settings < 5_000, "500,000 settings were let through");
    let resets = flood(h2().await, 100_000, |n| {
        let mut both = request(2 * n + 1);
        both.extend(frame(3, 0, 2 * n + 1, &8_u32.to_be_bytes()));
        both
    })
    .await;
    assert!(resets < 100_000, "100,000 rapid resets were let through");
    // CVE-2024-27316: a head that never ends.
    let continued = flood(h2().await, 100_000, |n| match n {
        0 => frame(1, 0, 1, &[0x82]),
        _ => frame(9, 0, 1, &[0x40, 1, b'a', 1, b'b'].repeat(200)),
    })
    .await;
    assert!(continued < 100_000, "100 MB of one head were let through");
    other.send(get("/")).await;
    assert_eq!(other.answer().await.expect("an answer").status(), 200, "others don't notice");
}

#[tokio::test]
async fn files_that_change_are_served_and_bad_ones_replace_nothing() {
    let secure = Secure::start(policy()).await;
    tokio::spawn(secure.tls.clone().run());
    let before = secure.tls.list().certificates[0].clone();
    std::fs::write(secure.dir.path().join("app.pem"), "junk").unwrap();
    until("the error is told", || secure.tls.list().certificates[0].error.is_some()).await;
    assert_eq!(secure.tls.list().certificates[0].expires_ms, before.expires_ms);
    assert!(secure.connect(HOST, &[]).await.is_ok(), "the one before is served");
    write_pair(secure.dir.path(), "app", &["new.app.example.com"]);
    until("the new one is there", || {
        secure.tls.list().certificates[0].name == "new.app.example.com"
    })
    .await;
    assert!(secure.connect(HOST, &[]).await.is_err(), "the new one is not for that host");
    assert!(secure.tls.list().certificates[0].error.is_none());
}
