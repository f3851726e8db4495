//! Logs: what instances print is found, exactly once, under their own name, whatever happens meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tenement_tests::{Host, until};

const CONFIG: &str = r#"
[process.lgsay]
command = "python3 /srv/apps/lgsay.py"
idle_timeout = 0
restart = "no"

[process.lgcount]
command = "python3 /srv/apps/lgcount.py {id} @COUNT@"
idle_timeout = 0
restart = "no"

[process.lgforge]
command = "python3 /srv/apps/lgforge.py"
isolation = "none"
idle_timeout = 0
restart = "no"

[process.lgwild]
command = "python3 /srv/apps/lgwild.py"
idle_timeout = 0
restart = "no"
"#;

const SAY: &str = r#"
import time
print("hello from say\nERROR it broke")
print("Traceback (most recent call last):\n  File x\nValueError: bad", flush=True)
time.sleep(1e6)
"#;

const COUNT: &str = r#"
import sys, time
for n in range(int(sys.argv[2])):
    print("row", n, "of", sys.argv[1])
sys.stdout.flush()
time.sleep(1e6)
"#;

const WILD: &str = r#"
import os, time
os.write(1, b"x" * (10 << 20) + b"\n")
os.write(1, b"wild \xff\xfe bytes\nafter the wild\n")
time.sleep(1e6)
"#;

const FORGE: &str = r#"
import socket, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect("/run/systemd/journal/socket")
for line in ("TENEMENT=1", "TENEMENT_PROCESS=lgsay", "TENEMENT_INSTANCE=victim", "_SYSTEMD_UNIT=ten-lgsay@victim.service",
             "UNIT=ten-lgsay@victim.service", "_PID=1", "_TRANSPORT=driver"):
    s.send(("MESSAGE=forged line\n" + line + "\n").encode())
s.send(b"MESSAGE=forged line\nTENEMENT=1\nTENEMENT_INSTANCE=victim\nUNIT=ten-lgsay@victim.service\nSYSLOG_IDENTIFIER=ten-lgsay@victim\n")
print("forged all", flush=True)
time.sleep(1e6)
"#;

const BOUND: Duration = Duration::from_secs(60);
/// Instances that print at once, and what each prints. `make bench` sets TENEMENT_TEST_LOG_LINES to 1000000.
const PRINTERS: usize = 20;
const LINES: usize = 200_000;
/// How often the agent is killed meanwhile.
const KILLS: usize = 20;

fn lines() -> usize {
    let set = std::env::var("TENEMENT_TEST_LOG_LINES").ok();
    set.map_or(LINES, |text| text.parse().expect("a number")) / PRINTERS
}

fn host() -> &'static Host {
    let host = Host::the();
    if host.try_run("test -e /etc/tenement/conf.d/logs.toml").code != 0 {
        for (name, text) in [("say", SAY), ("count", COUNT), ("forge", FORGE), ("wild", WILD)] {
            host.write(&format!("/srv/apps/lg{name}.py"), text);
        }
        // journald must not drop what the test counts.
        let unlimited = "[Journal]\nRateLimitIntervalSec=0\n";
        host.write("/etc/systemd/journald.conf.d/test-logs.conf", unlimited);
        host.run("systemctl restart systemd-journald");
        host.configure("logs.toml", &CONFIG.replace("@COUNT@", &lines().to_string()));
    }
    host
}

/// Makes an instance that is new, and starts it.
fn start(host: &Host, name: &str) {
    let _ = host.try_run(&format!("ten rm {name} --purge --yes"));
    host.run(&format!("ten spawn {name}"));
    host.run(&format!("ten wake {name}"));
}

/// The messages that `ten logs` finds, from old to new.
fn found(host: &Host, arguments: &str) -> Vec<String> {
    let ran = host.try_run(&format!("ten logs {arguments} --json"));
    let lines = ran.out.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.map(|line| line["message"].as_str().expect("text").to_owned()).collect()
}

