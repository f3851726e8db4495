//! Ten deployments in a row by each strategy, under traffic at a fixed rate: requests that fail, WebSockets that are
//! closed after their drain bound, and how long requests take beside a quiet time.

mod strategies;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tenement_tests::poll::pace_until;
use tenement_tests::results::Figure;
use tenement_tests::rollout::{Drain, install};
use tenement_tests::traffic::{Failed, Met, Plan, now_ms};
use tenement_tests::{Host, Traffic};

use strategies::STRATEGIES;

/// Deployments of each process by each strategy.
const DEPLOYS: usize = 10;
/// Requests a second, and what lasts, for both processes together.
const RATE: u32 = 120;
const STREAMS: usize = 8;
const SOCKETS: usize = 16;
const UPLOADS: usize = 4;
/// Traffic without deployments, to compare with, and traffic with them at least.
const QUIET: Duration = Duration::from_secs(10);
const BUSY: Duration = Duration::from_secs(62);
/// The longest that open streams and WebSockets go on.
const DRAIN_MS: u64 = 6_000;
/// One whose socket is systemd's, and one that listens itself; both are deployed side by side.
const PROCESSES: [&str; 2] = ["rollfd", "rollport"];
/// Instances of each.
const INSTANCES: [&str; 4] = ["a", "b", "c", "d"];

/// What a strategy works on.
struct Stage<'a> {
    host: &'a Host,
    /// Begins the names of releases, so that the bench can be run again on the same host.
    run: String,
    drains: Mutex<Vec<Drain>>,
}

/// All strategies, or the one that the second argument names.
pub fn all(host: &Host, systemd: u32) {
    let only = std::env::args().nth(2);
    let run = format!("r{}", now_ms() / 1000 % 1_000_000);
    let stage = Stage { host, run, drains: Mutex::default() };
    prepare(&stage);
    let (mut failed, mut closed) = (0, 0);
    for (name, deploy) in STRATEGIES {
        if only.as_deref().is_some_and(|only| only != *name) {
            continue;
        }
        println!("-- {DEPLOYS} deployments of each of {PROCESSES:?}: {name}");
        let (quiet, busy, met) = under_traffic(&stage, *deploy);
        let (bad, after_bound) = judge(&stage, met, name, systemd, quiet, busy);
        failed += bad;
        closed += after_bound;
    }
    let count = |name, value: usize| {
        Figure { name, value: value as f64, systemd, ..Figure::default() }.record();
    };
    count("deploy.ws_closed", closed);
    count("deploy.failed", failed);
}

fn prepare(stage: &Stage) {
    let host = stage.host;
    install(host);
    let process = |(name, listen): (&str, &str)| {
        format!(
            "[process.{name}]\ncommand = \"{{release}}/server\"\nlisten = \"{listen}\"\n\
             health = \"/health\"\nidle_timeout = 0\nstartup_timeout = \"30s\"\nstop_timeout = \"6s\"\n\
             [process.{name}.deploy]\ndrain_timeout = \"6s\"\ncanary_requests = 10\n"
        )
    };
    let config: String = PROCESSES.into_iter().zip(["fd", "port"]).map(process).collect();
    host.configure("bench-deploys.toml", &config);
    for process in PROCESSES {
        let first = format!("{}-first-{process}", stage.run);
        tenement_tests::rollout::deployed(host, process, &first, "");
        for id in INSTANCES {
            let name = format!("{process}:{id}");
            if host.try_run(&format!("ten show {name}")).code != 0 {
                host.run(&format!("ten spawn {name}"));
            }
            host.run(&format!("ten weight {name} 100 && ten restart {name}"));
        }
    }
}

/// Half of the requests go to one instance each, half to the group that shares them.
fn plan() -> Plan {
    let mut names = Vec::new();
    for id in INSTANCES {
        for process in PROCESSES {
            names.extend([format!("{id}.{process}.localhost"), format!("{process}.localhost")]);
        }
    }
    Plan { names, rate: RATE, streams: STREAMS, sockets: SOCKETS, uploads: UPLOADS }
}

