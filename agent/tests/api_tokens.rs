//! The routes of tokens, and what happens to who shows one.

mod api_support;

use std::sync::Arc;
use std::time::Duration;

use api_support::Door;
use api_support::outside::{Outside, reach};
use api_support::shelf::Shelf;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tenement_agent::api::Access;
use tenement_logs::search::Scope as Whose;
use tenement_wire::Scope;

#[tokio::test]
async fn a_token_made_on_the_admin_socket_is_shown_once_and_lets_in() {
    let outside = Outside::new();
    let (admin, _) = outside.token(Scope::Admin, reach("")).await;
    let body =
        r#"{"name":"ci","scope":"operator","process":"api","instance":"prod","expires_in_s":3600}"#;
    let made = outside.ask("POST /api/v1/tokens", Some(&admin), body).await;
    assert_eq!(made.status, 201, "{made:?}");
    let (text, view) = (made.body["secret"].as_str().unwrap(), &made.body["token"]);
    assert_eq!(view["name"], "ci");
    assert_eq!((&view["process"], &view["instance"]), (&json!("api"), &json!("prod")));
    let life = view["expires_ms"].as_u64().unwrap() - view["created_ms"].as_u64().unwrap();
    assert_eq!(life, 3_600_000);
    assert_eq!(view["created_by"].as_str().unwrap().split(' ').next(), Some("token"));

    let woken = outside.ask("POST /api/v1/instances/api:prod/wake", Some(text), "").await;
    assert_eq!(woken.status, 200, "{woken:?}");
    let secret = text.rsplit('_').next().unwrap();
    let id = view["id"].as_str().unwrap();
    for path in ["/api/v1/tokens".to_owned(), format!("/api/v1/tokens/{id}")] {
        let answer = outside.ask(&format!("GET {path}"), Some(&admin), "").await;
        let text = answer.body.to_string();
        assert!(text.contains(id) && !text.contains(secret) && !text.contains("argon2"), "{text}");
    }
}

