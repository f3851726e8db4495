//! Ten thousand custom domains: what a request costs beside none, and how long the agent takes to start.

use std::time::Instant;

use tenement_tests::Host;
use tenement_tests::results::{Figure, median};

use super::scale::{cpu_ticks, pid_of, settle};

/// How many domains.
const DOMAINS: usize = 10_000;
/// Requests of one round, on one connection.
const REQUESTS: usize = 10_000;
/// Rounds with and without them, in turns.
const ROUNDS: usize = 3;

/// All figures.
pub fn all(host: &Host, systemd: u32) {
    host.configure(
        "bench-domains.toml",
        "[process.bdomains]\ncommand = \"/srv/apps/hello-static\"\nidle_timeout = 0\n",
    );
    if host.try_run("ten show bdomains:a").code != 0 {
        host.run("ten spawn bdomains:a");
    }
    let (mut without, mut with, mut starts) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        fill(host, 0);
        without.push(cpu_us(host, "a.bdomains.localhost"));
        starts.push(fill(host, DOMAINS));
        // One of them by its own name, so that the entry that is found is a custom one.
        with.push(cpu_us(host, "shop77.customer77.example"));
    }
    fill(host, 0);
    let (without, with) = (median(&without), median(&with));
    let record = |name: &str, value, unit, peer: Option<f64>| {
        let ratio = peer.map(|peer| value / peer);
        Figure { name, value, unit, peer, ratio, systemd }.record();
    };
    record("domains.10000.cpu_us", with, "µs", Some(without));
    record("domains.10000.ready_s", median(&starts), "s", None);
}

/// Registers so many verified domains while the agent is down, and gives the seconds that it took to be ready.
fn fill(host: &Host, count: usize) -> f64 {
    host.run("systemctl stop tenement.service");
    let sql = format!(
        "DELETE FROM domains WHERE target = 'bdomains:a';
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
         INSERT INTO domains (name, target, token, http, created_ms, created_by, proof, verified_ms)
         SELECT 'shop' || i || '.customer' || i || '.example', 'bdomains:a', hex(randomblob(20)), 0, 1, 'bench', 'txt', 1
         FROM n WHERE {count} > 0;"
    );
    let ran = host.feed("sqlite3 /var/lib/tenement/_agent/state.db", &sql);
    assert_eq!(ran.code, 0, "{ran:?}");
    host.run("chown tenement: /var/lib/tenement/_agent/state.db*");
    let begin = Instant::now();
    host.run("systemctl start tenement.service");
    let took = begin.elapsed().as_secs_f64();
    settle(host);
    took
}

/// Microseconds of the agent's CPU for one request to `name`.
fn cpu_us(host: &Host, name: &str) -> f64 {
    let agent = pid_of(host, "tenement.service");
    let mut client = host.client();
    let warm = client.get(name, "/").expect("an answer");
    assert_eq!(warm.status, 200, "{warm:?}");
    let before = cpu_ticks(host, agent);
    for _ in 0..REQUESTS {
        client.get(name, "/").expect("an answer");
    }
    // A tick is 10 ms.
    (cpu_ticks(host, agent) - before) as f64 * 10_000.0 / REQUESTS as f64
}
