//! Every verb on instances, against a fake agent.

mod support;

use serde_json::json;
use support::{Fake, problem, view};

fn two() -> Fake {
    Fake::start(|_| {
        (200, json!({"instances": [view("api:prod", "running"), view("web:1", "asleep")]}))
    })
}

#[test]
fn ps_shows_a_table_without_colour_off_a_terminal() {
    let run = two().ten(&["ps"]).exits(0);
    let lines: Vec<&str> = run.out.lines().collect();
    assert_eq!(lines.len(), 3, "{}", run.out);
    assert!(lines[0].starts_with("NAME      STATE    TIER"), "{:?}", lines[0]);
    assert!(lines[1].starts_with("api:prod  running  "), "{:?}", lines[1]);
    assert!(lines[1].contains("9.5 MiB") && lines[1].contains("d ago"), "{:?}", lines[1]);
    assert!(lines[1].ends_with("http://prod.api.example.com:8080/"), "{:?}", lines[1]);
    assert!(!run.out.contains('\x1b'));
    assert!(run.err.is_empty());
}

#[test]
fn ps_json_is_the_answer_of_the_api() {
    let run = two().ten(&["ps", "--json"]).exits(0);
    assert_eq!(run.json()["instances"][0], view("api:prod", "running"));
}

#[test]
fn quiet_ps_prints_names_only() {
    assert_eq!(two().ten(&["ps", "--quiet"]).exits(0).out, "api:prod\nweb:1\n");
}

#[test]
fn ps_of_a_process_asks_for_that_process() {
    let fake = Fake::start(|_| (200, json!({"instances": []})));
    let run = fake.ten(&["ps", "api"]).exits(0);
    assert_eq!(fake.asked(), ["GET /api/v1/instances?process=api"]);
    assert!(run.out.is_empty());
    assert!(run.err.contains("ten spawn"), "{}", run.err);
}

#[test]
fn ps_filters_and_follows_every_page() {
    let fake = Fake::start(|asked| {
        let last = asked.line.contains("cursor=api:prod");
        let next = if last { json!(null) } else { json!("api:prod") };
        let name = if last { "web:1" } else { "api:prod" };
        (200, json!({"instances": [view(name, "running")], "total": 2, "next": next}))
    });
    let run =
        fake.ten(&["ps", "-q", "--process", "api", "--state", "running", "--text", "a&b"]).exits(0);
    assert_eq!(run.out, "api:prod\nweb:1\n");
    let query = "GET /api/v1/instances?process=api&state=running&text=a%26b";
    assert_eq!(fake.asked(), [query.to_owned(), format!("{query}&cursor=api:prod")]);
    let run = fake.ten(&["ps", "--state", "dreaming"]).exits(2);
    assert!(run.err.contains("asleep"), "{}", run.err);
}

#[test]
fn a_wait_goes_along_with_every_verb() {
    let fake = Fake::start(|_| (200, view("api:prod", "running")));
    for (args, line) in [
        (
            vec!["wake", "api:a", "--wait", "healthy"],
            "POST /api/v1/instances/api:a/wake?wait=healthy&timeout=30s",
        ),
        (
            vec!["sleep", "--force", "api:a", "--wait", "asleep", "--wait-timeout", "5"],
            "POST /api/v1/instances/api:a/sleep?force=true&wait=asleep&timeout=5s",
        ),
        (
            vec!["show", "-q", "api:a", "--wait", "running"],
            "GET /api/v1/instances/api:a?wait=running&timeout=30s",
        ),
    ] {
        fake.ten(&args).exits(0);
        assert_eq!(fake.asked().last().unwrap(), line, "{args:?}");
    }
    fake.ten(&["wake", "api:a", "--wait", "up"]).exits(2);
    fake.ten(&["wake", "api:a", "--wait-timeout", "5"]).exits(2);
}

#[test]
fn processes_and_metrics_print_what_the_agent_says() {
    let process = json!({"name": "api", "command": ["app", "-x"], "listen": "fd", "idle_timeout_s": 60, "instances": 1,
        "spawn_on_request": true, "env": ["KEY"], "limits": {"memory_max": 268435456}});
    let answer = process.clone();
    let fake = Fake::start(move |asked| match asked.line.as_str() {
        "GET /api/v1/processes" => (200, json!({"processes": [answer]})),
        "GET /api/v1/processes/api" => (200, answer.clone()),
        _ => (
            200,
            json!({"instances": 3, "states": {"running": 1, "asleep": 2}, "tiers": {}, "in_flight": 0, "wakes": 7,
            "processes": 1, "traffic": {"connections": 1, "connections_refused": 0, "requests": 9, "requests_refused": 0,
            "failures": 0, "retries": 0, "upgrades": 0}}),
        ),
    });
    assert!(fake.ten(&["processes"]).exits(0).out.contains("app -x"));
    let one = fake.ten(&["processes", "api"]).exits(0).out;
    assert!(one.contains("memory_max=256M") && one.contains("KEY"), "{one}");
    let metrics = fake.ten(&["metrics"]).exits(0).out;
    assert!(
        metrics.contains("3: 2 asleep, 1 running") && metrics.contains("9, 0 refused"),
        "{metrics}"
    );
}

