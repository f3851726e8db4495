//! `ten top` on a real terminal of 80 columns: what is shown, keys that act, resizing, and the terminal given back.

use std::time::Duration;

use serde_json::Value;
use tenement_tests::{Host, until};

const BOUND: Duration = Duration::from_secs(60);

/// A terminal: runs a command on a pseudo-terminal, keeps its screen, types what it is told to, and prints screens.
/// Steps: `keys TEXT`, `wait TEXT` (until the screen shows it), `size COLS ROWS`, `signal NAME`, `hangup` (the terminal goes away), `end`
/// (until it has ended).
const TERMINAL: &str = include_str!("../host/lib/terminal.py");

/// What the terminal saw: a screen after each step, the exit status, and whether the terminal is as it was.
fn drive(host: &Host, command: &str, steps: &[&str]) -> Value {
    host.write("/root/terminal.py", TERMINAL);
    let steps = steps.join("\n");
    let ran = host.feed(&format!("python3 /root/terminal.py {command}"), &steps);
    assert_eq!(ran.code, 0, "{command}: {}{}", ran.out, ran.err);
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.out))
}

fn host() -> &'static Host {
    let host = Host::the();
    if host.try_run("test -e /etc/tenement/conf.d/top.toml").code != 0 {
        host.configure(
            "top.toml",
            "[process.top]\ncommand = \"/srv/apps/hello-static\"\nidle_timeout = 0\n",
        );
        let _ = host.try_run("ten spawn top:a; ten spawn top:b --no-start");
    }
    host
}

fn screen(seen: &Value, step: usize) -> Vec<String> {
    let lines = seen["screens"][step].as_array().expect("a screen");
    lines.iter().map(|line| line.as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn eighty_columns_show_every_instance_and_keys_wake_and_put_to_sleep() {
    let host = host();
    host.run("ten wake top:a");
    let seen = drive(
        host,
        "ten top -d 1 --filter top:",
        &[
            "wait top:a",
            "wait w wake",
            "keys /b",
            "keys \r",
            "wait filter: top:b",
            "keys w",
            "wait top:b is running",
        ],
    );
    // The last line is drawn last.
    let first = screen(&seen, 1);
    assert_eq!(first.len(), 24);
    for heading in ["NAME", "STATE", "TIER", "CPU%", "MEMORY", "REQ/S", "OPEN", "WAKES"] {
        assert!(first[2].contains(heading), "{heading}: {first:?}");
    }
    assert!(first.iter().all(|line| line.chars().count() <= 80));
    assert!(first[23].contains("w wake  s sleep"), "{first:?}");
    host.until_state("top:b", &["running"], BOUND);
    let seen = drive(
        host,
        "ten top -d 1 --filter top:b",
        &["wait top:b", "keys s", "wait top:b is asleep", "keys q", "end"],
    );
    host.until_asleep("top:b");
    assert_eq!(
        (seen["exit"].as_i64(), seen["restored"].as_bool()),
        (Some(0), Some(true)),
        "{seen}"
    );
}

#[test]
fn a_log_is_shown_and_left_again() {
    let host = host();
    host.run("ten wake top:a");
    let seen = drive(
        host,
        "ten top -d 1 --filter top:a",
        &[
            "wait top:a",
            "keys l",
            "wait q back to the table",
            "keys q",
            "wait CPU%",
            "keys q",
            "end",
        ],
    );
    assert_eq!(seen["restored"], true, "{seen}");
}

#[test]
fn a_resized_terminal_is_drawn_anew() {
    let seen = drive(
        host(),
        "ten top -d 1 --filter top:",
        &["wait top:a", "size 120 40", "wait q quit", "size 40 10", "wait top:a", "keys q", "end"],
    );
    assert_eq!(screen(&seen, 2).len(), 40);
    assert_eq!(screen(&seen, 4).len(), 10);
    assert_eq!(seen["restored"], true, "{seen}");
}

#[test]
fn whatever_ends_it_the_terminal_is_given_back() {
    for signal in ["TERM", "HUP", "INT"] {
        let steps = ["wait top:a", &format!("signal {signal}"), "end"];
        let seen = drive(host(), "ten top -d 1 --filter top:", &steps);
        assert_eq!(seen["restored"], true, "{signal}: {seen}");
        assert_eq!(seen["exit"], 0, "{signal}: {seen}");
    }
}

#[test]
fn without_a_terminal_any_more_it_ends() {
    let host = host();
    // In a session of its own nobody sends it SIGHUP: it must see for itself.
    for command in ["ten top -d 1 --filter top:", "setsid -w ten top -d 1 --filter top:"] {
        drive(host, command, &["wait top:a", "hangup"]);
        until("it has ended", BOUND, || {
            let found = host.try_run("pgrep -af '^ten top -d 1 --filter top:$'");
            if found.code == 1 { Ok(()) } else { Err(found) }
        });
    }
}

#[test]
fn no_color_means_none() {
    let coloured = drive(host(), "ten top -d 1 --filter top:", &["wait top:a", "keys q", "end"]);
    assert_eq!(coloured["colours"], true, "a running instance is green");
    let plain = drive(
        host(),
        "env NO_COLOR=1 ten top -d 1 --filter top:",
        &["wait top:a", "keys q", "end"],
    );
    assert_eq!(plain["colours"], false);
}

#[test]
fn without_a_terminal_there_is_one_table() {
    let host = host();
    host.run("ten wake top:a");
    until("the figures are there", BOUND, || {
        let table = host.run("ten top --filter top: --sort name").out;
        let row =
            table.lines().find(|line| line.starts_with("top:a")).unwrap_or_default().to_owned();
        if row.contains("running") { Ok(()) } else { Err(table) }
    });
    let look = host.ten_json("top --filter top:");
    assert_eq!(look["instances"].as_array().unwrap().len(), 2, "{look}");
    assert_eq!(host.run("ten top -q --sort name --filter top: --once").out, "top:a\ntop:b\n");
    let gone = host.try_run("ten top --socket /run/nowhere.sock");
    assert_eq!(gone.code, 5, "{gone:?}");
}
