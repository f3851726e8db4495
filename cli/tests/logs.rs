//! `ten logs`, against a fake agent.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use support::{Fake, problem, run, ten};

fn line(seq: u64, name: &str, level: &str, message: &str) -> Value {
    let (process, id) = name.split_once(':').unwrap();
    json!({
        "seq": seq, "timestamp": "2026-01-31T12:00:00.123456Z", "level": level, "process": process,
        "instance_id": id, "source": "instance", "message": message,
    })
}

/// An agent with one page of lines.
fn page(lines: Vec<Value>) -> Fake {
    Fake::start(move |_| (200, json!({"lines": lines, "next": null, "stopped": null})))
}

fn utc(fake: &Fake, args: &[&str]) -> support::Run {
    run(ten(fake.dir.path())
        .env("TENEMENT_SOCKET", &fake.socket)
        .env("TZ", "UTC")
        .arg("logs")
        .args(args))
}

#[test]
fn the_newest_lines_are_shown_from_old_to_new_with_indented_traces() {
    let fake = page(vec![
        line(2, "api:prod", "error", "Traceback:\n  at main"),
        line(1, "api:prod", "info", "hello"),
    ]);
    let run = utc(&fake, &["api:prod"]).exits(0);
    assert_eq!(
        run.out,
        "2026-01-31 12:00:00.123 info   hello\n2026-01-31 12:00:00.123 error  Traceback:\n      at main\n"
    );
    assert!(run.err.is_empty(), "{}", run.err);
    assert_eq!(fake.asked(), ["GET /api/v1/logs?instance=api:prod&limit=100"]);
}

#[test]
fn several_instances_have_a_column() {
    let fake = page(vec![line(2, "web:longer", "warn", "b"), line(1, "api:1", "info", "a")]);
    let run = utc(&fake, &[]).exits(0);
    assert_eq!(
        run.out,
        "2026-01-31 12:00:00.123 info   api:1 a\n2026-01-31 12:00:00.123 warn   web:longer b\n"
    );
}

#[test]
fn nothing_that_a_tenant_prints_steers_the_terminal() {
    let hostile = "\u{1b}]0;pwned\u{7}\u{1b}[2J\u{9b}31m\u{202e}txt\u{200b}\r\u{1b}[31mred\u{1b}[m";
    for args in [vec![], vec!["--ansi"], vec!["--json"], vec!["--quiet"], vec!["api:prod"]] {
        let run = utc(&page(vec![line(1, "api:prod", "info", hostile)]), &args).exits(0);
        for c in ['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}', '\u{200b}', '\r'] {
            assert!(!run.out.contains(c), "{args:?}: {c:?} in {:?}", run.out);
        }
        if args == ["--json"] {
            assert_eq!(run.json()["message"], hostile, "a program gets it as it is");
        } else {
            let shown = "\\u{1b}]0;pwned\\u{7}\\u{1b}[2J\\u{9b}31m\\u{202e}txt\\u{200b}\\u{d}red";
            assert!(run.out.contains(shown), "{args:?}: {:?}", run.out);
        }
    }
}

#[test]
fn what_is_asked_reaches_the_agent_and_names_of_verbs_are_processes_too() {
    for (args, wanted) in [
        (vec!["api", "-n", "5"], "logs?process=api&limit=5"),
        (vec!["--process", "usage", "--level", "warn"], "logs?process=usage&level=warn&limit=100"),
        (
            vec!["api:prod", "--search", "-a \"b c\""],
            "logs?instance=api:prod&search=-a%20%22b%20c%22&limit=100",
        ),
        (vec!["usage:prod"], "logs?instance=usage:prod&limit=100"),
    ] {
        let fake = page(vec![]);
        utc(&fake, &args).exits(0);
        assert_eq!(fake.asked(), [format!("GET /api/v1/{wanted}")]);
    }
    let fake = page(vec![]);
    utc(&fake, &["--since", "-1h", "-n", "5"]).exits(0);
    assert!(fake.asked()[0].starts_with("GET /api/v1/logs?since=-1h&"), "{:?}", fake.asked());
}

#[test]
fn more_lines_than_a_page_are_asked_page_by_page() {
    let fake = Fake::start(|asked| {
        let first = !asked.line.contains("before");
        let seqs = if first { 1001..=2000_u64 } else { 1..=1000 };
        let lines: Vec<_> =
            seqs.rev().map(|seq| line(seq, "api:a", "info", &format!("n{seq}"))).collect();
        (
            200,
            json!({"lines": lines, "next": if first { Some(1001) } else { None }, "stopped": null}),
        )
    });
    let run = utc(&fake, &["-n", "5000", "--quiet"]).exits(0);
    assert!(run.out.lines().eq((1..=2000).map(|n| format!("n{n}"))));
}

#[test]
fn a_search_that_stopped_early_is_told() {
    let fake = Fake::start(|_| (200, json!({"lines": [], "next": 5, "stopped": "time"})));
    let run = utc(&fake, &["--search", "x"]).exits(0);
    assert!(run.err.contains("stopped early (its time was over)"), "{}", run.err);
}