fn until_found(host: &Host, arguments: &str, text: &str) {
    until(&format!("ten logs {arguments} finds `{text}`"), BOUND, || {
        let lines = found(host, arguments);
        if lines.iter().any(|line| line.contains(text)) { Ok(()) } else { Err(lines) }
    });
}

#[test]
fn what_an_instance_prints_is_found_by_word_and_level_and_traces_stay_together() {
    let host = host();
    start(host, "lgsay:a");
    until_found(host, "lgsay:a --search hello", "hello from say");
    until_found(host, "lgsay:a --level error", "ERROR it broke");
    assert!(found(host, "lgsay:a --level error --search hello").is_empty());
    let trace = "Traceback (most recent call last):\n  File x\nValueError: bad";
    until_found(host, "lgsay:a --search ValueError", trace);
    until_found(host, "lgsay:a --all", "Started");
    // journalctl beside it.
    host.run(
        "journalctl TENEMENT_PROCESS=lgsay TENEMENT_INSTANCE=a -o cat | grep -q 'hello from say'",
    );
}

#[test]
fn a_stream_shows_new_lines_as_they_come() {
    let host = host();
    start(host, "lgsay:stream");
    until_found(host, "lgsay:stream --search hello", "hello");
    let follow = std::thread::spawn(|| {
        let command =
            "timeout 60 ten logs lgsay:stream -f -n 1 --quiet | grep -m 2 'hello from say'";
        Host::the().try_run(command)
    });
    // Restarted until the stream has seen enough, since nobody can tell when it began.
    until("the stream has its lines", BOUND, || {
        host.run("systemctl restart ten-lgsay@stream.service");
        if follow.is_finished() { Ok(()) } else { Err("it goes on") }
    });
    let seen = follow.join().expect("no panic").out;
    assert_eq!(seen.lines().count(), 2, "{seen}");
}

#[test]
fn every_line_is_found_exactly_once_though_the_agent_is_killed_twenty_times() {
    let host = host();
    let _ = host.try_run("for i in $(seq 20); do ten rm lgcount:p$i --purge --yes; done");
    let names: Vec<_> = (1..=PRINTERS).map(|i| format!("lgcount:p{i}")).collect();
    host.run(&format!("ten spawn {}", names.join(" ")));
    let units: Vec<_> = (1..=PRINTERS).map(|i| format!("ten-lgcount@p{i}.service")).collect();
    host.run(&format!("systemctl start --no-block {}", units.join(" ")));
    for _ in 0..KILLS {
        let pid = "systemctl show -p MainPID --value tenement.service";
        let old = host.run(pid).out;
        host.run("systemctl kill -s KILL --kill-whom=main tenement.service");
        until("the agent is back", BOUND, || {
            let (new, active) =
                (host.run(pid).out, host.try_run("systemctl is-active -q tenement").code);
            if new != old && active == 0 { Ok(()) } else { Err((new, active)) }
        });
    }
    for name in &names {
        let id = name.trim_start_matches("lgcount:");
        let last = format!("row {} of {id}", lines() - 1);
        until(&format!("{name} has printed all"), BOUND * 5, || {
            let lines = found(host, &format!("{name} --search '\"{last}\"'"));
            if lines.contains(&last) { Ok(()) } else { Err(lines) }
        });
        let dump = format!("/tmp/{id}");
        let parse = "import json,sys\nfor line in sys.stdin: print(json.loads(line)[\"message\"])";
        let differ = format!(
            "ten logs export {name} --search row --format json > {dump}; \
             journalctl -u ten-lgcount@{id} -o cat --no-pager | grep '^row ' | sort > {dump}.journal; \
             python3 -c '{parse}' < {dump} | grep '^row ' | sort > {dump}.index; \
             diff {dump}.journal {dump}.index | head -5; wc -l < {dump}.index"
        );
        // The newest lines are found while the ones before them are still being read.
        until(&format!("{name}: what journald has is what is found"), BOUND * 5, || {
            let out = host.run(&differ).out;
            if out.trim() == lines().to_string() { Ok(()) } else { Err(out) }
        });
    }
}

