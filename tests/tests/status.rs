//! Status: `ten show` says what `systemctl show` says, and the history has what happened and why.

use std::time::Duration;

use serde_json::Value;
use tenement_tests::{Host, until};

const CONFIG: &str = r#"
[process.stat]
command = "/srv/apps/hello-static"
idle_timeout = 0
restart = "no"

[process.statidle]
command = "/srv/apps/hello-static"
idle_timeout = "1s"

[process.statexit]
command = "python3 -c 'import socket; socket.socket(fileno=3).accept(); raise SystemExit(3)'"
idle_timeout = 0
restart = "no"
"#;

const BOUND: Duration = Duration::from_secs(20);

fn host() -> &'static Host {
    let host = Host::the();
    if host.try_run("test -e /etc/tenement/conf.d/status.toml").code != 0 {
        host.configure("status.toml", CONFIG);
    }
    host
}

/// What `systemctl show` has for a property; nothing for what it does not know.
fn systemctl(host: &Host, unit: &str, property: &str) -> Option<String> {
    let out = host.run(&format!("systemctl show -p {property} --value {unit}")).out;
    let value = out.trim();
    let unknown = matches!(value, "" | "[not set]" | "[no data]" | "18446744073709551615");
    (!unknown).then(|| value.to_owned())
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// `ten show` and `systemctl show` agree. Looked at until they do, for time passes between the two.
fn agrees(host: &Host, name: &str) -> Value {
    let unit = format!("ten-{}.service", name.replace(':', "@"));
    until(&format!("ten show {name} is what systemctl show says"), BOUND, || {
        let view = host.ten_json(&format!("show {name}"));
        let service = &view["service"];
        for (field, property) in [
            ("active_state", "ActiveState"),
            ("sub_state", "SubState"),
            ("result", "Result"),
            ("invocation_id", "InvocationID"),
            ("restarts", "NRestarts"),
        ] {
            let (ours, theirs) = (text(&service[field]), systemctl(host, &unit, property));
            if ours != theirs {
                return Err(format!("{field}: {ours:?}, {property}: {theirs:?}"));
            }
        }
        let pid = systemctl(host, &unit, "MainPID").filter(|pid| pid != "0");
        if text(&service["main_pid"]) != pid || text(&view["pid"]) != pid {
            return Err(format!("pid {pid:?}: {view}"));
        }
        let code = systemctl(host, &unit, "ExecMainCode").unwrap_or_default();
        let status = systemctl(host, &unit, "ExecMainStatus");
        let exited = status.clone().filter(|_| code == "1");
        let killed = status.filter(|_| code == "2" || code == "3");
        if text(&service["exit_code"]) != exited || text(&service["exit_signal"]) != killed {
            return Err(format!("code {code}, {exited:?}, {killed:?}: {service}"));
        }
        for (field, property) in [
            ("memory_bytes", "MemoryCurrent"),
            ("tasks", "TasksCurrent"),
            ("io_read_bytes", "IOReadBytes"),
            ("io_write_bytes", "IOWriteBytes"),
            ("ip_in_bytes", "IPIngressBytes"),
            ("ip_out_bytes", "IPEgressBytes"),
        ] {
            let (ours, theirs) = (&view["usage"][field], systemctl(host, &unit, property));
            // Version 252 says 0 where the host has no memory controller.
            if ours.is_null()
                != theirs.as_deref().is_none_or(|v| field == "memory_bytes" && v == "0")
            {
                return Err(format!("{field}: {ours}, {property}: {theirs:?}"));
            }
        }
        Ok(view)
    })
}

/// The newest changes, newest first, as `from>to cause`.
fn history(host: &Host, name: &str, count: usize) -> Vec<String> {
    let history = host.ten_json(&format!("history {name} -n {count}"));
    assert_eq!(history["dropped"], 0, "{history}");
    let word = |entry: &Value, key: &str| entry[key].as_str().expect("a word").to_owned();
    let entries = history["entries"].as_array().expect("a list").iter();
    entries.map(|e| format!("{}>{} {}", word(e, "from"), word(e, "to"), word(e, "cause"))).collect()
}

fn until_history(host: &Host, name: &str, newest: &[&str]) {
    until(&format!("the history of {name} ends with {newest:?}"), BOUND, || {
        let found = history(host, name, newest.len());
        if found == newest { Ok(()) } else { Err(history(host, name, 20)) }
    });
}

#[test]
fn a_running_instance_is_shown_as_systemd_has_it_with_what_it_uses() {
    let host = host();
    host.run("ten spawn stat:run");
    assert_eq!(host.get("run.stat.localhost", "/").status, 200);
    let view = agrees(host, "stat:run");
    assert_eq!(view["service"]["active_state"], "active");
    let cpu = systemctl(host, "ten-stat@run.service", "CPUUsageNSec");
    if let Some(cpu) = cpu.and_then(|cpu| cpu.parse::<u64>().ok()) {
        let ours = view["usage"]["cpu_us"].as_u64().expect("as systemd counts it");
        assert!(ours > 0 && ours <= cpu / 1000, "{ours} µs, systemd: {cpu} ns");
    }
    let since = systemctl(host, "ten-stat@run.service", "StateChangeTimestamp");
    let seconds = host.run(&format!("date -d '{}' +%s", since.expect("it changed"))).out;
    let ours = view["service"]["since_ms"].as_u64().expect("a time") / 1000;
    assert_eq!(ours.to_string(), seconds.trim());
    let uuid = view["uuid"].clone();
    host.run("systemctl restart tenement");
    host.until_state("stat:run", &["running"], BOUND);
    assert_eq!(host.ten_json("show stat:run")["uuid"], uuid, "the UUID changed");
}

#[test]
fn an_app_that_ended_with_status_3_is_shown_as_such() {
    let host = host();
    host.run("ten spawn statexit:a");
    host.run(
        "python3 -c 'import socket; s = socket.socket(socket.AF_UNIX); \
         s.connect(\"/run/tenement/statexit/a.sock\")'",
    );
    let ended = until("systemd has it as failed", BOUND, || {
        let view = agrees(host, "statexit:a");
        if view["service"]["active_state"] == "failed" { Ok(view) } else { Err(view) }
    });
    assert_eq!(ended["service"]["exit_code"], 3, "{ended}");
    assert_eq!(ended["service"]["result"], "exit-code");
    until_history(host, "statexit:a", &["running>failed crash"]);
}

#[test]
fn an_app_that_was_killed_is_shown_with_its_signal() {
    let host = host();
    host.run("ten spawn stat:killed");
    host.run("systemctl kill -s KILL ten-stat@killed.service");
    let ended = until("systemd has it as failed", BOUND, || {
        let view = agrees(host, "stat:killed");
        if view["service"]["active_state"] == "failed" { Ok(view) } else { Err(view) }
    });
    assert_eq!(ended["service"]["exit_signal"], 9, "{ended}");
    assert_eq!(ended["service"]["result"], "signal");
    until_history(host, "stat:killed", &["running>failed crash"]);
}

#[test]
fn the_history_tells_requests_idleness_operators_hands_and_crashes_apart() {
    let host = host();
    host.run("ten spawn statidle:a --no-start");
    host.until_asleep("statidle:a");
    assert_eq!(host.get("a.statidle.localhost", "/").status, 200);
    until_history(
        host,
        "statidle:a",
        &[
            // Parking starts a unit, but that is neither a run nor somebody's hand.
            "asleep>parked idle",
            "stopping>asleep idle",
            "running>stopping idle",
            "starting>running request",
            "asleep>starting request",
            "dormant>asleep operator",
        ],
    );
    host.run("ten spawn stat:told");
    until_history(host, "stat:told", &["starting>running operator", "asleep>starting operator"]);
    host.run("ten stop stat:told");
    until_history(host, "stat:told", &["stopping>asleep operator", "running>stopping operator"]);
    host.run("systemctl start ten-stat@told.service");
    until_history(host, "stat:told", &["starting>running by-hand", "asleep>starting by-hand"]);
    host.run("systemctl stop ten-stat@told.service");
    until_history(host, "stat:told", &["stopping>asleep by-hand", "running>stopping by-hand"]);
    host.run("systemctl start ten-stat@told.service");
    host.until_state("stat:told", &["running"], BOUND);
    host.run("kill -KILL $(systemctl show -p MainPID --value ten-stat@told.service)");
    until_history(host, "stat:told", &["running>failed crash"]);
    // Newest first, and the same in `ten show`.
    assert!(host.run("ten show stat:told").out.contains("running → failed (crash)"));
}

#[test]
fn the_history_outlives_a_killed_agent_and_goes_with_its_instance() {
    let host = host();
    host.run("ten spawn stat:old");
    host.run("ten stop stat:old");
    let before = history(host, "stat:old", 4);
    // All of it is written within a second; reading it writes it at once.
    host.run("systemctl kill -s KILL tenement.service");
    until("the agent answers", BOUND, || {
        let ran = host.try_run("ten ps");
        if ran.code == 0 { Ok(()) } else { Err(ran) }
    });
    assert_eq!(history(host, "stat:old", 4), before);
    let uuid = host.ten_json("show stat:old")["uuid"].clone();
    host.run("ten rm stat:old --yes");
    host.run("ten spawn stat:old --no-start");
    assert_ne!(host.ten_json("show stat:old")["uuid"], uuid);
    let inherited = history(host, "stat:old", 100);
    assert!(!inherited.iter().any(|line| line.contains("running")), "{inherited:?}");
}
