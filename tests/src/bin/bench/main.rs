//! `make bench`: wake and scale figures on a booted host, each beside a peer in the same run.
//!
//! Every figure is a median of interleaved rounds, so that a noisy machine disturbs both sides alike.

mod admin;
mod api;
mod deploys;
mod domains;
mod frozen;
mod health;
mod logs;
mod metrics;
mod park;
mod scale;
mod wake;

use tenement_tests::Host;

/// How many instances are registered at each step.
const SIZES: [usize; 3] = [10, 1_000, 10_000];

fn main() {
    let host = Host::the();
    let systemd = host.systemd();
    match std::env::args().nth(1).as_deref() {
        // One figure alone.
        Some("api") => return api::all(host, systemd),
        Some("deploys") => return deploys::all(host, systemd),
        Some("domains") => return domains::all(host, systemd),
        Some("park") => return park::all(host, systemd),
        Some("logs") => return logs::all(host, systemd),
        Some("health") => return health::checks(host, systemd),
        Some("metrics") => return metrics::all(host, systemd),
        Some("frozen") => return frozen::frozen(host, systemd),
        _ => {}
    }
    println!("== systemd {systemd}: footprint without instances");
    scale::footprint(host, systemd, 0);
    let mut base = None;
    for size in SIZES {
        println!("== systemd {systemd}: {size} registered instances");
        scale::register(host, size);
        scale::restart_and_time(host, systemd, size);
        scale::settle(host);
        let static_ms = wake::one(host, systemd, size, &wake::STATIC);
        if size == SIZES[0] {
            wake::one(host, systemd, size, &wake::PYTHON);
            wake::burst(host, systemd);
            park::all(host, systemd);
            frozen::frozen(host, systemd);
        }
        wake::scale_ratio(systemd, size, static_ms, *base.get_or_insert(static_ms));
        scale::footprint(host, systemd, size);
    }
    println!("== systemd {systemd}: health checks of 1,000 running instances");
    health::checks(host, systemd);
    println!("== systemd {systemd}: metrics of 10,000 registered and 1,000 running instances");
    metrics::all(host, systemd);
    println!("== systemd {systemd}: custom domains");
    domains::all(host, systemd);
    println!("== systemd {systemd}: the API on the domain");
    api::all(host, systemd);
    println!("== systemd {systemd}: deployments under traffic");
    deploys::all(host, systemd);
    println!("== systemd {systemd}: logs");
    logs::all(host, systemd);
}
