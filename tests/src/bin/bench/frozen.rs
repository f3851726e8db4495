//! The wake of a frozen instance, beside the stopped wake of the same app and its own fork and exec.

use std::time::{Duration, Instant};

use tenement_tests::host::PORT;
use tenement_tests::results::{Figure, median};
use tenement_tests::{Host, until};

use super::admin::verb;
use super::wake::{self, STATIC};

/// Rounds of each kind, one after the other, so that noise disturbs all alike.
const ROUNDS: usize = 200;

const CONFIG: &str = "[process.benchfz]\ncommand = \"/srv/apps/hello-static\"\nidle_timeout = 0\n\
    freeze_after = \"50ms\"\n[process.benchst]\ncommand = \"/srv/apps/hello-static\"\n\
    idle_timeout = 0\n";

fn request(host: &Host, domain: &str) -> f64 {
    let stream = host.connect(PORT).expect("accepted");
    let begin = Instant::now();
    wake::request(stream, domain);
    wake::ms(begin)
}

/// Measures `wake.frozen.ms` (median) and its p99.
pub fn frozen(host: &Host, systemd: u32) {
    host.configure("benchfz.toml", CONFIG);
    for name in ["benchfz:a", "benchst:a"] {
        if host.try_run(&format!("ten show {name}")).code != 0 {
            host.run(&format!("ten spawn {name}"));
        }
        verb(host, name, "wake");
    }
    let unit = "ten-benchfz@a.service";
    let group = host.run(&format!("systemctl show -P ControlGroup {unit}")).out;
    // Read through the host's first process: its control groups are not ours.
    let events = format!("/proc/{}/root/sys/fs/cgroup{}/cgroup.events", host.pid(), group.trim());
    let (mut thaws, mut stopped, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        until("it is frozen", Duration::from_secs(20), || {
            let text = std::fs::read_to_string(&events).map_err(|error| error.to_string())?;
            if text.contains("frozen 1") { Ok(()) } else { Err(text) }
        });
        thaws.push(request(host, "a.benchfz.localhost"));
        verb(host, "benchst:a", "stop");
        stopped.push(request(host, "a.benchst.localhost"));
        alone.push(wake::on_its_own(&STATIC));
    }
    host.run("ten rm benchfz:a --yes; ten rm benchst:a --yes");
    thaws.sort_by(f64::total_cmp);
    let p99 = thaws[thaws.len() * 99 / 100];
    let (thaw, stopped, alone) = (median(&thaws), median(&stopped), median(&alone));
    let unit = "ms";
    let figure = |name, value, peer| {
        let ratio = Some(value / peer);
        Figure { name, value, unit, peer: Some(peer), ratio, systemd }.record();
    };
    figure("wake.frozen.ms", thaw, stopped);
    figure("wake.frozen.p99_ms", p99, stopped);
    figure("wake.frozen.vs_own_start", thaw, alone);
}
