//! Every route of the management API, and what it refuses.

mod api_support;

use api_support::{Door, read};
use serde_json::json;
use tenement_agent::api::Access;

fn door() -> Door {
    Door::open(Access::user())
}

#[tokio::test]
async fn every_route_reaches_its_verb_under_both_prefixes() {
    for (line, body, told, status) in [
        ("GET PREFIX/instances", "", "list", 200),
        ("POST PREFIX/instances", r#"{"process":"api"}"#, "spawn api  true", 201),
        (
            "POST PREFIX/instances",
            r#"{"process":"api","ids":["a","b"],"start":false}"#,
            "spawn api a,b false",
            201,
        ),
        ("GET PREFIX/instances/api:prod", "", "show api:prod", 200),
        ("GET PREFIX/instances/api%3Aprod", "", "show api:prod", 200),
        ("POST PREFIX/instances/api:prod/wake", "", "wake api:prod", 200),
        ("POST PREFIX/instances/api:prod/sleep", "", "sleep api:prod false", 200),
        ("POST PREFIX/instances/api:prod/sleep?force=true", "{}", "sleep api:prod true", 200),
        ("POST PREFIX/instances/api:prod/restart", "", "restart api:prod", 200),
        (
            "PATCH PREFIX/instances/api:prod",
            r#"{"limits":{"memory_max":268435456,"cpu":1500.0,"tasks_max":null}}"#,
            "set api:prod {MemoryMax: Some(268435456), Cpu: Some(1500), TasksMax: None}",
            200,
        ),
        ("DELETE PREFIX/instances/api:prod", "", "remove api:prod false", 200),
        ("DELETE PREFIX/instances/api:prod?purge=true", "", "remove api:prod true", 200),
        ("GET PREFIX/instances/api:prod/why", "", "why api:prod", 200),
        ("GET PREFIX/instances/api:prod/secrets", "", "secrets api:prod List", 200),
        (
            "DELETE PREFIX/instances/api:prod/secrets/KEY",
            "",
            r#"secrets api:prod Remove(SecretName("KEY"))"#,
            200,
        ),
        ("GET PREFIX/config", "", "config", 200),
        ("POST PREFIX/config/check", "", "check ", 200),
        (
            "POST PREFIX/config/check",
            r#"{"files":[{"name":"a.toml","text":""}]}"#,
            "check a.toml",
            200,
        ),
        ("POST PREFIX/config/reload", "", "reload", 200),
        ("GET PREFIX/version", "", "version", 200),
    ] {
        let door = door();
        for prefix in ["/api/v1", "/api"] {
            let reply = door.ask(&line.replace("PREFIX", prefix), body).await;
            assert_eq!(reply.status, status, "{line}: {reply:?}");
            assert!(reply.head.contains("x-request-id: "), "{line}: {reply:?}");
        }
        assert_eq!(door.fake.told(), [told, told], "{line}");
    }
}

#[tokio::test]
async fn every_wrong_limit_is_named_and_nothing_is_set() {
    let door = door();
    let body = r#"{"limits":{"memory_max":1048576,"cpu":1.5,"memory":1,"tasks_max":[],"files_max":100},"x":1}"#;
    let reply = door.ask("PATCH /api/v1/instances/api:prod", body).await;
    assert_eq!(reply.status, 422, "{reply:?}");
    let errors = reply.body["errors"].as_array().unwrap();
    let fields: Vec<_> = errors.iter().map(|e| e["field"].as_str().unwrap()).collect();
    let wanted = ["limits.cpu", "limits.memory", "limits.memory_max", "limits.tasks_max", "x"];
    assert_eq!(fields, wanted, "{reply:?}");
    let reply = door.ask("PATCH /api/v1/instances/api:prod", r#"{"limits":"256M"}"#).await;
    assert_eq!(reply.status, 422, "{reply:?}");
    assert!(door.fake.told().is_empty());
}

#[tokio::test]
async fn health_asks_nobody() {
    let door = door();
    let reply = door.ask("GET /api/v1/health", "").await;
    assert_eq!((reply.status, reply.body), (200, json!({"status": "ok"})));
    assert!(door.fake.told().is_empty());
}

#[tokio::test]
async fn the_list_is_filtered_by_process_and_state() {
    let door = door();
    let names = |reply: api_support::Reply| {
        let list = reply.body["instances"].as_array().unwrap().clone();
        list.iter().map(|view| view["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(door.ask("GET /api/v1/instances", "").await), ["api:a", "web:b"]);
    assert_eq!(names(door.ask("GET /api/v1/instances?process=web", "").await), ["web:b"]);
    assert_eq!(names(door.ask("GET /api/v1/instances?state=running", "").await), ["api:a"]);
}

#[tokio::test]
async fn every_bad_field_is_named_at_once() {
    let door = door();
    let body = r#"{"process":"A","ids":["ok","B","ok",5],"start":"yes","command":"sh"}"#;
    let reply = door.ask("POST /api/v1/instances?dry=1", body).await;
    assert_eq!((reply.status, &reply.body["code"]), (422, &json!("invalid_request")));
    let fields: Vec<&str> = reply.body["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["field"].as_str().unwrap())
        .collect();
    assert_eq!(fields, ["process", "ids[1]", "ids[2]", "ids[3]", "start", "dry", "command"]);
    assert!(door.fake.told().is_empty());
}

#[tokio::test]
async fn what_no_route_takes_is_refused_with_a_type() {
    for (line, body, status, code) in [
        ("GET /", "", 404, "no_route"),
        ("GET /api/v2/instances", "", 404, "no_route"),
        ("GET /api/v1/nothing", "", 404, "no_route"),
        ("PUT /api/v1/instances", "", 405, "method_not_allowed"),
        ("GET /api/instances/api:a/wake", "", 405, "method_not_allowed"),
        ("GET /api/v1/instances/api", "", 400, "invalid_name"),
        ("GET /api/v1/instances/api:..%2Fx", "", 400, "invalid_name"),
        ("GET /api/v1/instances/%ff", "", 400, "malformed"),
        ("POST /api/v1/instances", "", 422, "invalid_request"),
        ("POST /api/v1/instances", "{", 400, "malformed"),
        ("POST /api/v1/instances", "[]", 400, "malformed"),
        ("POST /api/v1/instances", "{} {}", 400, "malformed"),
        ("POST /api/v1/instances", r#"{"process":"a","process":"b"}"#, 400, "malformed"),
        ("POST /api/v1/instances/api:a/wake", r#"{"now":true}"#, 422, "invalid_request"),
        ("POST /api/v1/instances/api:a/sleep?force=maybe", "", 422, "invalid_request"),
        ("DELETE /api/v1/instances/api:a?purge=true&purge=true", "", 422, "invalid_request"),
        ("GET /api/v1/instances?state=sleepy", "", 422, "invalid_request"),
        ("POST /api/v1/config/check", r#"{"files":[{"path":"/etc"}]}"#, 422, "invalid_request"),
    ] {
        let door = door();
        let reply = door.ask(line, body).await;
        assert_eq!((reply.status, &reply.body["code"]), (status, &json!(code)), "{line} {body}");
        assert!(reply.head.contains("content-type: application/problem+json"), "{reply:?}");
        assert!(
            reply.body["hint"].is_string() && reply.body["request_id"].is_string(),
            "{reply:?}"
        );
        assert_eq!(status == 405, reply.head.contains("allow: "), "{line}: {reply:?}");
        assert!(door.fake.told().is_empty(), "{line}");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_before_it_is_read() {
    let door = door();
    let head = "POST /api/v1/instances HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                Content-Type: application/json\r\n";
    let long = format!("{head}Content-Length: 2000000\r\n\r\n{}", " ".repeat(2_000_000));
    assert_eq!(door.raw(&long).await.status, 413);
    let ids: Vec<String> = (0..1001).map(|n| n.to_string()).collect();
    let many = json!({"process": "api", "ids": ids}).to_string();
    assert_eq!(door.ask("POST /api/v1/instances", &many).await.status, 422);
}

#[tokio::test]
async fn a_body_of_another_type_is_refused() {
    let reply = door()
        .raw("POST /api/v1/instances HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 17\r\n\r\n{\"process\":\"api\"}")
        .await;
    assert_eq!((reply.status, &reply.body["code"]), (415, &json!("not_json")));
}

#[tokio::test]
async fn a_stranger_is_refused_and_reaches_nothing() {
    let door = Door::open(Access::User { uid: u32::MAX - 7 });
    let reply = door.ask("POST /api/v1/config/reload", "").await;
    assert_eq!((reply.status, &reply.body["code"]), (403, &json!("forbidden")));
    assert!(door.fake.told().is_empty());
    assert_eq!(door.turned_away.lock().unwrap().len(), 1, "and it is told, for the events");
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_leave_a_change_half_done() {
    let door = door();
    let held = door.fake.hold.lock().await;
    let client = door.send("POST /api/v1/instances/api:a/stop HTTP/1.1\r\nHost: x\r\n\r\n").await;
    door.fake.until_told(1).await;
    drop(client);
    tokio::task::yield_now().await;
    drop(held);
    door.fake.until_told(2).await;
    assert_eq!(door.fake.told(), ["stop api:a", "stopped api:a"]);
}

#[tokio::test]
async fn a_panic_is_an_internal_error_and_the_door_stays_open() {
    let door = door();
    let reply = door.ask("POST /api/v1/instances/api:panic/wake", "").await;
    assert_eq!((reply.status, &reply.body["code"]), (500, &json!("internal")));
    assert!(!reply.body.to_string().contains("asked to"), "{reply:?}");
    assert_eq!(door.ask("GET /api/v1/instances", "").await.status, 200);
}

#[tokio::test]
async fn a_shutdown_lets_an_open_request_end() {
    let mut door = door();
    let fake = door.fake.clone();
    let held = fake.hold.lock().await;
    let client = door.send("GET /api/v1/instances/api:a HTTP/1.1\r\nHost: x\r\n\r\n").await;
    door.fake.until_told(1).await;
    door.stop();
    tokio::task::yield_now().await;
    drop(held);
    assert_eq!(read(client).await.status, 200);
    (&mut door.served).await.unwrap();
}
