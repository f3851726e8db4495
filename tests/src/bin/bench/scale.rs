//! Footprint with many registered instances.

use std::time::{Duration, Instant};

use tenement_tests::results::Figure;
use tenement_tests::{Host, until};

/// How long idle CPU is measured: long against one clock tick (10 ms).
const IDLE: Duration = Duration::from_secs(20);

/// Registers `size` instances, named in the config.
pub fn register(host: &Host, size: usize) {
    let list = |n: usize| (0..n).map(|i| format!("\"i{i}\"")).collect::<Vec<_>>().join(", ");
    let text = format!(
        "[process.bench]\ncommand = \"/srv/apps/hello-static\"\nidle_timeout = 0\n\
         [process.benchburst]\ncommand = \"/srv/apps/hello-static\"\nidle_timeout = 0\n\
         [process.benchpy]\ncommand = \"python3 notes.py\"\ndirectory = \"/srv/apps/notes\"\n\
         idle_timeout = 0\n\
         [instances]\nbench = [{}]\nbenchburst = [{}]\nbenchpy = [\"i0\"]\n",
        list(size),
        list(100)
    );
    host.configure("bench.toml", &text);
}

/// Main process of a unit.
pub fn pid_of(host: &Host, unit: &str) -> u32 {
    let out = host.run(&format!("systemctl show -p MainPID --value {unit}")).out;
    out.trim().parse().expect("a pid")
}

/// Restarts the agent and measures the time to READY=1 as systemd has it.
pub fn restart_and_time(host: &Host, systemd: u32, size: usize) {
    host.run("systemctl stop tenement.service");
    let begin = Instant::now();
    host.run("systemctl start tenement.service");
    let value = begin.elapsed().as_secs_f64();
    let name = format!("scale.{size}.ready_s");
    Figure { name: &name, value, unit: "s", systemd, ..Figure::default() }.record();
}

/// Waits until the agent and PID 1 have nothing to do any more.
pub fn settle(host: &Host) {
    // The process id is asked once: asking is work for PID 1 and would keep it from resting.
    let agent = pid_of(host, "tenement.service");
    let ticks = || cpu_ticks(host, 1) + cpu_ticks(host, agent);
    let mut last = (ticks(), Instant::now());
    until("the host is at rest", Duration::from_secs(180), || {
        if last.1.elapsed() < Duration::from_secs(2) {
            return Err(last.0);
        }
        let now = ticks();
        let worked = now - last.0;
        last = (now, Instant::now());
        if worked <= 2 { Ok(()) } else { Err(now) }
    });
}

/// Resident memory of the daemons and PID 1, and the agent's CPU when idle.
pub fn footprint(host: &Host, systemd: u32, size: usize) {
    let record = |what: &str, value, unit| {
        let name = format!("scale.{size}.{what}");
        Figure { name: &name, value, unit, systemd, ..Figure::default() }.record();
    };
    settle(host);
    let agent = pid_of(host, "tenement.service");
    record("rss_mb", rss_mb(host, agent), "MB");
    record("pid1_rss_mb", rss_mb(host, 1), "MB");
    let unitd = pid_of(host, "tenement-unitd.service");
    record("unitd_rss_mb", if unitd == 0 { 0.0 } else { rss_mb(host, unitd) }, "MB");
    let (before, begin) = (cpu_ticks(host, agent), Instant::now());
    until("the idle time has passed", IDLE * 2, || {
        if begin.elapsed() >= IDLE { Ok(()) } else { Err(begin.elapsed()) }
    });
    let ticks = cpu_ticks(host, agent) - before;
    record("idle_cpu_pct", ticks as f64 / begin.elapsed().as_secs_f64(), "%");
}

/// Resident set of a process of the host, in megabytes.
fn rss_mb(host: &Host, pid: u32) -> f64 {
    let out = host.run(&format!("grep VmRSS /proc/{pid}/status | tr -dc 0-9")).out;
    out.trim().parse::<f64>().expect("kilobytes") / 1024.0
}

/// User and system time of a process of the host, in clock ticks of 10 ms (proc(5)).
pub fn cpu_ticks(host: &Host, pid: u32) -> u64 {
    let out = host.run(&format!("sed 's/.*) //' /proc/{pid}/stat")).out;
    let fields: Vec<&str> = out.split_whitespace().collect();
    [11, 12].iter().map(|i| fields[*i].parse::<u64>().expect("a number")).sum()
}