#[tokio::test]
async fn the_admin_socket_makes_tokens_without_one_and_takes_no_account_of_one() {
    let door = Door::open(Access::user());
    let reply = door.ask("POST /api/v1/tokens", r#"{"scope":"read"}"#).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    let view = &reply.body["token"];
    assert_eq!(view["name"], view["id"], "its id is its name by default");
    assert!(view["created_by"].as_str().unwrap().starts_with("uid "), "{view}");
    // With a token of scope read, or a wrong one: the peer's credentials count.
    for token in [reply.body["secret"].as_str().unwrap(), "ten_nonsense"] {
        let reply = door
            .raw(&format!(
                "GET /api/v1/tokens HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
            ))
            .await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
}

#[tokio::test]
async fn a_revoked_and_a_rotated_token_are_refused_at_once() {
    let outside = Outside::new();
    let (admin, _) = outside.token(Scope::Admin, reach("")).await;
    let (text, view) = outside.token(Scope::Read, reach("")).await;
    let get = "GET /api/v1/instances";
    assert_eq!(outside.ask(get, Some(&text), "").await.status, 200);
    let rotate = format!("POST /api/v1/tokens/{}/rotate", view.id);
    let rotated = outside.ask(&rotate, Some(&admin), "").await;
    let new = rotated.body["secret"].as_str().unwrap();
    assert_eq!(outside.ask(get, Some(&text), "").await.status, 401);
    assert_eq!(outside.ask(get, Some(new), "").await.status, 200);
    let revoke = format!("DELETE /api/v1/tokens/{}", view.id);
    let revoked = outside.ask(&revoke, Some(&admin), "").await;
    assert_eq!((revoked.status, &revoked.body["id"]), (200, &json!(view.id)));
    assert_eq!(outside.ask(get, Some(new), "").await.status, 401);
    let again = outside.ask(&revoke, Some(&admin), "").await;
    assert_eq!((again.status, again.code()), (404, "unknown_token"));
}

#[tokio::test]
async fn a_stream_breaks_off_when_its_token_is_revoked() {
    let shelf = Shelf::with(&["one"]);
    let outside = Outside::with(shelf.clone());
    let (text, view) = outside.token(Scope::Read, reach("api:prod")).await;
    let response = outside.open("GET /api/v1/logs/stream", Some(&text), "").await;
    let mut body = response.into_body();
    let mut next =
        async || tokio::time::timeout(Duration::from_secs(20), body.frame()).await.unwrap();
    assert!(next().await.unwrap().is_ok(), "the greeting");
    shelf.put("api:prod", "two");
    let line = next().await.unwrap().unwrap().into_data().unwrap();
    assert!(String::from_utf8_lossy(&line).contains("two"));
    outside.tokens.revoke(&view.id, None).await.unwrap();
    assert!(next().await.unwrap().is_err());
    shelf.put("api:prod", "three");
}

#[tokio::test]
async fn a_restricted_admin_sees_and_makes_tokens_within_its_own_reach() {
    let outside = Outside::new();
    let (own, own_view) = outside.token(Scope::Admin, reach("api")).await;
    let (_, host) = outside.token(Scope::Read, reach("")).await;
    let (_, web) = outside.token(Scope::Read, reach("web")).await;
    let (_, prod) = outside.token(Scope::Read, reach("api:prod")).await;
    let list = outside.ask("GET /api/v1/tokens", Some(&own), "").await.body;
    let mut ids: Vec<_> =
        list["tokens"].as_array().unwrap().iter().map(|t| t["id"].clone()).collect();
    ids.sort_by_key(Value::to_string);
    let mut wanted = [json!(own_view.id), json!(prod.id)];
    wanted.sort_by_key(Value::to_string);
    assert_eq!(ids, wanted);
    assert!(list.get("checks").is_none(), "those are the host's");
    for other in [host, web] {
        for line in [
            format!("GET /api/v1/tokens/{}", other.id),
            format!("DELETE /api/v1/tokens/{}", other.id),
            format!("POST /api/v1/tokens/{}/rotate", other.id),
        ] {
            let answer = outside.ask(&line, Some(&own), "").await;
            assert_eq!((answer.status, answer.code()), (404, "unknown_token"), "{line}");
        }
    }
    for (body, status) in [
        (r#"{"scope":"admin","process":"api"}"#, 201),
        (r#"{"scope":"read","process":"api","instance":"x"}"#, 201),
        (r#"{"scope":"read"}"#, 403),
        (r#"{"scope":"read","process":"web"}"#, 403),
    ] {
        assert_eq!(
            outside.ask("POST /api/v1/tokens", Some(&own), body).await.status,
            status,
            "{body}"
        );
    }
}

#[tokio::test]
async fn every_bad_field_of_a_new_token_is_named_at_once() {
    let door = Door::open(Access::user());
    let long = "x".repeat(65);
    let body =
        json!({"name": long, "scope": "root", "instance": "prod", "expires_in_s": 59, "more": 1});
    let reply = door.ask("POST /api/v1/tokens", &body.to_string()).await;
    assert_eq!(reply.status, 422, "{reply:?}");
    let fields: Vec<_> =
        reply.body["errors"].as_array().unwrap().iter().map(|e| &e["field"]).collect();
    assert_eq!(fields, ["scope", "name", "expires_in_s", "instance", "more"]);
    for body in [
        r#"{"scope":null}"#,
        r#"{}"#,
        r#"{"scope":"read","expires_in_s":"30d"}"#,
        r#"{"scope":"read","name":7}"#,
    ] {
        assert_eq!(door.ask("POST /api/v1/tokens", body).await.status, 422, "{body}");
    }
    let nulls =
        r#"{"scope":"read","name":null,"process":null,"instance":null,"expires_in_s":null}"#;
    assert_eq!(door.ask("POST /api/v1/tokens", nulls).await.status, 201);
}

#[tokio::test]
async fn wrong_tokens_are_refused_then_told_to_wait_and_the_right_one_is_let_in() {
    let outside = Outside::new();
    let (right, view) = outside.token(Scope::Read, reach("")).await;
    let wrong = format!("ten_{}_{}", view.id, "0".repeat(64));
    let get = "GET /api/v1/version";
    for _ in 0..5 {
        let answer = outside.ask(get, Some(&wrong), "").await;
        assert_eq!((answer.status, answer.code()), (401, "unauthenticated"));
        assert!(answer.headers.contains_key("www-authenticate"));
    }
    let answer = outside.ask(get, Some(&wrong), "").await;
    assert_eq!((answer.status, answer.code()), (429, "locked_out"));
    assert_eq!(answer.headers["retry-after"], "1");
    let checks = outside.tokens.checks();
    assert_eq!((checks.refused, checks.locked, checks.locked_addresses), (5, 1, 1));
    assert_eq!(outside.ask(get, Some(&right), "").await.status, 200);
    assert_eq!(
        outside.ask("GET /api/v1/health", Some(&wrong), "").await.status,
        200,
        "asks for none"
    );
}

#[tokio::test]
async fn what_is_no_bearer_token_lets_nobody_in() {
    let outside = Outside::new();
    let (right, _) = outside.token(Scope::Admin, reach("")).await;
    for text in ["", " ", "x", "ten_", &format!("{right}x"), &right.to_uppercase()] {
        assert_eq!(
            outside.ask("GET /api/v1/version", Some(text), "").await.status,
            401,
            "{text:?}"
        );
    }
    // Spaces around it and the case of the scheme don't matter (RFC 9110 section 11.1).
    assert_eq!(
        outside.ask("GET /api/v1/version", Some(&format!(" {right} ")), "").await.status,
        200
    );
}

#[tokio::test]
async fn logs_are_those_of_what_the_token_sees() {
    let shelf = Shelf::with(&["mine"]);
    shelf.put("web:prod", "theirs");
    let outside = Outside::with(shelf.clone());
    let instance = || Whose::Instance("api:prod".parse().unwrap());
    for (restricted_to, query, wanted) in [
        ("", "", Ok(Whose::All)),
        ("api", "", Ok(Whose::Process("api".into()))),
        ("api", "?instance=api:prod", Ok(instance())),
        ("api", "?instance=web:prod", Err("unknown_instance")),
        ("api", "?process=web", Err("unknown_process")),
        ("api:prod", "", Ok(instance())),
        ("api:prod", "?process=api", Ok(instance())),
        ("api:prod", "?process=api&id=prod", Ok(instance())),
        ("api:prod", "?process=api&id=other", Err("unknown_instance")),
        ("api:prod", "?instance=no:such", Err("unknown_instance")),
    ] {
        let (token, _) = outside.token(Scope::Read, reach(restricted_to)).await;
        for route in ["logs", "logs/export", "logs/stream"] {
            let (searched, followed) = (&shelf.searches, &shelf.follows);
            searched.lock().unwrap().clear();
            followed.lock().unwrap().clear();
            let line = format!("GET /api/v1/{route}{query}");
            let answer = outside.ask(&line, Some(&token), "").await;
            let mut asked: Vec<Whose> =
                searched.lock().unwrap().iter().map(|s| s.scope.clone()).collect();
            asked.extend(followed.lock().unwrap().drain(..));
            match &wanted {
                Ok(scope) => {
                    assert!(
                        !asked.is_empty() && asked.iter().all(|s| s == scope),
                        "{line}: {asked:?}"
                    );
                }
                Err(code) => {
                    assert_eq!((answer.status, answer.code()), (404, *code), "{line}");
                    assert!(asked.is_empty(), "{line}: {asked:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn the_usage_of_logs_is_that_of_what_the_token_sees() {
    let outside = Outside::with(Shelf::with(&[]));
    for (restricted_to, bytes, lines, days, instances) in [
        ("", 7, 70, 1, 2),
        ("api", 3, 30, 0, 1),
        ("web:prod", 4, 40, 0, 1),
        ("no:such", 0, 0, 0, 0),
    ] {
        let (token, _) = outside.token(Scope::Read, reach(restricted_to)).await;
        let body = outside.ask("GET /api/v1/logs/usage", Some(&token), "").await.body;
        let count = |field: &str| body[field].as_array().unwrap().len();
        assert_eq!(
            (&body["bytes"], &body["lines"], count("days"), count("instances")),
            (&json!(bytes), &json!(lines), days, instances),
            "{restricted_to}"
        );
    }
}

#[tokio::test]
async fn the_stream_of_instances_has_only_rows_that_the_token_sees() {
    let outside = Outside::new();
    for (restricted_to, names) in [
        ("", vec!["api:a", "web:b"]),
        ("api", vec!["api:a"]),
        ("web:b", vec!["web:b"]),
        ("no:such", vec![]),
    ] {
        let (token, _) = outside.token(Scope::Read, reach(restricted_to)).await;
        let answer = outside.open("GET /api/v1/instances/stream", Some(&token), "").await;
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        let mut body = answer.into_body();
        let mut text = String::new();
        while !text.contains("data: ") {
            let frame = body.frame().await.expect("it goes on").unwrap();
            text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
        let event = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
        let event: Value = serde_json::from_str(event).unwrap();
        let rows = event["rows"].as_array().unwrap().iter();
        let seen: Vec<_> = rows.map(|row| row["name"].as_str().unwrap().to_owned()).collect();
        assert_eq!(
            (seen.iter().map(String::as_str).collect(), &event["fresh"]),
            (names, &json!(true))
        );
    }
}

#[tokio::test]
async fn the_histogram_counts_only_lines_that_the_token_sees() {
    let shelf = Shelf::with(&["an error", "fine"]);
    shelf.put("web:prod", "fine");
    let outside = Outside::with(shelf);
    for (restricted_to, lines) in [("", 3), ("api", 2), ("web:prod", 1), ("no:such", 0)] {
        let (token, _) = outside.token(Scope::Read, reach(restricted_to)).await;
        let ask = "GET /api/v1/logs/histogram?since=2023-11-14T22:13:20Z&buckets=1";
        let body = outside.ask(ask, Some(&token), "").await.body;
        let bucket = &body["buckets"][0];
        let all = bucket["error"].as_u64().unwrap() + bucket["info"].as_u64().unwrap();
        assert_eq!(all, lines, "{restricted_to}: {body}");
    }
}

#[tokio::test]
async fn many_requests_at_once_with_a_cold_token_share_one_hash() {
    let outside = Arc::new(Outside::new());
    let (token, _) = outside.token(Scope::Read, reach("")).await;
    let before = outside.tokens.checks().hashes;
    let all = (0..20).map(|_| {
        let (outside, token) = (outside.clone(), token.clone());
        tokio::spawn(
            async move { outside.ask("GET /api/v1/version", Some(&token), "").await.status },
        )
    });
    for one in all.collect::<Vec<_>>() {
        assert_eq!(one.await.unwrap(), 200);
    }
    assert_eq!(outside.tokens.checks().hashes, before + 1);
}
