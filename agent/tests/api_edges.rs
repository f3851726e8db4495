//! What every route must do at the edges of a request: generated from the document where that goes, so that a new
//! route is in it by itself.

mod api_support;

use std::time::Duration;

use api_support::outside::{Outside, reach};
use api_support::{Door, Reply, read};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tenement_agent::api::Access;
use tenement_agent::flows::ManageError;
use tenement_agent::flows::events::{Events, Keep};
use tenement_agent::store::events::EventStore;
use tenement_wire::Scope;

const KEEP: Keep = Keep { age: Duration::ZERO, count: 1_000_000, routine: 1_000_000 };

fn door() -> Door {
    Door::open(Access::user())
}

/// Method and path of every operation.
async fn operations(door: &Door) -> Vec<(String, String)> {
    let document = door.ask("GET /api/v1/openapi.json", "").await.body;
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            all.push((method.to_uppercase(), path.clone()));
        }
    }
    assert!(all.len() > 60, "the document has hardly any routes");
    all
}

fn filled(path: &str) -> String {
    let path = path.replace("{name}", "api:prod").replace("{secret}", "KEY");
    let path = path.replace("{id}", "aaaaaaaaaaaa").replace("{release}", "v2");
    let path = path.replace("{process}", "api").replace("{domain}", "shop.customer.com");
    path.replace("{job}", "nightly")
}

#[tokio::test]
async fn an_unknown_query_parameter_is_named_by_every_route() {
    let door = door();
    for (method, path) in operations(&door).await {
        // Scrapers may be configured to send parameters, which mean nothing there.
        if path == "/metrics" {
            continue;
        }
        let line = format!("{method} {}?nobody_knows=1", filled(&path));
        let reply = door.ask(&line, "").await;
        assert_eq!(
            (reply.status, &reply.body["code"]),
            (422, &json!("invalid_request")),
            "{line}: {reply:?}"
        );
        let named = reply.body["errors"].to_string();
        assert!(named.contains("nobody_knows"), "{line}: {named}");
        assert!(door.fake.told().is_empty(), "{line} reached a verb");
    }
}

#[tokio::test]
async fn a_path_that_is_no_utf_8_is_a_problem_on_every_route() {
    let door = door();
    for (method, path) in operations(&door).await {
        let Some((before, rest)) = path.split_once('{') else { continue };
        let after = rest.split_once('}').unwrap().1;
        let line = format!("{method} {before}%ff{}", filled(after));
        let reply = door.ask(&line, "").await;
        assert!(reply.head.contains("application/problem+json"), "{line}: {reply:?}");
        assert_eq!((reply.status, &reply.body["code"]), (400, &json!("malformed")), "{line}");
    }
}

#[tokio::test]
async fn what_an_open_path_does_not_take_is_405_without_a_token_too() {
    let outside = Outside::new();
    for (line, allow) in [
        ("TRACE /api/v1/health", "GET"),
        ("POST /api/health", "GET"),
        ("TRACE /api/v1/openapi.json", "GET"),
        ("DELETE /healthz", "GET"),
    ] {
        let answer = outside.ask(line, None, "").await;
        assert_eq!((answer.status, answer.code()), (405, "method_not_allowed"), "{line}");
        assert_eq!(answer.headers["allow"], allow, "{line}");
    }
    // One of its methods is for those who have a token.
    assert_eq!(outside.ask("TRACE /api/v1/session", None, "").await.status, 401);
}

#[tokio::test]
async fn a_field_that_is_there_twice_is_refused_at_any_depth() {
    let door = door();
    let body = r#"{"limits":{"cpu":1000,"cpu":2000}}"#;
    let reply = door.ask("PATCH /api/v1/instances/api:prod", body).await;
    assert_eq!((reply.status, &reply.body["code"]), (400, &json!("malformed")), "{reply:?}");
    assert!(reply.body["detail"].as_str().unwrap().contains("is there twice"), "{reply:?}");
    assert!(door.fake.told().is_empty());
}

async fn keyed(door: &Door, line: &str, body: &str) -> Reply {
    let len = body.len();
    let request = format!(
        "{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nIdempotency-Key: k\r\nContent-Length: {len}\r\n\r\n{body}"
    );
    read(door.send(&request).await).await
}

