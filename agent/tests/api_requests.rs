//! What every request may ask for beside its verb: pages, filters, waits, tags and idempotency keys.

mod api_support;

use std::sync::Arc;

use api_support::{Door, Reply, read};
use serde_json::json;
use tenement_agent::api::Access;
use tenement_agent::flows::ManageError;

fn door() -> Door {
    Door::open(Access::user())
}

/// A request with one more header.
async fn with(door: &Door, line: &str, header: &str, body: &str) -> Reply {
    read(door.send(&request(line, header, body)).await).await
}

fn request(line: &str, header: &str, body: &str) -> String {
    let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    let len = body.len();
    format!(
        "{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n{kind}Content-Length: {len}\r\n\r\n{body}"
    )
}

fn names(reply: &Reply) -> Vec<&str> {
    let list = reply.body["instances"].as_array().unwrap();
    list.iter().map(|view| view["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_list_comes_page_by_page_and_every_instance_once() {
    let door = door();
    let first = door.ask("GET /api/v1/instances?limit=1", "").await;
    assert_eq!((names(&first), &first.body["total"]), (vec!["api:a"], &json!(2)));
    assert_eq!(first.body["next"], "api:a");
    let second = door.ask("GET /api/v1/instances?limit=1&cursor=api:a", "").await;
    assert_eq!((names(&second), &second.body["total"]), (vec!["web:b"], &json!(2)));
    assert_eq!(second.body.get("next"), None, "{second:?}");
    for bad in ["limit=0", "limit=1001", "limit=x", "cursor=api", "text="] {
        let reply = door.ask(&format!("GET /api/v1/instances?{bad}"), "").await;
        assert_eq!(reply.status, 422, "{bad}: {reply:?}");
    }
}

#[tokio::test]
async fn a_list_is_filtered_by_a_text_in_the_name() {
    let door = door();
    assert_eq!(names(&door.ask("GET /api/v1/instances?text=eb:", "").await), ["web:b"]);
    assert_eq!(names(&door.ask("GET /api/v1/instances?text=nothing", "").await), [""; 0]);
}

#[tokio::test]
async fn a_wait_answers_when_the_instance_is_there_and_says_so_if_it_is_not() {
    let door = door();
    for line in [
        "GET /api/v1/instances/api:a?wait=running",
        "POST /api/v1/instances/api:a/wake?wait=healthy&timeout=1s",
        "POST /api/v1/instances/api:a/stop?wait=asleep",
        "POST /api/v1/instances/api:a/start?timeout=300s",
    ] {
        let reply = door.ask(line, "").await;
        assert_eq!(reply.status, 200, "{line}: {reply:?}");
    }
    // The fake one runs whatever it is told.
    let reply = door.ask("GET /api/v1/instances/api:a?wait=asleep&timeout=1s", "").await;
    assert_eq!((reply.status, &reply.body["code"]), (409, &json!("not_reached")), "{reply:?}");
    assert_eq!(reply.body["detail"], "api:a is running, not asleep after 1 s");
    for bad in ["wait=awake", "timeout=0s", "timeout=301s", "timeout=5", "timeout=01s"] {
        let reply = door.ask(&format!("GET /api/v1/instances/api:a?{bad}"), "").await;
        assert_eq!(reply.status, 422, "{bad}: {reply:?}");
    }
}

#[tokio::test]
async fn what_has_not_changed_is_told_with_304_and_no_body() {
    let door = door();
    for path in ["/instances", "/config", "/processes", "/version", "/metrics/summary"] {
        let line = format!("GET /api/v1{path}");
        let first = door.ask(&line, "").await;
        let tag = first.head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
        let tag = tag.replace("w/", "W/");
        assert!(first.head.contains("cache-control: private, no-cache"), "{first:?}");
        for value in [tag.clone(), format!("\"x\", {tag}"), tag.replace("W/", ""), "*".to_owned()] {
            let reply = with(&door, &line, &format!("If-None-Match: {value}"), "").await;
            assert_eq!((reply.status, &reply.body), (304, &json!(null)), "{value}: {reply:?}");
            assert!(reply.head.contains("etag: "), "{reply:?}");
        }
        let reply = with(&door, &line, "If-None-Match: \"other\"", "").await;
        assert_eq!((reply.status, &reply.body), (200, &first.body), "{reply:?}");
    }
}

#[tokio::test]
async fn a_change_under_one_key_is_made_once_and_answered_the_same() {
    let door = door();
    let line = "POST /api/v1/instances/api:a/wake";
    let first = with(&door, line, "Idempotency-Key: one", "").await;
    let again = with(&door, line, "Idempotency-Key: one", "").await;
    assert_eq!((first.status, again.status), (200, 200));
    assert_eq!(first.body, again.body);
    assert!(again.head.contains("idempotent-replayed: true"), "{again:?}");
    assert!(!first.head.contains("idempotent-replayed"), "{first:?}");
    assert_eq!(door.fake.told(), ["wake api:a"]);
    // Refusals of the request are answers too.
    for _ in 0..2 {
        let reply =
            with(&door, "DELETE /api/v1/instances/api:a?x=1", "Idempotency-Key: two", "").await;
        assert_eq!((reply.status, &reply.body["code"]), (422, &json!("invalid_request")));
    }
}

#[tokio::test]
async fn a_key_of_another_request_is_refused() {
    let door = door();
    let wake = "POST /api/v1/instances/api:a/wake";
    with(&door, wake, "Idempotency-Key: k", "").await;
    for (line, body) in [
        ("POST /api/v1/instances/api:b/wake", ""),
        ("POST /api/v1/instances/api:a/wake?wait=running", ""),
        ("POST /api/v1/instances/api:a/wake", "{}"),
        ("DELETE /api/v1/instances/api:a", ""),
    ] {
        let reply = with(&door, line, "Idempotency-Key: k", body).await;
        assert_eq!((reply.status, &reply.body["code"]), (422, &json!("key_reused")), "{line}");
    }
    let reply = with(&door, "PATCH /api/instances/api:a/wake", "Idempotency-Key: k", "").await;
    assert_eq!(reply.status, 405, "{reply:?}");
    let long = "x".repeat(256);
    for bad in ["", "two words", "\u{e9}", &long] {
        let reply = with(&door, wake, &format!("Idempotency-Key: {bad}"), "").await;
        assert_eq!(
            (reply.status, &reply.body["code"]),
            (422, &json!("invalid_request")),
            "{bad:?}"
        );
    }
    assert_eq!(door.fake.told(), ["wake api:a"]);
}

#[tokio::test]
async fn a_secret_that_is_shown_once_is_not_kept_for_a_retry() {
    let door = door();
    let make = || with(&door, "POST /api/v1/tokens", "Idempotency-Key: t", r#"{"scope":"read"}"#);
    assert_eq!(make().await.status, 201);
    let again = make().await;
    assert_eq!((again.status, &again.body["code"]), (409, &json!("already_answered")));
    let list = door.ask("GET /api/v1/tokens", "").await;
    assert_eq!(list.body["tokens"].as_array().unwrap().len(), 1, "{list:?}");
}

#[tokio::test]
async fn the_secret_of_a_second_factor_is_not_kept_for_a_retry_either() {
    let door = door();
    let made = door.ask("POST /api/v1/tokens", r#"{"scope":"admin"}"#).await;
    let line = format!("POST /api/v1/tokens/{}/totp", made.body["token"]["id"].as_str().unwrap());
    assert_eq!(with(&door, &line, "Idempotency-Key: f", "").await.status, 200);
    let again = with(&door, &line, "Idempotency-Key: f", "").await;
    assert_eq!((again.status, &again.body["code"]), (409, &json!("already_answered")));
}

#[tokio::test]
async fn a_retry_during_the_first_waits_for_its_answer_even_if_the_first_client_is_gone() {
    let door = Arc::new(door());
    let held = door.fake.hold.lock().await;
    let line = "POST /api/v1/instances/api:a/stop";
    let first = door.send(&request(line, "Idempotency-Key: k", "")).await;
    door.fake.until_told(1).await;
    drop(first);
    let retrying = door.clone();
    let retry = tokio::spawn(async move { with(&retrying, line, "Idempotency-Key: k", "").await });
    tokio::task::yield_now().await;
    drop(held);
    let retry = retry.await.unwrap();
    assert_eq!(retry.status, 200, "{retry:?}");
    assert_eq!(door.fake.told(), ["stop api:a", "stopped api:a"]);
}

#[tokio::test]
async fn a_failure_of_the_agent_is_not_kept_so_that_a_retry_is_one() {
    let door = door();
    door.fails(ManageError::Internal("x".into()));
    let line = "POST /api/v1/instances/api:a/wake";
    assert_eq!(with(&door, line, "Idempotency-Key: k", "").await.status, 500);
    assert_eq!(with(&door, line, "Idempotency-Key: k", "").await.status, 200);
    assert_eq!(with(&door, line, "Idempotency-Key: k", "").await.status, 200);
    assert_eq!(door.fake.told(), ["wake api:a", "wake api:a"]);
    let line = "POST /api/v1/instances/api:panic/wake";
    assert_eq!(with(&door, line, "Idempotency-Key: p", "").await.status, 500);
}

#[tokio::test]
async fn readiness_is_terse_and_at_the_root_too() {
    let door = door();
    for path in ["/readyz", "/api/readyz", "/healthz", "/health"] {
        let reply = door.ask(&format!("GET {path}"), "").await;
        assert_eq!((reply.status, reply.body), (200, json!({"status": "ok"})), "{path}");
    }
    door.fails(ManageError::Unavailable { what: "systemd", source: "secret cause".into() });
    let reply = door.ask("GET /readyz", "").await;
    assert_eq!((reply.status, &reply.body["code"]), (503, &json!("not_ready")));
    assert!(!reply.body.to_string().contains("systemd"), "{reply:?}");
}

#[tokio::test]
async fn an_unknown_process_is_told_with_a_hint() {
    let reply = door().ask("GET /api/v1/processes/api", "").await;
    assert_eq!((reply.status, &reply.body["code"]), (404, &json!("unknown_process")), "{reply:?}");
    assert_eq!(door().ask("GET /api/v1/processes/A", "").await.status, 400);
}

#[tokio::test]
async fn what_is_too_long_is_a_problem_with_a_code() {
    let door = door();
    let long = "x".repeat(17 * 1024);
    let reply = door.ask(&format!("GET /api/v1/instances?text={long}"), "").await;
    assert_eq!((reply.status, &reply.body["code"]), (414, &json!("uri_too_long")), "{reply:?}");
    let many: String = (0..80).map(|n| format!("X-{n}: y\r\n")).collect();
    for headers in [many.trim_end().to_owned(), format!("X-Long: {}", "y".repeat(33 * 1024))] {
        let reply = with(&door, "GET /api/v1/version", &headers, "").await;
        assert_eq!((reply.status, &reply.body["code"]), (431, &json!("head_too_large")));
    }
}
