//! What a scrape costs with 10,000 registered and 1,000 running instances, and what it does to a request.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tenement_tests::Host;
use tenement_tests::host::PORT;
use tenement_tests::http::Client;
use tenement_tests::poll::pace_until;
use tenement_tests::results::Figure;

use super::{admin, scale};

const REGISTERED: usize = 10_000;
const RUNNING: usize = 1_000;
/// Scrapes of which the CPU time is taken.
const SCRAPES: u32 = 20;
/// Requests of each side, in rounds that take turns, and the time between two.
const ROUNDS: usize = 5;
const REQUESTS: usize = 1_000;
const PACE: Duration = Duration::from_millis(5);
/// Between two scrapes while requests are timed: far more often than anybody scrapes.
const SCRAPE_PACE: Duration = Duration::from_secs(2);
/// What Prometheus asks for.
const ACCEPT: &str =
    "Accept: application/openmetrics-text;version=1.0.0\r\nAccept-Encoding: gzip\r\n";

fn scrape(host: &Host) {
    let answer = admin::ask(host, "GET /metrics", ACCEPT);
    assert!(answer.len() > 10_000, "{} bytes", answer.len());
}

/// All of them.
pub fn all(host: &Host, systemd: u32) {
    let ids = |from: usize, to: usize| {
        (from..to).map(|i| format!("\"i{i}\"")).collect::<Vec<_>>().join(", ")
    };
    let text = format!(
        "[process.benchmetrics]\ncommand = \"/srv/apps/hello-static\"\nidle_timeout = 0\n\
         [instances]\nbenchmetrics = [{}]\n",
        ids(0, REGISTERED)
    );
    host.configure("bench-metrics.toml", &text);
    for i in 0..RUNNING {
        admin::verb(host, &format!("benchmetrics:i{i}"), "wake");
    }
    // A request each, so that each has all of its series.
    let asked = host.inside(|| {
        let mut client = client();
        for i in 0..RUNNING {
            let answer = client.get(&format!("i{i}.benchmetrics.localhost"), "/");
            assert_eq!(answer.expect("an answer").status, 200);
        }
    });
    asked.join().expect("no request fails");
    scale::settle(host);
    cpu(host, systemd);
    p99(host, systemd);
    host.run("rm /etc/tenement/conf.d/bench-metrics.toml && ten config reload");
    let _ = host.try_run("systemctl stop 'ten-benchmetrics@*.service' 'ten-benchmetrics@*.socket'");
}

/// CPU time of the agent for each scrape, less what it uses anyway in the same time.
fn cpu(host: &Host, systemd: u32) {
    let agent = scale::pid_of(host, "tenement.service");
    scrape(host);
    let (before, begun) = (scale::cpu_ticks(host, agent), Instant::now());
    for _ in 0..SCRAPES {
        scrape(host);
    }
    let (scraped, took) = (scale::cpu_ticks(host, agent) - before, begun.elapsed());
    let before = scale::cpu_ticks(host, agent);
    pace_until(Instant::now() + took);
    let idle = scale::cpu_ticks(host, agent) - before;
    let value = scraped.saturating_sub(idle) as f64 * 10.0 / f64::from(SCRAPES);
    let name = "metrics.scrape.cpu_ms";
    Figure { name, value, unit: "ms", systemd, ..Figure::default() }.record();
}

/// The p99 of an instance's answers while the agent is scraped, beside that while it is not.
fn p99(host: &Host, systemd: u32) {
    let (mut quiet, mut scraped) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        quiet.push(round(host, false));
        scraped.push(round(host, true));
    }
    let middle = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let (value, quiet) = (middle(scraped), middle(quiet));
    let (peer, ratio) = (Some(quiet), Some(value / quiet));
    let name = "metrics.scrape.p99_ms";
    Figure { name, value, unit: "ms", peer, ratio, systemd }.record();
}

fn round(host: &Host, scraping: bool) -> f64 {
    let done = Arc::new(AtomicBool::new(false));
    let over = done.clone();
    let asking = host.inside(move || {
        let mut client = client();
        let mut due = Instant::now();
        let times = (0..REQUESTS).map(|i| {
            due += PACE;
            pace_until(due);
            let begun = Instant::now();
            let answer = client.get(&format!("i{}.benchmetrics.localhost", i % RUNNING), "/");
            assert_eq!(answer.expect("an answer").status, 200);
            begun.elapsed().as_secs_f64() * 1000.0
        });
        let mut times: Vec<f64> = times.collect();
        over.store(true, Ordering::Relaxed);
        times.sort_by(f64::total_cmp);
        times[times.len() * 99 / 100]
    });
    let mut due = Instant::now();
    while scraping && !done.load(Ordering::Relaxed) {
        scrape(host);
        due += SCRAPE_PACE;
        pace_until(due);
    }
    asking.join().expect("no request fails")
}

fn client() -> Client {
    Client::new(TcpStream::connect(("127.0.0.1", PORT)).expect("the proxy listens"))
}