#[tokio::test]
async fn a_key_does_not_bound_the_bodies_of_routes_that_stream() {
    let door = door();
    let archive = "x".repeat(3 << 19);
    for _ in 0..2 {
        let reply = keyed(&door, "POST /api/v1/instances/api:a/restore", &archive).await;
        assert_eq!(
            (reply.status, &reply.body["code"]),
            (502, &json!("backup_failed")),
            "{reply:?}"
        );
        let reply = keyed(&door, "POST /api/v1/instances/api:a/run", "xxxxx").await;
        assert_eq!((reply.status, &reply.body["code"]), (400, &json!("malformed")), "{reply:?}");
        assert!(!reply.head.contains("idempotent-replayed"), "{reply:?}");
    }
    let document = door.ask("GET /api/v1/openapi.json", "").await.body;
    for (method, path) in operations(&door).await {
        let operation = &document["paths"][&path][method.to_lowercase()];
        let offered = operation["parameters"].to_string().contains("Idempotency-Key");
        let streams = path.ends_with("/restore")
            || path.ends_with("/run") && !path.contains("{job}")
            || path.ends_with("/releases");
        let changes = ["POST", "PATCH", "DELETE"].contains(&method.as_str());
        assert_eq!(offered, changes && !streams, "{method} {path}");
    }
}

#[tokio::test]
async fn what_is_done_under_a_key_knows_its_request() {
    let door = door();
    for header in ["X-None: 1", "Idempotency-Key: k"] {
        let request = format!(
            "POST /api/v1/instances/api:a/wake HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\nContent-Length: 0\r\n\r\n"
        );
        assert_eq!(read(door.send(&request).await).await.status, 200);
    }
    // Without events nothing is done within a request.
    assert_eq!(*door.fake.requests.lock().unwrap(), [None, None]);

    let dir = tempfile::tempdir().unwrap();
    let events = Events::new(EventStore::open(&dir.path().join("events.db"), KEEP));
    let door = Door::open_events(events);
    let reply = keyed(&door, "POST /api/v1/instances/api:a/wake", "").await;
    let known = door.fake.requests.lock().unwrap()[0].clone().expect("its id");
    assert!(reply.head.contains(&known), "{known}: {reply:?}");
}

#[tokio::test]
async fn a_restore_of_a_kept_backup_takes_no_body() {
    let door = door();
    let line = "POST /api/v1/instances/api:a/restore?from=latest";
    let reply = door.ask(line, "{}").await;
    assert_eq!(
        (reply.status, &reply.body["errors"][0]["field"]),
        (422, &json!("from")),
        "{reply:?}"
    );
    assert_eq!(door.ask(line, "").await.body["code"], "backup_failed");
    let document = door.ask("GET /api/v1/openapi.json", "").await.body;
    let restore = &document["paths"]["/api/v1/instances/{name}/restore"]["post"];
    assert_eq!(restore["requestBody"]["required"], json!(false));
}

#[tokio::test]
async fn a_refused_restore_is_answered_after_its_body_was_taken() {
    let door = door();
    let archive = "x".repeat(4 << 20);
    let line = "POST /api/v1/instances/api:a/restore?nobody_knows=1";
    let reply = door.ask(line, &archive).await;
    assert_eq!((reply.status, &reply.body["code"]), (422, &json!("invalid_request")), "{reply:?}");
}

#[tokio::test]
async fn where_backups_go_is_not_told_to_those_who_see_only_some_instances() {
    let outside = Outside::new();
    for (restricted_to, told) in [("", true), ("api", false), ("api:prod", false)] {
        let (token, _) = outside.token(Scope::Read, reach(restricted_to)).await;
        let answer = outside.ask("GET /api/v1/instances/api:prod/backups", Some(&token), "").await;
        assert_eq!((answer.status, answer.code()), (502, "backup_failed"), "{answer:?}");
        let detail = answer.body.to_string();
        assert_eq!(detail.contains("makes no backups"), told, "{restricted_to}: {detail}");
    }
}

#[tokio::test]
async fn releases_of_an_unknown_process_are_no_empty_list() {
    let door = door();
    let reply = door.ask("GET /api/v1/processes/nope/releases", "").await;
    assert_eq!((reply.status, &reply.body["code"]), (404, &json!("unknown_process")), "{reply:?}");
    assert_eq!(door.ask("GET /api/v1/releases", "").await.body, json!({"releases": []}));
}