type Span = std::ops::Range<u64>;

fn under_traffic(stage: &Stage, deploy: fn(&Stage, &str, usize)) -> (Span, Span, Met) {
    let traffic = Traffic::start(stage.host, &plan(), now_ms() * 1000);
    let begun = now_ms();
    pace_until(Instant::now() + QUIET);
    let (busy, start) = (now_ms(), Instant::now());
    std::thread::scope(|scope| {
        for process in PROCESSES {
            scope.spawn(move || {
                for n in 1..=DEPLOYS {
                    deploy(stage, process, n);
                    let part = u32::try_from(n).expect("a few");
                    pace_until(start + BUSY * part / u32::try_from(DEPLOYS).expect("a few"));
                }
            });
        }
    });
    let ended = now_ms();
    (begun..busy, busy..ended, traffic.stop())
}

/// How many requests failed, and how many WebSockets were closed after their bound.
fn judge(
    stage: &Stage,
    mut met: Met,
    strategy: &str,
    systemd: u32,
    quiet: Span,
    busy: Span,
) -> (usize, usize) {
    let drains = std::mem::take(&mut *stage.drains.lock().expect("no panic while held"));
    let process_of = |name: &str| {
        let name = name.strip_suffix(".localhost").unwrap_or(name);
        name.rsplit('.').next().unwrap_or(name).to_owned()
    };
    let closed = met.judge_closed(&drains, process_of);
    let (lost, doubled) = posts(stage, &met);
    println!(
        "{strategy}: {} requests in {} s, {} POSTs ({lost} lost, {doubled} doubled), {} streams, {} frames of \
         WebSockets, of which {closed} were closed after the bound; {} failed",
        met.answered.len(),
        (busy.end - quiet.start) / 1000,
        met.posted.len(),
        met.streams,
        met.frames,
        met.failed.len(),
    );
    assert!(met.streams > 0 && met.frames > 0 && !met.posted.is_empty(), "nothing was measured");
    explain(&met.failed, busy.start);
    let releases =
        met.answered.iter().map(|one| &one.release).collect::<std::collections::BTreeSet<_>>();
    assert!(releases.len() > DEPLOYS, "not every release has served: {releases:?}");
    for (part, label) in [(0.5, "p50"), (0.99, "p99")] {
        let (peer, value) = (met.quantile(part, quiet.clone()), met.quantile(part, busy.clone()));
        let name = format!("deploy.{strategy}.{label}_ms");
        let (peer, ratio) = (Some(peer), Some(value / peer));
        Figure { name: &name, value, unit: "ms", peer, ratio, systemd }.record();
    }
    (met.failed.len() + lost + doubled, closed)
}

/// POSTs that were answered and are not noted by any instance, and those that are noted twice.
fn posts(stage: &Stage, met: &Met) -> (usize, usize) {
    let mut noted = BTreeMap::<u64, usize>::new();
    for process in PROCESSES {
        let text = stage.host.run(&format!("cat /var/lib/tenement/{process}/*/posts")).out;
        for number in text.lines() {
            *noted.entry(number.parse().expect("a number")).or_default() += 1;
        }
    }
    let lost = met.posted.iter().filter(|number| !noted.contains_key(number)).count();
    (lost, noted.values().filter(|times| **times > 1).count())
}

/// Prints why requests failed: how many for each reason, and the first of them.
fn explain(failed: &[Failed], since_ms: u64) {
    let mut kinds = BTreeMap::<&str, Vec<&Failed>>::new();
    for one in failed {
        kinds.entry(&one.why).or_default().push(one);
    }
    for (why, which) in kinds {
        let seconds = |ms: u64| (ms as f64 - since_ms as f64) / 1000.0;
        let first = which[0];
        println!(
            "FAILED {} ×: {why} (first from {:.2} s to {:.2} s)",
            which.len(),
            seconds(first.began_ms),
            seconds(first.ended_ms)
        );
    }
}
