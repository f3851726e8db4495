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
    assert!(lines[0].starts_with("NAME      STATE    SINCE"), "{:?}", lines[0]);
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
