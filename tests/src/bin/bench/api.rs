//! The API on the domain: a request with a warm token, and what wrong tokens by the thousand do to others.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tenement_tests::host::PORT;
use tenement_tests::http::Client;
use tenement_tests::poll::pace_until;
use tenement_tests::results::{Figure, median};
use tenement_tests::{Host, until};

use super::scale;

/// Requests with a warm token, and to `/health`, in turns.
const WARM: usize = 1_000;
/// Wrong tokens, from so many addresses, on so many connections.
const WRONG: usize = 10_000;
const ADDRESSES: usize = 50;
const CONNECTIONS: usize = 10;
/// Between two wrong tokens of a connection: a thousand a second in all. As fast as they go, their senders, who
/// share the cores here, would be what is measured.
const ATTACK_PACE: Duration = Duration::from_millis(10);
/// Between two requests to the instance.
const PACE: Duration = Duration::from_millis(5);
const QUIET: usize = 2_000;
const BOUND: Duration = Duration::from_secs(300);

/// All of them.
pub fn all(host: &Host, systemd: u32) {
    host.configure(
        "bench-api.toml",
        "[settings]\ntrusted_proxies = [\"127.0.0.1\"]\n\
         [process.benchapi]\ncommand = \"/srv/apps/hello-static\"\nidle_timeout = 0\n",
    );
    host.run("ten spawn benchapi:a");
    let made = host.run(
        "curl -sS --unix-socket /run/tenement/admin.sock --json '{\"scope\":\"read\"}' http://x/api/v1/tokens",
    );
    let made: serde_json::Value = serde_json::from_str(&made.out).expect("a token");
    let secret = made["secret"].as_str().expect("its secret").to_owned();
    warm(host, systemd, &secret);
    flood(host, systemd, &secret);
    host.run("ten rm --purge --yes benchapi:a");
    host.run("rm /etc/tenement/conf.d/bench-api.toml && ten config reload");
}

/// The middle time of an authenticated request, beside `/health` on the same connection.
fn warm(host: &Host, systemd: u32, secret: &str) {
    let asked = format!(
        "GET /api/v1/version HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {secret}\r\n\r\n"
    );
    let open = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned();
    let both = host.inside(move || {
        let mut client = client();
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..WARM {
            for (request, times) in [&asked, &open].into_iter().zip(&mut times) {
                let begin = Instant::now();
                client.send(request.as_bytes()).expect("the proxy reads");
                assert_eq!(client.response(false).expect("an answer").status, 200);
                times.push(begin.elapsed().as_secs_f64() * 1000.0);
            }
        }
        times.map(|times| median(&times))
    });
    let [value, open] = both.join().expect("no request fails");
    let (peer, ratio) = (Some(open), Some(value / open));
    let name = "api.warm_token.ms";
    Figure { name, value, unit: "ms", peer, ratio, systemd }.record();
}

/// An instance's p99 while nobody else asks, and while wrong tokens come.
fn flood(host: &Host, systemd: u32, secret: &str) {
    let agent = scale::pid_of(host, "tenement.service");
    scale::settle(host);
    let quiet = p99(host, || false);
    let before = rss_mb(host, agent);
    let done = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let attackers: Vec<_> = (0..CONNECTIONS)
        .map(|n| {
            let (done, secret) = (done.clone(), secret.to_owned());
            host.inside(move || attack(n, &secret, &done))
        })
        .collect();
    let during = p99(host, || done.load(Ordering::Relaxed) < WRONG);
    attackers.into_iter().for_each(|one| one.join().expect("no attacker fails"));
    let took = begun.elapsed().as_secs_f64();
    until("all were answered", BOUND, || {
        let done = done.load(Ordering::Relaxed);
        if done >= WRONG { Ok(()) } else { Err(done) }
    });
    let record = |name, value, unit, peer: Option<f64>| {
        let ratio = peer.map(|peer| value / peer);
        Figure { name, value, unit, peer, ratio, systemd }.record();
    };
    record("api.flood.p99_ms", during, "ms", Some(quiet));
    record("api.flood.p99_ratio", during / quiet, "", None);
    record("api.flood.rss_growth_mb", rss_mb(host, agent) - before, "MB", None);
    record("api.flood.tokens_s", WRONG as f64 / took, "1/s", None);
}

/// A share of the wrong tokens: half name a token that exists, half none.
fn attack(n: usize, secret: &str, done: &AtomicUsize) {
    let mut client = client();
    let id = &secret[..17];
    let mut due = Instant::now();
    for i in (n..WRONG).step_by(CONNECTIONS) {
        let id = if i % 2 == 0 { id.to_owned() } else { "ten_aaaaaaaaaaaa_".to_owned() };
        let request = format!(
            "GET /api/v1/version HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {id}{i:064x}\r\n\
             X-Forwarded-For: 198.51.100.{}\r\nX-Forwarded-Proto: https\r\n\r\n",
            i % ADDRESSES + 1
        );
        pace_until(due);
        due += ATTACK_PACE;
        client.send(request.as_bytes()).expect("the proxy reads");
        let status = client.response(false).expect("an answer").status;
        assert!([401, 429, 503].contains(&status), "a wrong token got {status}");
        done.fetch_add(1, Ordering::Relaxed);
    }
}

/// The 99th percentile of an instance's answers in milliseconds: of at least [`QUIET`] requests, and for as
/// long as `goes_on`.
fn p99(host: &Host, goes_on: impl Fn() -> bool) -> f64 {
    let mut client = host.client();
    let mut times = Vec::new();
    let mut due = Instant::now();
    // What comes after the flood would water it down.
    let flooding = goes_on();
    while (flooding && goes_on()) || (!flooding && times.len() < QUIET) {
        pace_until(due);
        due += PACE;
        let begin = Instant::now();
        let answer = client.get("a.benchapi.localhost", "/").expect("the instance answers");
        assert_eq!(answer.status, 200);
        times.push(begin.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    times[(times.len() * 99 / 100).min(times.len() - 1)]
}

fn rss_mb(host: &Host, pid: u32) -> f64 {
    let out = host.run(&format!("awk '/^VmRSS/ {{print $2}}' /proc/{pid}/status")).out;
    out.trim().parse::<f64>().expect("kilobytes") / 1024.0
}

fn client() -> Client {
    let stream = TcpStream::connect(("127.0.0.1", PORT)).expect("the proxy accepts");
    stream.set_nodelay(true).expect("a TCP stream");
    Client::new(stream)
}
