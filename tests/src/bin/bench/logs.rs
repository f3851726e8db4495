//! Logs: from `print` to a stream, the first line of `ten logs`, a backlog, and a tenant that prints all it can.

use std::time::{Duration, Instant};

use tenement_tests::results::{Figure, median};
use tenement_tests::{Host, until};

use super::scale;

/// Lines that wait in the journal when the agent comes back.
const BACKLOG: usize = 2_000_000;
/// Lines that one instance prints as fast as it can: far more than a socket to journald holds.
const SUSTAINED: usize = 1_000_000;
/// How many print them, side by side.
const PRINTERS: usize = 20;
/// Starts of `ten logs` and of journalctl.
const STARTS: usize = 20;
const BOUND: Duration = Duration::from_secs(900);

/// Prints its own time, five times a second.
const TICK: &str = r#"
import time
while True:
    print("tick", time.time(), flush=True)
    time.sleep(0.2)
"#;

/// Prints as many lines of about 100 bytes as it is told, then says how long that took.
const FLOOD: &str = r#"
import sys, time
begin = time.time()
for n in range(int(sys.argv[1])):
    print("GET /api/v1/orders/%d status=200 bytes=%d user=u%d trace=%016x took=%dms" % (n, n * 7 % 9000, n % 977, n * 2654435761, n % 300))
sys.stdout.flush()
print("flooded", int(sys.argv[1]) / (time.time() - begin), flush=True)
time.sleep(1e6)
"#;

/// Follows a stream and prints the delay of each of the first so many ticks, in milliseconds.
const FOLLOW: &str = r#"
import json, socket, sys, time
s = socket.socket(socket.AF_UNIX); s.connect("/run/tenement/admin.sock")
s.sendall(b"GET /api/v1/logs/stream?process=benchlog&id=tick HTTP/1.1\r\nHost: x\r\n\r\n")
seen = 0
for line in s.makefile():
    if not line.startswith("data:"): continue
    text = json.loads(line[5:]).get("message", "")
    if text.startswith("tick "):
        print((time.time() - float(text.split()[1])) * 1000, flush=True)
        seen += 1
        if seen == int(sys.argv[1]): break
"#;

fn setup(host: &Host) {
    for (name, text) in [("tick", TICK), ("flood", FLOOD), ("follow", FOLLOW)] {
        host.write(&format!("/srv/apps/log{name}.py"), text);
    }
    host.write(
        "/etc/systemd/journald.conf.d/bench-logs.conf",
        "[Journal]\nRateLimitIntervalSec=0\nSystemMaxUse=8G\nSystemKeepFree=1M\n",
    );
    host.run("systemctl restart systemd-journald");
    let each = BACKLOG / PRINTERS;
    host.configure(
        "bench-logs.toml",
        &format!(
            "[process.benchlog]\ncommand = \"python3 /srv/apps/logtick.py\"\nidle_timeout = 0\n\
             [process.benchflood]\ncommand = \"python3 /srv/apps/logflood.py {each}\"\n\
             idle_timeout = 0\nlog_rate = 1000000\n\
             [process.benchrate]\ncommand = \"python3 /srv/apps/logflood.py {SUSTAINED}\"\n\
             idle_timeout = 0\nlog_rate = 1000000\n"
        ),
    );
}