#[test]
fn an_instance_cannot_write_in_the_name_of_another() {
    let host = host();
    start(host, "lgsay:victim");
    start(host, "lgforge:thief");
    until_found(host, "lgforge:thief --search forged", "forged all");
    until("all forged lines are the thief's", BOUND, || {
        let count = found(host, "lgforge:thief --all --search '\"forged line\"'").len();
        if count >= 8 { Ok(()) } else { Err(count) }
    });
    assert!(found(host, "lgsay:victim --all --search forged").is_empty());
}

#[test]
fn a_line_of_ten_megabytes_and_binary_are_bounded_and_what_comes_after_is_found() {
    let host = host();
    start(host, "lgwild:a");
    until_found(host, "lgwild:a --search '\"after the wild\"'", "after the wild");
    until_found(host, "lgwild:a --search wild", "wild \u{fffd}\u{fffd}");
    let lengths: Vec<_> = found(host, "lgwild:a --all").iter().map(String::len).collect();
    assert!(lengths.iter().all(|length| *length < 70_000), "{lengths:?}");
}

#[test]
fn lines_that_the_journal_lost_are_marked_and_rotation_loses_none() {
    let host = host();
    start(host, "lgsay:gap");
    until_found(host, "lgsay:gap --search hello", "hello");
    host.run("journalctl --rotate");
    host.run("systemctl restart ten-lgsay@gap.service");
    until("both starts are found after a rotation", BOUND, || {
        let lines = found(host, "lgsay:gap --all --search hello");
        if lines.len() == 2 { Ok(()) } else { Err(lines) }
    });
    // A commit: the place in the journal is stored a second after the last line.
    host.run("systemctl stop tenement.service");
    host.run("systemctl restart ten-lgsay@gap.service && journalctl --sync");
    host.run("journalctl --rotate && journalctl --vacuum-files=1");
    host.run("systemctl start tenement.service");
    until_found(
        host,
        "lgsay:gap --search '\"the journal lost\"'",
        "lines of this instance may be among them",
    );
    host.run("systemctl restart systemd-journald && systemctl restart ten-lgsay@gap.service");
    until("lines go on after journald was restarted", BOUND, || {
        let lines = found(host, "lgsay:gap --all --search hello");
        if lines.len() >= 3 { Ok(()) } else { Err(lines) }
    });
    let marks = found(host, "lgsay:gap --all --search '\"the journal lost\"'");
    assert_eq!(marks.len(), 1, "{marks:?}");
}

#[test]
fn removing_an_instance_with_purge_removes_its_lines() {
    let host = host();
    start(host, "lgsay:gone");
    start(host, "lgsay:stays");
    until_found(host, "lgsay:gone --search hello", "hello");
    until_found(host, "lgsay:stays --search hello", "hello");
    host.run("ten rm lgsay:gone --purge --yes");
    let lines = found(host, "--all --process lgsay --search hello");
    assert!(found(host, "lgsay:gone --all").is_empty());
    assert!(!lines.is_empty());
    // The journal still has them: they must not come back when the agent reads on.
    host.run("systemctl restart tenement");
    until_found(host, "lgsay:stays --search hello", "hello");
    assert!(found(host, "lgsay:gone --all").is_empty());
}

#[test]
fn the_journal_has_no_file_for_each_instance() {
    let host = host();
    start(host, "lgsay:files");
    until_found(host, "lgsay:files --search hello", "hello");
    let owners = host.run("ls /var/log/journal/*/ | grep -c '^user-19' || true").out;
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    seen.insert("user-19… files".into(), owners.trim().parse().expect("a number"));
    assert!(seen.values().all(|count| *count == 0), "{seen:?}");
}