#[test]
fn all_and_since_read_everything_from_old_to_new() {
    for args in [vec!["--all"], vec!["--since", "today"]] {
        let body = format!("{}\n{}\n", line(1, "a:b", "info", "x"), line(2, "a:b", "info", "y"));
        let fake = Fake::start(move |_| (200, json!(body)));
        let run = utc(&fake, &[&args[..], &["--json"]].concat()).exits(0);
        let seqs: Vec<_> = run
            .out
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].clone())
            .collect();
        assert_eq!(seqs, [1, 2]);
        assert!(fake.asked()[0].starts_with("GET /api/v1/logs/export?"), "{:?}", fake.asked());
    }
}

#[test]
fn follow_goes_on_after_the_last_event_when_the_agent_restarts() {
    let times = AtomicUsize::new(0);
    let fake = Fake::start(move |asked| match times.fetch_add(1, Ordering::SeqCst) {
        0 => {
            assert!(
                asked.line.ends_with("/logs/stream?instance=api:prod&tail=100"),
                "{}",
                asked.line
            );
            assert_eq!(asked.last_event_id, None);
            let one = line(7, "api:prod", "info", "first");
            (
                200,
                json!(format!(
                    "retry: 1000\n\n: alive\n\nid: 7\ndata: {one}\n\n: the agent stops\n\n"
                )),
            )
        }
        1 => problem(503, "unavailable", "it starts", "wait"),
        2 => {
            assert_eq!(asked.last_event_id.as_deref(), Some("7"));
            let two = line(9, "api:prod", "info", "second");
            let missed = "event: missed\ndata: {\"count\":3,\"next\":9}\n\n";
            (200, json!(format!("{missed}id: 9\ndata: {two}\n\n")))
        }
        _ => {
            assert_eq!(asked.last_event_id.as_deref(), Some("9"));
            problem(422, "invalid_request", "enough", "")
        }
    });
    let run = utc(&fake, &["api:prod", "-f"]).exits(2);
    let shown: Vec<_> = run.out.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
    assert_eq!(shown, ["first", "second"]);
    assert!(run.err.contains("3 lines were left out"), "{}", run.err);
}

#[test]
fn an_agent_without_an_index_leads_to_the_journal() {
    let fake = Fake::start(|_| problem(503, "logs_off", "logs are not indexed: off", "see"));
    let run = run(ten(fake.dir.path())
        .env("TENEMENT_SOCKET", &fake.socket)
        .env("PATH", fake.dir.path())
        .args(["logs", "api:prod"]));
    assert!(
        run.err.contains("logs are not indexed") && run.err.contains("journalctl"),
        "{}",
        run.err
    );
}

#[test]
fn wrong_options_of_a_search_are_the_agents_errors() {
    let fake = Fake::start(|_| problem(422, "invalid_request", "search: column 1: x", "see"));
    assert!(utc(&fake, &["--search", "\"a"]).exits(2).err.contains("column 1"));
    utc(&page(vec![]), &["api:prod", "-n", "0"]).exits(2);
    utc(&page(vec![]), &["API"]).exits(2);
}

#[test]
fn export_writes_bytes_as_they_come_and_overwrites_nothing() {
    let fake = Fake::start(|_| (200, json!("MESSAGE=x\n\n")));
    let args = ["export", "api", "--format", "export", "--since", "@1", "-o", "out"];
    utc(&fake, &args).exits(0);
    assert_eq!(std::fs::read_to_string(fake.dir.path().join("out")).unwrap(), "MESSAGE=x\n\n");
    assert!(fake.asked()[0].contains("/logs/export?process=api&since=%401"), "{:?}", fake.asked());
    assert!(fake.asked()[0].ends_with("&format=export"), "{:?}", fake.asked());
    utc(&fake, &args).exits(6);
    assert_eq!(utc(&fake, &["export", "--format", "text"]).exits(0).out, "MESSAGE=x\n\n");
}

#[test]
fn usage_and_sql_are_tables() {
    let fake = Fake::start(|asked| {
        if asked.line.contains("usage") {
            let one = json!({"process": "api", "instance_id": "prod", "bytes": 2048, "lines": 9,
                "days": 2, "oldest_ms": 0, "newest_ms": 0});
            let day = json!({"day": "2026-01-31", "bytes": 4096, "lines": 9});
            return (200, json!({"bytes": 4096, "lines": 9, "days": [day], "instances": [one]}));
        }
        assert_eq!(asked.body, r#"{"sql":"SELECT 1"}"#);
        (
            200,
            json!({"columns": ["n", "t"], "rows": [[1, "a\u{1b}[2J"], [null, "b"]], "stopped": "time"}),
        )
    });
    let run = utc(&fake, &["usage"]).exits(0);
    assert!(run.out.contains("api:prod  2.0 KiB  9      2"), "{}", run.out);
    let run = utc(&fake, &["sql", "SELECT 1"]).exits(0);
    assert!(run.out.starts_with("n  t\n1  a\\u{1b}[2J\n"), "{:?}", run.out);
    assert!(run.err.contains("stopped early"), "{}", run.err);
}
