//! Browser sessions over the API: the cookie, what it is good for, and who may not use it.

mod api_support;

use std::sync::Arc;

use api_support::Fake;
use axum::body::Body;
use http::{HeaderMap, Request, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tenement_agent::api::{AskedHost, Remote, RequestId, Services, router_with};
use tenement_agent::config::ApiAccess;
use tenement_agent::flows::tokens::{Clocks, Tokens, Wish};
use tenement_agent::framing::Visitor;
use tenement_agent::token::Reach;
use tenement_wire::{Scope, TokenId};

struct World {
    remote: Remote,
    tokens: Arc<Tokens>,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or("")
    }

    /// The cookie that it sets, as a browser sends it back.
    fn cookie(&self) -> String {
        let set = self.headers[header::SET_COOKIE].to_str().unwrap();
        set.split(';').next().unwrap().to_owned()
    }
}

impl World {
    fn new() -> Self {
        let tokens = Arc::new(Tokens::in_memory(Clocks::default()).unwrap());
        let services = Services { tokens: tokens.clone(), ..Services::none().unwrap() };
        let router = router_with(Arc::new(Fake::default()), services);
        Self { remote: Remote::new(router, ApiAccess::default()), tokens }
    }

    async fn token(&self, scope: Scope, reach: Reach) -> (String, TokenId) {
        let wish = Wish { name: None, scope, reach, life: None };
        let (token, view) = self.tokens.create(wish, "uid 0".into(), None).await.unwrap();
        (token.text(), view.id)
    }

