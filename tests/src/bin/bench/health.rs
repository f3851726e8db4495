//! What health checks cost the agent.

use std::time::{Duration, Instant};

use tenement_tests::results::Figure;
use tenement_tests::{Host, until};

use super::{admin, scale};

/// How many run at once.
const RUNNING: usize = 1_000;
/// Three rounds of checks.
const OVER: Duration = Duration::from_secs(30);

/// Agent CPU while 1,000 running instances are checked every 10 s, in percent of one core.
pub fn checks(host: &Host, systemd: u32) {
    let ids = (0..RUNNING).map(|i| format!("\"i{i}\"")).collect::<Vec<_>>().join(", ");
    let text = format!(
        "[process.benchhealth]\ncommand = \"/srv/apps/hello-static\"\nidle_timeout = 0\n\
         health = \"/health\"\nhealth_interval = \"10s\"\n[instances]\nbenchhealth = [{ids}]\n"
    );
    host.configure("bench-health.toml", &text);
    for i in 0..RUNNING {
        admin::verb(host, &format!("benchhealth:i{i}"), "wake");
    }
    let agent = scale::pid_of(host, "tenement.service");
    let (mut ticks, mut begin) = (scale::cpu_ticks(host, agent), Instant::now());
    // The first round still holds what waking left behind.
    for _ in 0..2 {
        (ticks, begin) = (scale::cpu_ticks(host, agent), Instant::now());
        until("three rounds of checks are over", OVER * 2, || {
            if begin.elapsed() >= OVER { Ok(()) } else { Err(begin.elapsed()) }
        });
    }
    let value = (scale::cpu_ticks(host, agent) - ticks) as f64 / begin.elapsed().as_secs_f64();
    let name = "health.1000.cpu_pct";
    Figure { name, value, unit: "%", systemd, ..Figure::default() }.record();
    host.run("rm /etc/tenement/conf.d/bench-health.toml && ten config reload");
    // Some may be unloaded meanwhile.
    let _ = host.try_run("systemctl stop 'ten-benchhealth@*.service' 'ten-benchhealth@*.socket'");
}
