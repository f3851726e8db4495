//! Killing the agent a hundred times under load: no instance notices, and no client but those whose
//! request was under way at that moment.

use std::time::{Duration, Instant};

use tenement_tests::results::{Figure, median};
use tenement_tests::{Host, Load, until};

const KILLS: usize = 100;
const RATE: u32 = 200;
const INSTANCES: usize = 4;

const CONFIG: &str = r#"
[process.kill]
command = "/srv/apps/hello-static"
idle_timeout = 0
"#;

/// Main PID and invocation id of every instance: both change with a restart.
fn runs(host: &Host) -> Vec<String> {
    let units: Vec<_> = (0..INSTANCES).map(|n| format!("ten-kill@i{n}.service")).collect();
    let show = format!("systemctl show -p MainPID -p InvocationID {}", units.join(" "));
    host.run(&show).out.split("\n\n").map(|unit| unit.trim().to_owned()).collect()
}

#[test]
fn a_hundred_kills_of_the_agent_under_load_restart_no_instance_and_fail_only_what_was_in_flight() {
    let host = Host::the();
    let systemd = host.systemd();
    host.configure("kill.toml", CONFIG);
    let ids: Vec<_> = (0..INSTANCES).map(|n| format!("kill:i{n}")).collect();
    // A run that was cut short may have left them.
    let _ = host.try_run(&format!("ten rm {} --yes --purge", ids.join(" ")));
    host.run(&format!("ten spawn {}", ids.join(" ")));
    let before = runs(host);
    let domains: Vec<_> = (0..INSTANCES).map(|n| format!("i{n}.kill.localhost")).collect();
    let load = Load::start(host, &domains, RATE);
    let (mut kills, mut away) = (Vec::new(), Vec::new());
    for _ in 0..KILLS {
        let begin = Instant::now();
        // Returns when systemd has reaped it, for until then its connections may still be open.
        host.run("pid=$(systemctl show -p MainPID --value tenement.service); kill -KILL $pid; while kill -0 $pid 2>/dev/null; do :; done");
        kills.push((begin, Instant::now()));
        // A connection made now waits in systemd's socket for the next agent.
        let answer = host.get(&domains[0], "/");
        assert_eq!(answer.status, 200, "{answer:?}");
        away.push(begin.elapsed().as_secs_f64() * 1000.0);
        // The next kill shall meet an agent at work and not one that is just starting.
        let served = load.answered();
        until("the load goes on", Duration::from_secs(20), || {
            let more = load.answered() - served;
            if more > 20 { Ok(()) } else { Err(more) }
        });
    }
    let outcome = load.stop();
    let restarted = runs(host).iter().zip(&before).filter(|(now, then)| now != then).count();
    let strange: Vec<_> = outcome.failures.iter().filter(|one| !one.during(&kills)).collect();
    let record = |name, value, unit| {
        Figure { name, value, unit, systemd, ..Figure::default() }.record();
    };
    record("kill9.failed", outcome.failures.len() as f64, "");
    record("kill9.failed_not_in_flight", strange.len() as f64, "");
    record("kill9.refused", outcome.refused as f64, "");
    record("kill9.restarted", restarted as f64, "");
    record("kill9.answered", outcome.answered as f64, "");
    record("kill9.away_ms", median(&away), "ms");
    println!(
        "load: {:.0} req/s, slowest {:?}",
        outcome.answered as f64 / outcome.lasted.as_secs_f64(),
        outcome.slowest
    );
    assert!(
        strange.is_empty(),
        "failed, though no kill came while they were under way: {strange:?}"
    );
    assert_eq!((restarted, outcome.refused), (0, 0));
    assert!(outcome.answered > 2_000, "too little load to prove anything: {outcome:?}");
    host.run(&format!(
        "ten rm {} --yes --purge; rm /etc/tenement/conf.d/kill.toml; ten config reload",
        ids.join(" ")
    ));
}