    /// `method path`, fields, and a body.
    async fn ask(&self, what: &str, fields: &[(&str, &str)], body: Value) -> Answer {
        let (method, path) = what.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let body = match body {
            Value::Null => Body::empty(),
            body => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
        };
        let visitor =
            Visitor { address: "198.51.100.7".parse().unwrap(), https: true, local: false };
        let (host, id) = (AskedHost("example.com".into()), RequestId("the-id".into()));
        let response = self.remote.answer(request.body(body).unwrap(), visitor, host, id).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or_default();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    async fn login(&self, token: &str) -> Answer {
        self.ask("POST /api/v1/session", &[], json!({"token": token})).await
    }
}

#[tokio::test]
async fn a_login_sets_a_cookie_that_no_script_no_other_site_and_no_instance_gets_hold_of() {
    let world = World::new();
    let (token, id) = world.token(Scope::Operator, Reach::Host).await;
    let answer = world.login(&token).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let set = answer.headers[header::SET_COOKIE].to_str().unwrap().to_owned();
    assert!(set.starts_with("__Host-tenement="), "{set}");
    for word in ["; Path=/", "; HttpOnly", "; SameSite=Strict", "; Secure", "; Max-Age=86400"] {
        assert!(set.contains(word), "{set}");
    }
    assert!(!set.contains("Domain"));
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(answer.body["token"], id.as_str());
    assert_eq!(answer.body["scope"], "operator");
    let cookie = answer.cookie();
    let who = world.ask("GET /api/v1/session", &[("cookie", &cookie)], Value::Null).await;
    assert_eq!((who.status, &who.body["session"]["csrf"]), (200, &answer.body["session"]["csrf"]));
    let listed = world.ask("GET /api/v1/instances", &[("cookie", &cookie)], Value::Null).await;
    assert_eq!(listed.status, 200);
    // Its scope is the token's.
    let config = [("cookie", cookie.as_str()), ("x-csrf-token", csrf(&answer))];
    let reload = world.ask("POST /api/v1/config/reload", &config, Value::Null).await;
    assert_eq!((reload.status, reload.code()), (403, "forbidden_scope"));
    // Over plain HTTP the browser does not send it, and by another name it is none.
    let other = cookie.replace("__Host-tenement", "tenement-session");
    let renamed = world.ask("GET /api/v1/session", &[("cookie", &other)], Value::Null).await;
    assert_eq!(renamed.status, 401);
}

fn csrf(login: &Answer) -> &str {
    login.body["session"]["csrf"].as_str().unwrap()
}

#[tokio::test]
async fn a_change_by_cookie_needs_the_csrf_token_and_a_page_of_the_same_origin() {
    let world = World::new();
    let (token, _) = world.token(Scope::Admin, Reach::Host).await;
    let login = world.login(&token).await;
    let cookie = login.cookie();
    let wake = "POST /api/v1/instances/api:a/wake";
    let ask = async |fields: &[(&str, &str)]| {
        let mut all = vec![("cookie", cookie.as_str())];
        all.extend_from_slice(fields);
        let answer = world.ask(wake, &all, Value::Null).await;
        (answer.status, answer.code().to_owned())
    };
    assert_eq!(ask(&[]).await, (403, "csrf".into()));
    assert_eq!(ask(&[("x-csrf-token", "0")]).await, (403, "csrf".into()));
    let good = ("x-csrf-token", csrf(&login));
    assert_eq!(ask(&[good]).await.0, 200);
    assert_eq!(ask(&[good, ("origin", "https://example.com")]).await.0, 200);
    // A tenant's page is of the same site, and its browser sends the cookie along.
    for foreign in ["https://prod.api.example.com", "https://evil.example.org", "null"] {
        assert_eq!(ask(&[good, ("origin", foreign)]).await, (403, "cross_origin".into()));
    }
    assert_eq!(ask(&[good, ("sec-fetch-site", "same-site")]).await.1, "cross_origin");
    let read = [("cookie", cookie.as_str()), ("sec-fetch-site", "cross-site")];
    assert_eq!(world.ask("GET /api/v1/instances", &read, Value::Null).await.status, 403);
    // Who shows a token needs neither, and the cookie adds nothing.
    let bearer = format!("Bearer {token}");
    let fields = [("authorization", bearer.as_str()), ("cookie", cookie.as_str())];
    assert_eq!(world.ask(wake, &fields, Value::Null).await.status, 200);
    // A foreign page can't log anybody in.
    let body = json!({"token": token});
    let foreign = [("origin", "https://evil.example.org")];
    assert_eq!(world.ask("POST /api/v1/session", &foreign, body).await.code(), "cross_origin");
}

#[tokio::test]
async fn logging_out_ends_one_session_or_all_of_the_token() {
    let world = World::new();
    let (token, id) = world.token(Scope::Read, Reach::Process("api".parse().unwrap())).await;
    let logins = [world.login(&token).await, world.login(&token).await, world.login(&token).await];
    let ask = async |what: &str, login: &Answer| {
        let cookie = login.cookie();
        let fields = [("cookie", cookie.as_str()), ("x-csrf-token", csrf(login))];
        world.ask(what, &fields, Value::Null).await
    };
    let out = ask("DELETE /api/v1/session", &logins[0]).await;
    assert_eq!((out.status, &out.body["sessions"]), (200, &json!(1)));
    assert!(out.headers[header::SET_COOKIE].to_str().unwrap().contains("=; Path=/; Max-Age=0"));
    assert_eq!(ask("GET /api/v1/session", &logins[0]).await.status, 401);
    let out = ask("DELETE /api/v1/sessions", &logins[1]).await;
    assert_eq!((out.status, &out.body["sessions"]), (200, &json!(2)));
    assert_eq!(ask("GET /api/v1/session", &logins[2]).await.status, 401);
    let last = world.login(&token).await;
    world.tokens.revoke(&id, None).await.unwrap();
    assert_eq!(ask("GET /api/v1/session", &last).await.status, 401, "revoked");
    assert_eq!(world.login(&token).await.code(), "unauthenticated");
}

#[tokio::test]
async fn wrong_logins_lock_the_address_out() {
    let world = World::new();
    let mut statuses = Vec::new();
    for _ in 0..200 {
        let answer = world.login("ten_nonsense").await;
        statuses.push(answer.status);
        if answer.status == 429 {
            assert_eq!(answer.code(), "locked_out");
            assert!(answer.headers.contains_key(header::RETRY_AFTER));
            return;
        }
    }
    panic!("200 wrong logins, and no lock-out: {statuses:?}");
}

#[tokio::test]
async fn a_token_with_a_second_factor_logs_in_with_a_code_only() {
    let world = World::new();
    let (token, id) = world.token(Scope::Admin, Reach::Host).await;
    let bearer = format!("Bearer {token}");
    let fields = [("authorization", bearer.as_str())];
    let totp = format!("/api/v1/tokens/{id}/totp");
    let ask = async |method: &str, body: Value| {
        world.ask(&format!("{method} {totp}"), &fields, body).await
    };
    let misshapen = ["".to_owned(), "9".repeat(41), "१२३४५६".to_owned()];
    for code in misshapen {
        let refused = ask("PATCH", json!({"code": code})).await;
        assert_eq!(
            (refused.status, refused.body["errors"][0]["field"].as_str()),
            (422, Some("code"))
        );
    }
    assert_eq!(ask("PATCH", json!({"code": "000000"})).await.code(), "factor_not_begun");
    let begun = ask("POST", Value::Null).await;
    assert_eq!(begun.status, 200);
    assert!(begun.body["uri"].as_str().unwrap().starts_with("otpauth://totp/tenement:"));
    assert_eq!(ask("GET", Value::Null).await.body["pending"], true);
    assert_eq!(world.login(&token).await.status, 200, "nothing is confirmed yet");
    assert_eq!(ask("PATCH", json!({"code": "nonsense"})).await.code(), "wrong_code");
    let secret = unbase32(begun.body["secret"].as_str().unwrap());
    let confirmed = ask("PATCH", json!({"code": code(&secret)})).await;
    assert_eq!(confirmed.status, 200, "{}", confirmed.body);
    let recovery = confirmed.body["recovery_codes"][0].as_str().unwrap().to_owned();
    assert_eq!(ask("POST", Value::Null).await.code(), "factor_enabled");
    assert_eq!(world.login(&token).await.code(), "code_needed");
    let with = async |code: &str| {
        let body = json!({"token": token, "code": code});
        world.ask("POST /api/v1/session", &[], body).await
    };
    assert_eq!(with("12345").await.code(), "wrong_code");
    let login = with(&recovery).await;
    assert_eq!(login.status, 200);
    assert_eq!(with(&recovery).await.code(), "wrong_code", "it was used");
    assert_eq!(ask("DELETE", Value::Null).await.body["enabled"], false);
    assert_eq!(world.login(&token).await.status, 200);
}

fn unbase32(text: &str) -> Vec<u8> {
    let (mut bits, mut count, mut bytes) = (0_u64, 0, Vec::new());
    for c in text.bytes() {
        let value = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|x| *x == c).unwrap();
        (bits, count) = (bits << 5 | value as u64, count + 5);
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    bytes
}

/// The code that an app shows now.
fn code(secret: &[u8]) -> String {
    let now_s = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    tenement_agent::token::totp::code(secret, now_s)
}
