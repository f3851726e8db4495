//! Faults of what the agent stands on, under load: the bus, systemd itself, the journal, the unit helper.
//! Whoever sends requests meanwhile sees nothing of it, no instance is restarted, and afterwards the
//! agent wakes, stops and sees what others stop.

use std::time::Duration;

use tenement_tests::{Host, Load, until};

const RATE: u32 = 100;
const DOMAINS: [&str; 3] = ["a.fsys.localhost", "b.fsys.localhost", "c.fsys.localhost"];

const CONFIG: &str = r#"
[process.fsys]
command = "/srv/apps/hello-static"
idle_timeout = 0
"#;

fn host() -> &'static Host {
    let host = Host::the();
    if host.try_run("test -e /etc/tenement/conf.d/fsys.toml").code != 0 {
        host.configure("fsys.toml", CONFIG);
        host.run("ten spawn fsys:a fsys:b fsys:c fsys:sleeper");
    }
    for id in ["a", "b", "c"] {
        host.run(&format!("ten wake fsys:{id}"));
    }
    host.run("ten stop fsys:sleeper");
    host
}

/// Main PID and invocation id of the instances under load.
fn runs(host: &Host) -> String {
    host.run("systemctl show -p MainPID -p InvocationID ten-fsys@a.service ten-fsys@b.service ten-fsys@c.service").out
}

fn uuids(host: &Host) -> Vec<(String, String)> {
    let list = host.ten_json("ps")["instances"].as_array().expect("a list").clone();
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    list.iter().map(|one| (text(&one["name"]), text(&one["uuid"]))).collect()
}

/// Does `harm` under load, then checks all that must hold.
fn under_load(harm: impl FnOnce(&Host)) {
    let host = host();
    let (before, registered) = (runs(host), uuids(host));
    let domains = DOMAINS.map(str::to_owned);
    let load = Load::start(host, &domains, RATE);
    let go_on = |what: &str| {
        let served = load.answered();
        until(what, Duration::from_secs(60), || {
            let more = load.answered() - served;
            if more > u64::from(RATE) / 2 { Ok(()) } else { Err(more) }
        });
    };
    go_on("load before");
    harm(host);
    go_on("load afterwards");
    until("a sleeping instance wakes", Duration::from_secs(60), || {
        let answer = host.get("sleeper.fsys.localhost", "/");
        if answer.status == 200 { Ok(()) } else { Err(answer) }
    });
    let outcome = load.stop();
    println!("{} answered, slowest {:?}", outcome.answered, outcome.slowest);
    assert_eq!(outcome.refused, 0);
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
    assert_eq!(runs(host), before, "an instance was restarted");
    assert_eq!(uuids(host), registered, "a registration was lost or made anew");
    until("a stop by hand is seen", Duration::from_secs(30), || {
        let _ = host.try_run("systemctl stop ten-fsys@sleeper.service");
        let state = host.state("fsys:sleeper");
        if state == "asleep" { Ok(()) } else { Err(state) }
    });
    host.run("ten wake fsys:sleeper");
    host.run("ten stop fsys:sleeper");
}

#[test]
fn a_restart_of_the_bus_is_seen_by_nobody() {
    under_load(|host| {
        host.run("systemctl restart dbus.service");
    });
}

#[test]
fn a_daemon_reload_is_seen_by_nobody() {
    under_load(|host| {
        host.run("systemctl daemon-reload && systemctl daemon-reload");
    });
}

#[test]
fn a_daemon_reexec_is_seen_by_nobody() {
    under_load(|host| {
        host.run("systemctl daemon-reexec");
    });
}

#[test]
fn a_restart_of_the_journal_is_seen_by_nobody_and_the_agent_logs_on() {
    under_load(|host| {
        host.run("systemctl restart systemd-journald.service");
        host.run("ten wake fsys:sleeper && ten stop fsys:sleeper");
    });
    let host = host();
    until("the agent's own words are in the journal again", Duration::from_secs(20), || {
        let _ = host.try_run("ten wake fsys:sleeper; ten stop fsys:sleeper");
        let since = "$(systemctl show -p ExecMainStartTimestamp --value systemd-journald)";
        let ran = host.try_run(&format!(
            "journalctl --sync; journalctl -u tenement --since \"{since}\" -o cat | grep -c ."
        ));
        if ran.code == 0 { Ok(()) } else { Err(ran) }
    });
}

#[test]
fn a_unit_helper_killed_in_the_middle_of_calls_fails_none_of_them() {
    let ids: Vec<_> = (0..8).map(|n| format!("fsys:h{n}")).collect();
    // A run that was cut short may have left them.
    let _ = Host::the().try_run(&format!("ten rm {} --yes --purge", ids.join(" ")));
    under_load(|host| {
        let calls = {
            let (host, ids) = (host.clone(), ids.clone());
            std::thread::spawn(move || {
                ids.iter().map(|id| host.try_run(&format!("ten spawn {id}"))).collect::<Vec<_>>()
            })
        };
        let mut kills = 0;
        while !calls.is_finished() {
            let kill = "pid=$(systemctl show -p MainPID --value tenement-unitd.service); \
                [ \"$pid\" != 0 ] && busctl status org.tenement.Units1 >/dev/null && kill -KILL $pid";
            kills += u32::from(host.try_run(kill).code == 0);
        }
        for ran in calls.join().expect("no panic") {
            assert_eq!(ran.code, 0, "{ran:?}");
        }
        println!("the unit helper was killed {kills} times during {} calls", ids.len());
        assert!(kills > 2, "killed only {kills} times");
        for id in &ids {
            assert_eq!(host.state(id), "running", "{id}");
        }
        host.run(&format!("ten rm {} --yes --purge", ids.join(" ")));
    });
}

#[test]
fn an_agent_that_starts_before_the_bus_and_the_journal_waits_and_loses_no_request() {
    let host = host();
    let before = runs(host);
    host.run(
        "systemctl mask --runtime -q dbus.socket; \
         systemctl stop -q systemd-journald.service 'systemd-journald*.socket' dbus.socket dbus.service; \
         rm -f /run/dbus/system_bus_socket; systemctl restart --no-block tenement",
    );
    let mut client = host.client();
    let waiting = std::thread::spawn(move || client.get(DOMAINS[0], "/"));
    until("the agent waits for the bus", Duration::from_secs(20), || {
        let show = "systemctl show -p ActiveState -p MainPID tenement.service";
        let state = host.run(show).out;
        let waits = state.contains("ActiveState=activating") && !state.contains("MainPID=0");
        if waits { Ok(()) } else { Err(state) }
    });
    host.run("systemctl unmask --runtime -q dbus.socket; systemctl start systemd-journald.service dbus.socket dbus.service");
    let answer = waiting.join().expect("no panic").expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(runs(host), before, "an instance was restarted");
    until("all is as before", Duration::from_secs(60), || {
        let woken = host.get("sleeper.fsys.localhost", "/");
        if woken.status == 200 { Ok(()) } else { Err(woken) }
    });
    host.run("ten stop fsys:sleeper");
}