/// All of them.
pub fn all(host: &Host, systemd: u32) {
    setup(host);
    host.run("ten spawn benchlog:tick");
    let quiet = delays(host, 100);
    let record = |name: &str, value, unit: &str, peer: Option<f64>| {
        let ratio = peer.map(|peer| value / peer);
        Figure { name, value, unit, peer, ratio, systemd }.record();
    };
    record("logs.sse.delay_ms", median(&quiet), "ms", None);
    let ten = starts(host, "ten logs benchlog:tick -n 10");
    let journalctl = starts(host, "journalctl -u ten-benchlog@tick.service -n 10 --no-pager");
    record("logs.cli.first_line_ms", ten, "ms", Some(journalctl));

    let names: Vec<_> = (0..PRINTERS).map(|i| format!("benchflood:p{i}")).collect();
    host.run(&format!("ten spawn --no-start {}", names.join(" ")));
    host.run("ten spawn benchrate:one");
    let beside = delays(host, 50);
    let worst = beside.iter().copied().fold(0.0, f64::max);
    record("logs.beside_flood.delay_ms", worst, "ms", Some(median(&quiet)));
    let printed = flooded(host, "benchrate:one");
    let indexed = backlog(host, systemd, &names);
    // A word that is nowhere: both have to look at everything that the instance printed.
    let ten = starts(host, "ten logs benchflood:p0 -n 10 --search nowhere");
    let unit = "ten-benchflood@p0.service";
    let grep = starts(host, &format!("journalctl -u {unit} -n 10 --no-pager --grep nowhere"));
    record("logs.cli.absent_word_ms", ten, "ms", Some(grep));
    record("logs.journald.lines_s", printed, "lines/s", Some(indexed));
    host.run("ten rm --purge --yes benchrate:one");
    host.run("ten rm --purge --yes benchlog:tick");
    for name in &names {
        host.run(&format!("ten rm --purge --yes {name}"));
    }
    host.run("rm /etc/tenement/conf.d/bench-logs.toml && ten config reload");
}

/// Milliseconds from `print` to the client of a stream, of so many lines.
fn delays(host: &Host, count: usize) -> Vec<f64> {
    let out = host.run(&format!("timeout 600 python3 /srv/apps/logfollow.py {count}")).out;
    out.lines().filter_map(|line| line.parse().ok()).collect()
}

/// The middle time of a command, in milliseconds, as a process on the host sees it.
fn starts(host: &Host, command: &str) -> f64 {
    let script = format!(
        "import subprocess,time\nfor _ in range({STARTS}):\n b=time.time()\n \
         p=subprocess.Popen({command:?}.split(),stdout=subprocess.PIPE)\n p.stdout.readline()\n \
         print((time.time()-b)*1000)\n p.stdout.read()\n p.wait()"
    );
    let out = host.feed("python3 -", &script).out;
    let times: Vec<f64> = out.lines().filter_map(|line| line.parse().ok()).collect();
    median(&times)
}

/// Waits until a flood is over and found, and says how many lines a second it printed.
fn flooded(host: &Host, name: &str) -> f64 {
    until(&format!("the end of {name} is found"), BOUND, || {
        let ran = host.try_run(&format!("ten logs {name} --search flooded -n 1 --json"));
        let line = ran.out.lines().next().and_then(|l| serde_json::from_str(l).ok());
        let line: serde_json::Value = line.ok_or_else(|| ran.err.clone())?;
        let text = line["message"].as_str().unwrap_or_default().to_owned();
        text.trim_start_matches("flooded ").parse().map_err(|_| text)
    })
}

/// The agent's memory and CPU while it reads what was printed without it; lines that it took a second.
fn backlog(host: &Host, systemd: u32, names: &[String]) -> f64 {
    host.run("systemctl stop tenement.service tenement.socket");
    let units: Vec<_> =
        names.iter().map(|n| format!("ten-{}.service", n.replace(':', "@"))).collect();
    host.run(&format!("systemctl start {}", units.join(" ")));
    until("the journal has it all", BOUND, || {
        let count =
            "journalctl TENEMENT_PROCESS=benchflood -o cat --since=-1h -g '^flooded' | wc -l";
        let out = host.run(count).out;
        if out.trim() == PRINTERS.to_string() { Ok(()) } else { Err(out) }
    });
    let begin = Instant::now();
    host.run("systemctl start tenement.socket tenement.service");
    for name in names {
        flooded(host, name);
    }
    let took = begin.elapsed().as_secs_f64();
    let agent = scale::pid_of(host, "tenement.service");
    let lines = BACKLOG as f64;
    let cpu = scale::cpu_ticks(host, agent) as f64 * 10_000.0 / lines;
    let peak = host.run(&format!("awk '/VmHWM/{{print $2}}' /proc/{agent}/status")).out;
    let peak = peak.trim().parse::<f64>().expect("kilobytes") / 1024.0;
    let figure = |name: &str, value, unit: &str| {
        Figure { name, value, unit, systemd, ..Figure::default() }.record();
    };
    figure("logs.backlog.rss_mb", peak, "MB");
    figure("logs.backlog.lines_s", lines / took, "lines/s");
    figure("logs.backlog.cpu_us", cpu, "us");
    lines / took
}
