//! Exit codes and hints: of the agent's errors, and of an agent that can't be reached.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use serde_json::{Value, json};
use support::{Fake, problem, run, ten};

#[test]
fn each_error_of_the_agent_has_its_exit_code() {
    for (status, code, exit) in [
        (404, "unknown_instance", 3),
        (404, "unknown_process", 3),
        (404, "no_route", 1),
        (403, "forbidden", 4),
        (409, "already_exists", 6),
        (409, "busy", 6),
        (409, "in_use", 6),
        (503, "start_failed", 8),
        (504, "timed_out", 7),
        (503, "unavailable", 5),
        (422, "invalid_request", 2),
        (422, "config_rejected", 1),
        (507, "store_full", 1),
        (500, "internal", 1),
    ] {
        let fake = Fake::start(move |_| problem(status, code, "it went wrong", "do this"));
        let run = fake.ten(&["wake", "api:a"]).exits(exit);
        assert_eq!(run.err, "error: it went wrong\nhint: do this\n", "{code}");
        assert!(run.out.is_empty());
    }
}

#[test]
fn an_error_without_a_hint_still_says_what_to_do() {
    let fake = Fake::start(|_| {
        (500, json!({"status": 500, "code": "internal", "detail": "x", "request_id": "r-9"}))
    });
    let run = fake.ten(&["wake", "api:a"]).exits(1);
    assert!(run.err.contains("hint: ") && run.err.contains("r-9"), "{}", run.err);
}

#[test]
fn with_json_the_error_is_json_too() {
    let fake = Fake::start(|_| {
        let (status, mut value) = problem(422, "invalid_request", "2 fields", "see");
        value["errors"] = json!([{"field": "ids[0]", "message": "is bad"}]);
        (status, value)
    });
    let run = fake.ten(&["wake", "api:a", "--json"]).exits(2);
    let error: Value = serde_json::from_str(&run.err).unwrap();
    assert_eq!(error["code"], "invalid_request");
    assert_eq!(error["exit_code"], 2);
    assert_eq!(error["request_id"], "r-1");
    assert_eq!(error["errors"][0]["field"], "ids[0]");
    let run = fake.ten(&["wake", "api:a"]).exits(2);
    assert!(run.err.contains("\n  ids[0]: is bad\n"), "{}", run.err);
}

#[test]
fn what_the_agent_says_can_not_steer_the_terminal() {
    let fake = Fake::start(|_| problem(409, "busy", "a\u{1b}[2Jb\rc", "d\u{7}"));
    let run = fake.ten(&["wake", "api:a"]).exits(6);
    assert_eq!(run.err, "error: a\\u{1b}[2Jb\\rc\nhint: d\\u{7}\n");
}

#[test]
fn an_answer_that_is_no_json_is_a_failure_that_points_to_the_versions() {
    let fake = Fake::start(|_| (200, json!("what?")));
    assert!(fake.ten(&["ps"]).exits(1).err.contains("ten version"));
    let fake = Fake::start(|_| (502, json!("bad gateway")));
    assert!(fake.ten(&["ps"]).exits(1).err.contains("502"));
}

#[test]
fn a_missing_socket_a_dead_one_and_a_forbidden_one_have_three_hints() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("a.sock");
    let ps = || run(ten(dir.path()).arg("--socket").arg(&socket).arg("ps"));

    let missing = ps().exits(5);
    assert!(
        missing.err.contains("hint: start it: sudo systemctl start tenement\n"),
        "{}",
        missing.err
    );

    drop(UnixListener::bind(&socket).unwrap());
    let dead = ps().exits(5);
    assert!(dead.err.contains("restart tenement-admin.socket tenement"), "{}", dead.err);

    // Root may do everything, so the refusal can be seen by others only.
    if !rustix::process::geteuid().is_root() {
        let _listener = UnixListener::bind(dir.path().join("b.sock")).unwrap();
        let closed = dir.path().join("b.sock");
        std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o000)).unwrap();
        let forbidden = run(ten(dir.path()).arg("--socket").arg(&closed).arg("ps")).exits(4);
        assert!(forbidden.err.contains("usermod -aG tenement"), "{}", forbidden.err);
    }
}

#[test]
fn an_agent_that_does_not_answer_in_time_is_a_time_out() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("a.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let run = run(ten(dir.path()).arg("--socket").arg(&socket).args(["--timeout", "1", "ps"]));
    let run = run.exits(7);
    assert!(run.err.contains("within 1 s") && run.err.contains("--timeout"), "{}", run.err);
}

#[test]
fn the_users_own_agent_is_found_by_flag() {
    let dir = tempfile::tempdir().unwrap();
    let run = run(ten(dir.path()).env("XDG_RUNTIME_DIR", dir.path()).args(["--user", "ps"]));
    let run = run.exits(5);
    assert!(run.err.contains("tenement/admin.sock"), "{}", run.err);
    assert!(run.err.contains("systemctl --user start tenement"), "{}", run.err);
}

#[test]
fn wrong_usage_is_exit_code_2_and_asks_nobody() {
    let fake = Fake::start(|_| (200, json!({"instances": []})));
    for args in [
        vec!["frobnicate"],
        vec!["show", "api"],
        vec!["show", "API:prod"],
        vec!["spawn"],
        vec!["spawn", "api:a", "--id", "b"],
        vec!["ps", "--quiet", "--json"],
        vec!["ps", "--timeout", "0"],
        vec!["--socket", "", "ps"],
    ] {
        let run = fake.ten(&args).exits(2);
        assert!(!run.err.is_empty(), "{args:?}");
    }
    assert!(fake.asked().is_empty());
    let run = fake.ten(&["show", "API:prod", "--json"]).exits(2);
    let error: Value = serde_json::from_str(&run.err).unwrap();
    assert_eq!((&error["code"], &error["exit_code"]), (&json!("usage"), &json!(2)));
    assert!(error["detail"].as_str().unwrap().contains("API:prod"), "{error}");
}