#[test]
fn spawn_sends_process_and_ids_in_every_spelling() {
    for (args, body) in [
        (vec!["spawn", "api:prod"], r#"{"process":"api","ids":["prod"],"start":true}"#),
        (vec!["spawn", "api", "--id", "prod"], r#"{"process":"api","ids":["prod"],"start":true}"#),
        (
            vec!["spawn", "api", "--id", "a", "--id", "b", "--no-start"],
            r#"{"process":"api","ids":["a","b"],"start":false}"#,
        ),
        (vec!["spawn", "api"], r#"{"process":"api","ids":[],"start":true}"#),
    ] {
        let fake = Fake::start(|_| (201, json!({"instances": [view("api:prod", "running")]})));
        let run = fake.ten(&args).exits(0);
        assert_eq!(fake.asked(), [format!("POST /api/v1/instances {body}")]);
        assert!(run.out.contains("http://prod.api.example.com:8080/"), "{}", run.out);
    }
}

#[test]
fn a_spawn_that_exists_is_a_conflict() {
    let fake = Fake::start(|_| {
        problem(409, "already_exists", "api:prod is already registered", "see ten ps")
    });
    let run = fake.ten(&["spawn", "api:prod"]).exits(6);
    assert_eq!(run.err, "error: api:prod is already registered\nhint: see ten ps\n");
}

#[test]
fn a_verb_on_several_instances_goes_on_after_a_failure() {
    let fake = Fake::start(|asked| {
        if asked.line.contains("api:b") {
            return problem(404, "unknown_instance", "there is no instance api:b", "ten ps");
        }
        (200, view("api:a", "asleep"))
    });
    let run = fake.ten(&["stop", "api:b", "api:a"]).exits(3);
    assert_eq!(
        fake.asked(),
        ["POST /api/v1/instances/api:b/stop", "POST /api/v1/instances/api:a/stop"]
    );
    assert!(run.out.contains("api:a  asleep"), "{}", run.out);
    assert!(run.err.contains("there is no instance api:b"), "{}", run.err);
}

#[test]
fn each_verb_asks_its_own_route() {
    for (args, line) in [
        (vec!["wake", "api:a"], "POST /api/v1/instances/api:a/wake"),
        (vec!["start", "api:a"], "POST /api/v1/instances/api:a/wake"),
        (vec!["sleep", "api:a"], "POST /api/v1/instances/api:a/sleep"),
        (vec!["sleep", "--force", "api:a"], "POST /api/v1/instances/api:a/sleep?force=true"),
        (vec!["stop", "api:a"], "POST /api/v1/instances/api:a/stop"),
        (vec!["restart", "api:a"], "POST /api/v1/instances/api:a/restart"),
    ] {
        let fake = Fake::start(|_| (200, view("api:a", "running")));
        let mut json = args.clone();
        json.push("--json");
        let run = fake.ten(&json).exits(0);
        assert_eq!(fake.asked(), [line]);
        assert_eq!(
            run.json(),
            json!({"instances": [view("api:a", "running")], "total": 1}),
            "{args:?}"
        );
    }
}

#[test]
fn rm_keeps_data_and_purge_asks_before_it_deletes_any() {
    let removed = |purged: bool| json!({"name": "api:a", "data_dir": "/d/api/a", "purged": purged, "domains": []});
    let fake = Fake::start(move |asked| (200, removed(asked.line.contains("purge=true"))));
    let run = fake.ten(&["rm", "api:a"]).exits(0);
    assert_eq!(run.err, "api:a is removed; its data in /d/api/a is kept\n");
    let run = fake.ten(&["rm", "api:a", "--purge"]).exits(2);
    assert!(run.err.contains("--yes"), "{}", run.err);
    assert_eq!(fake.asked(), ["DELETE /api/v1/instances/api:a"], "deleted without asking");
    let run = fake.ten(&["rm", "api:a", "--purge", "--yes", "--json"]).exits(0);
    assert_eq!(run.json(), json!({"removed": [removed(true)]}));
    assert_eq!(fake.asked()[1], "DELETE /api/v1/instances/api:a?purge=true");
}

#[test]
fn show_prints_facts_or_the_view_itself() {
    let fake = Fake::start(|asked| {
        if asked.line == "GET /api/v1/instances/api:a/history?limit=5" {
            return (200, history());
        }
        assert_eq!(asked.line, "GET /api/v1/instances/api:a");
        let mut failed = view("api:a", "failed");
        failed["failure"] = json!("exit code 1\u{1b}[31m");
        (200, failed)
    });
    let run = fake.ten(&["show", "api:a"]).exits(0);
    assert!(run.out.contains("failure        exit code 1\\u{1b}[31m\n"), "{}", run.out);
    assert!(run.out.contains("sleeps         after 5m without a request\n"), "{}", run.out);
    for line in [
        "systemd        active (running), since ",
        "memory         9.5 MiB, at most 20 MiB\n",
        "cpu            1.2 s\n",
        "disk           0 B read, 4.0 KiB written\n",
        "network        -\n",
        "history        starting → running (request), ",
    ] {
        assert!(run.out.contains(line), "no {line:?} in {}", run.out);
    }
    assert!(!run.out.contains('\x1b'));
    assert_eq!(fake.ten(&["show", "api:a", "--json"]).json()["unit"], "ten-api@a.service");
    assert_eq!(fake.ten(&["show", "api:a", "-q"]).out, "failed\n");
}

fn history() -> serde_json::Value {
    json!({"name": "api:a", "uuid": "u", "dropped": 0, "entries": [
        {"time_ms": 1_700_000_000_000_u64, "from": "starting", "to": "running", "cause": "request"},
        {"time_ms": 1_699_999_999_000_u64, "from": "asleep", "to": "starting", "cause": "request"},
    ]})
}

#[test]
fn history_shows_what_changed_and_why_newest_first() {
    let fake = Fake::start(|_| (200, history()));
    let run = fake.ten(&["history", "api:a", "-n", "2"]).exits(0);
    assert_eq!(fake.asked(), ["GET /api/v1/instances/api:a/history?limit=2"]);
    let lines: Vec<&str> = run.out.lines().collect();
    assert!(lines[1].starts_with("2023-11-14 22:13:20Z  "), "{}", run.out);
    assert!(lines[1].ends_with("starting  running   request"), "{}", run.out);
    assert!(lines[2].ends_with("asleep    starting  request"), "{}", run.out);
    assert_eq!(fake.ten(&["history", "api:a", "--json"]).exits(0).json(), history());
    fake.ten(&["history", "api:a", "-n", "101"]).exits(2);
}

#[test]
fn ps_wide_adds_columns_and_keeps_the_narrow_ones() {
    let run = two().ten(&["ps", "--wide"]).exits(0);
    for heading in ["TIER", "CPU", "TASKS", "RESTARTS", "DISK R/W", "NET IN/OUT", "URL"] {
        assert!(run.out.lines().next().unwrap().contains(heading), "{}", run.out);
    }
    assert!(run.out.contains("0 B / 4.0 KiB"), "{}", run.out);
}

#[test]
fn why_says_the_reason_and_what_holds_it() {
    let why = json!({
        "instance": view("api:a", "running"), "reason": "a request woke it 3 s ago",
        "holds": ["2 open requests", "1 WebSocket"], "sleeps_in_s": null,
        "next_request": "is served at once",
    });
    let answer = why.clone();
    let fake = Fake::start(move |_| (200, answer.clone()));
    let run = fake.ten(&["why", "api:a"]).exits(0);
    assert_eq!(
        run.out,
        "api:a is running: a request woke it 3 s ago\n\
         held by       2 open requests, 1 WebSocket\n\
         tier          running\n\
         next step     -\n\
         next request  is served at once\n"
    );
    assert_eq!(fake.ten(&["why", "api:a", "--json"]).json(), why);
}

#[test]
fn watching_as_json_prints_a_line_for_each_change_only() {
    use std::io::{BufRead, BufReader};
    use std::sync::atomic::{AtomicU32, Ordering};
    let count = AtomicU32::new(0);
    let fake = Fake::start(move |_| {
        let state = if count.fetch_add(1, Ordering::SeqCst) < 2 { "starting" } else { "running" };
        (200, json!({"instances": [view("api:a", state)]}))
    });
    let mut child = support::ten(fake.dir.path())
        .env("TENEMENT_SOCKET", &fake.socket)
        .args(["ps", "--watch", "--json"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines: Vec<serde_json::Value> = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .take(2)
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(lines[0]["instances"][0]["state"], "starting");
    assert_eq!(lines[1]["instances"][0]["state"], "running");
}