#[tokio::test]
async fn whoever_is_told_that_there_are_too_many_is_told_when_to_come_back() {
    let door = door();
    door.fails(ManageError::TooMany { what: "commands" });
    let reply = door.ask("POST /api/v1/instances/api:a/wake", "").await;
    assert_eq!((reply.status, &reply.body["code"]), (503, &json!("too_many")), "{reply:?}");
    assert!(reply.head.contains("retry-after: "), "{reply:?}");
}

#[tokio::test(start_paused = true)]
async fn a_token_waits_in_a_few_requests_and_is_told_when_they_are_too_many() {
    let outside = Outside::new();
    let (token, _) = outside.token(Scope::Read, reach("")).await;
    // Whoever asks first computes the hash of the token for all.
    outside.ask("GET /api/v1/version", Some(&token), "").await;
    let line = "GET /api/v1/instances/api:a?wait=asleep&timeout=30s";
    let waits = join_all((0..13).map(|_| outside.ask(line, Some(&token), ""))).await;
    let refused: Vec<_> = waits.iter().filter(|answer| answer.status == 503).collect();
    assert_eq!((refused.len(), refused[0].code()), (1, "too_many"), "{waits:?}");
    assert!(refused[0].headers.contains_key("retry-after"));
    assert_eq!(waits.iter().filter(|answer| answer.code() == "not_reached").count(), 12);
    // The seats are free again.
    assert_eq!(outside.ask(line, Some(&token), "").await.code(), "not_reached");
}

#[tokio::test]
async fn changes_of_processes_and_domains_are_events_of_them_and_seen_by_their_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let events = Events::new(EventStore::open(&dir.path().join("events.db"), KEEP));
    let outside = Outside::with_events(events);
    let (host, _) = outside.token(Scope::Admin, reach("")).await;
    let (own, _) = outside.token(Scope::Operator, reach("api")).await;
    let (other, _) = outside.token(Scope::Read, reach("web")).await;
    for (line, body) in [
        ("POST /api/v1/processes/api/deploys", r#"{"release":"v2"}"#),
        ("POST /api/v1/processes/api/rollback", ""),
        ("POST /api/v1/processes/api/route", r#"{"to":"a"}"#),
        ("POST /api/v1/processes/api/releases/v2/use", ""),
        ("DELETE /api/v1/processes/api/releases/v2", ""),
        ("POST /api/v1/domains", r#"{"domain":"a.example","target":"api:prod"}"#),
        ("PUT /api/v1/instances/api:prod/pin", r#"{"release":"v2"}"#),
        ("POST /api/v1/instances/api:prod/backups", ""),
        ("POST /api/v1/instances/api:prod/restore?from=latest", ""),
        ("DELETE /api/v1/domains/a.example", ""),
    ] {
        outside.ask(line, Some(if line.contains("restore") { &host } else { &own }), body).await;
    }
    // What it tries with others' is not for those to read.
    let foreign = r#"{"domain":"b.example","target":"web"}"#;
    outside.ask("POST /api/v1/domains", Some(&own), foreign).await;
    let of_host = outside.ask("GET /api/v1/events?kind=change&process=api", Some(&host), "").await;
    let said = |body: &Value| {
        let events = body["events"].as_array().unwrap().clone();
        let mut said: Vec<String> = Vec::new();
        for event in events {
            said.push(event["message"].as_str().unwrap().split(": ").next().unwrap().to_owned());
        }
        said.reverse();
        said
    };
    let wanted = [
        "deploy api",
        "roll api back",
        "move requests of api",
        "run api from release v2",
        "remove release v2 of api",
        "add a custom domain",
        "pin api:prod",
        "back up api:prod",
        "restore api:prod",
        "remove domain a.example",
    ];
    assert_eq!(said(&of_host.body), wanted, "{of_host:?}");
    let of_own = outside.ask("GET /api/v1/events?kind=change", Some(&own), "").await;
    assert_eq!(said(&of_own.body), wanted);
    let of_other = outside.ask("GET /api/v1/events?kind=change", Some(&other), "").await;
    assert_eq!(said(&of_other.body), [""; 0]);
}
