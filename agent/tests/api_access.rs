//! Every route of the OpenAPI document × every scope × everything a token may be restricted to. A new route
//! is in it by itself.

mod api_support;

use api_support::outside::{Answer, Outside, reach};
use serde_json::Value;
use tenement_agent::api::FILTERED;
use tenement_wire::Scope;

/// The instance that paths name.
const TARGET: &str = "api:prod";
/// What tokens are restricted to, and whether they see [`TARGET`].
const REACHES: [(&str, bool); 5] =
    [("", true), ("api", true), (TARGET, true), ("api:other", false), ("web", false)];
/// Routes without an instance in their path that restricted tokens may use. Whoever adds one writes a test
/// below that its handler leaves out what the caller does not see.
const FILTERS: [&str; 29] = [
    "GET /instances",
    "POST /instances",
    "GET /instances/stream",
    "GET /logs",
    "GET /logs/stream",
    "GET /logs/export",
    "GET /logs/histogram",
    "GET /logs/usage",
    "GET /events",
    "GET /events/stream",
    "GET /metrics",
    "GET /metrics/history",
    "GET /metrics/live",
    "GET /version",
    "GET /backups",
    "GET /cron",
    "GET /domains",
    "POST /domains",
    "GET /domains/{domain}",
    "DELETE /domains/{domain}",
    "POST /domains/{domain}/check",
    "GET /tokens",
    "POST /tokens",
    "GET /tokens/{id}",
    "DELETE /tokens/{id}",
    "POST /tokens/{id}/rotate",
    "GET /session",
    "DELETE /session",
    "DELETE /sessions",
];

/// Those of a token's own process.
const OF_A_PROCESS: [&str; 4] = [
    " /processes/{process}/releases",
    " /processes/{process}/deploys",
    " /processes/{process}/rollback",
    " /processes/{process}/route",
];

/// A route of the document.
struct Route {
    /// `GET /instances/{name}`.
    name: String,
    /// None: it is open to all.
    need: Option<Scope>,
    /// It is at the root, and not under the prefixes.
    at_root: bool,
}

async fn routes(outside: &Outside) -> Vec<Route> {
    let document = outside.ask("GET /api/v1/openapi.json", None, "").await.body;
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().expect("a document") {
        for (method, operation) in item.as_object().unwrap() {
            let security = &operation["security"][0];
            let scope = security["token"][0].as_str().map(|scope| scope.parse().unwrap());
            assert!(scope.is_some() || security == &serde_json::json!({}), "{method} {path}");
            let below = path.strip_prefix("/api/v1");
            let (path, at_root) = (below.unwrap_or(path), below.is_none());
            let name = format!("{} {path}", method.to_uppercase());
            routes.push(Route { name, need: scope, at_root });
        }
    }
    assert!(routes.len() > 25, "the document has hardly any routes");
    routes
}

/// The request line of a route, about the target.
fn line(route: &Route, prefix: &str) -> String {
    let (method, path) = route.name.split_once(' ').unwrap();
    let prefix = if route.at_root { "" } else { prefix };
    let path =
        path.replace("{name}", TARGET).replace("{secret}", "KEY").replace("{id}", "aaaaaaaaaaaa");
    let path = path.replace("{release}", "v2").replace("{job}", "nightly");
    let path = path.replace("{process}", "api").replace("{domain}", "shop.customer.com");
    assert!(!path.contains('{'), "teach this test what to put into {path}");
    format!("{method} {prefix}{path}")
}

/// Nobody was asked to do anything.
fn untouched(outside: &Outside, what: &str) {
    assert!(outside.fake.told().is_empty(), "{what} reached a verb: {:?}", outside.fake.told());
}

fn refused(answer: &Answer, status: u16, code: &str, what: &str) {
    assert_eq!((answer.status, answer.code()), (status, code), "{what}: {answer:?}");
}

/// It got as far as the handler.
fn admitted(answer: &Answer, what: &str) {
    assert!(![401, 403].contains(&answer.status), "{what}: {answer:?}");
    assert_ne!(answer.code(), "unknown_instance", "{what}: {answer:?}");
}

#[tokio::test]
async fn without_a_token_only_the_open_routes_answer() {
    let outside = Outside::new();
    let mut open = Vec::new();
    for route in routes(&outside).await {
        for prefix in ["/api/v1", "/api"] {
            let answer = outside.ask(&line(&route, prefix), None, "").await;
            if route.need.is_none() {
                admitted(&answer, &route.name);
                outside.fake.told.lock().unwrap().clear();
                continue;
            }
            refused(&answer, 401, "unauthenticated", &route.name);
            assert_eq!(answer.headers["www-authenticate"], "Bearer", "{}", route.name);
            untouched(&outside, &route.name);
        }
        if route.need.is_none() {
            open.push(route.name);
        }
    }
    let known = [
        "GET /health",
        "GET /openapi.json",
        "GET /readyz",
        "POST /session",
        "GET /health",
        "GET /healthz",
        "GET /readyz",
    ];
    assert_eq!(open, known, "is that one really for everybody?");
    for line in ["GET /api/v1/nothing", "GET /", "TRACE /api/v1/instances"] {
        refused(&outside.ask(line, None, "").await, 401, "unauthenticated", line);
    }
}

#[tokio::test]
async fn every_route_asks_for_its_scope_and_shows_nothing_of_others() {
    let outside = Outside::new();
    let routes = routes(&outside).await;
    for scope in Scope::ALL {
        for (restricted_to, sees) in REACHES {
            let (token, _) = outside.token(scope, reach(restricted_to)).await;
            for route in &routes {
                let what = format!("{} by {scope} of {restricted_to:?}", route.name);
                let Some(need) = route.need else { continue };
                for prefix in ["/api/v1", "/api"] {
                    let answer = outside.ask(&line(route, prefix), Some(&token), "").await;
                    if scope < need {
                        refused(&answer, 403, "forbidden_scope", &what);
                    } else if route.name.contains(" /instances/{name}") && !sees {
                        refused(&answer, 404, "unknown_instance", &what);
                    } else if restricted_to.is_empty()
                        || route.name.contains(" /instances/{name}")
                        || FILTERS.contains(&route.name.as_str())
                        || (OF_A_PROCESS.iter().any(|own| {
                            route.name.ends_with(own) || route.name.contains(&format!("{own}/"))
                        }) && restricted_to == "api")
                    {
                        admitted(&answer, &what);
                        outside.fake.told.lock().unwrap().clear();
                    } else {
                        refused(&answer, 403, "forbidden_reach", &what);
                    }
                    untouched(&outside, &what);
                }
            }
        }
    }
}

#[tokio::test]
async fn head_is_judged_as_get_and_what_is_not_documented_is_closed() {
    let outside = Outside::new();
    let (read, _) = outside.token(Scope::Read, reach("api:other")).await;
    let routes = routes(&outside).await;
    for route in routes.iter().filter(|route| route.name.starts_with("GET ")) {
        let get = outside.ask(&line(route, "/api"), Some(&read), "").await.status;
        let head = line(route, "/api").replacen("GET", "HEAD", 1);
        assert_eq!(outside.ask(&head, Some(&read), "").await.status, get, "{}", route.name);
    }
    let (admin, _) = outside.token(Scope::Admin, reach("")).await;
    let answer = outside.ask("TRACE /api/v1/instances", Some(&admin), "").await;
    refused(&answer, 405, "method_not_allowed", "TRACE");
    assert_eq!(answer.headers["allow"], "GET,POST");
    refused(&outside.ask("GET /api/v1/x", Some(&admin), "").await, 404, "no_route", "x");
}

#[test]
fn the_routes_that_filter_by_themselves_are_those_with_a_test_here() {
    let listed: Vec<String> = FILTERED.iter().map(|(m, path)| format!("{m} {path}")).collect();
    assert_eq!(listed, FILTERS);
}

#[tokio::test]
async fn an_instance_of_others_and_one_that_does_not_exist_get_the_same_answer() {
    let outside = Outside::new();
    let (token, _) = outside.token(Scope::Admin, reach("web")).await;
    let mut answers = Vec::new();
    for name in ["api:prod", "no:such"] {
        let asked = outside.ask(&format!("GET /api/v1/instances/{name}"), Some(&token), "").await;
        let mut body = asked.body;
        body["request_id"] = Value::Null;
        answers.push(body.to_string().replace(name, "NAME"));
    }
    assert_eq!(answers[0], answers[1]);
    // And one within reach that does not exist says nothing of those that do.
    let error = tenement_agent::flows::ManageError::NotFound {
        name: "web:prd".parse().unwrap(),
        similar: vec!["web:prod".parse().unwrap()],
    };
    *outside.fake.fails.lock().unwrap() = Some(error);
    let answer = outside.ask("GET /api/v1/instances/web:prd", Some(&token), "").await;
    refused(&answer, 404, "unknown_instance", "web:prd");
    let mut body = answer.body;
    body["request_id"] = Value::Null;
    assert_eq!(body.to_string().replace("web:prd", "NAME"), answers[0]);
}

#[tokio::test]
async fn a_list_has_what_the_token_sees_and_nothing_else() {
    let outside = Outside::new();
    for (restricted_to, seen) in [
        ("", vec!["api:a", "web:b"]),
        ("api", vec!["api:a"]),
        ("web:b", vec!["web:b"]),
        ("api:x", vec![]),
    ] {
        let (token, _) = outside.token(Scope::Read, reach(restricted_to)).await;
        let body = outside.ask("GET /api/v1/instances", Some(&token), "").await.body;
        let names: Vec<_> =
            body["instances"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
        assert_eq!(names, seen, "{restricted_to}");
    }
}

#[tokio::test]
async fn a_token_registers_only_what_it_will_see() {
    let outside = Outside::new();
    let prod = r#"{"process":"api","ids":["prod"]}"#;
    let both = r#"{"process":"api","ids":["prod","other"]}"#;
    let all = r#"{"process":"api"}"#;
    let web = r#"{"process":"web","ids":["prod"]}"#;
    for (restricted_to, body, status, code) in [
        ("", web, 201, ""),
        ("api", all, 201, ""),
        ("api", web, 404, "unknown_process"),
        ("api:prod", prod, 201, ""),
        ("api:prod", both, 403, "forbidden_reach"),
        ("api:prod", all, 403, "forbidden_reach"),
        ("api:prod", web, 404, "unknown_process"),
    ] {
        let (token, _) = outside.token(Scope::Operator, reach(restricted_to)).await;
        let answer = outside.ask("POST /api/v1/instances", Some(&token), body).await;
        refused(&answer, status, code, &format!("{restricted_to} {body}"));
    }
}

#[tokio::test]
async fn a_token_adds_and_sees_domains_of_what_it_sees_alone() {
    let outside = Outside::new();
    let (host, _) = outside.token(Scope::Operator, reach("")).await;
    let (own, _) = outside.token(Scope::Operator, reach("api:prod")).await;
    let body = |domain: &str, to: &str| format!(r#"{{"domain":"{domain}","target":"{to}"}}"#);
    for (token, domain, to, status, code) in [
        (&host, "a.example", "web:b", 201, ""),
        (&own, "b.example", "api:prod", 201, ""),
        (&own, "c.example", "api:other", 404, "unknown_instance"),
        (&own, "c.example", "api", 404, "unknown_process"),
        (&own, "a.example", "api:prod", 409, "domain_taken"),
        (&own, "localhost", "api:prod", 422, "invalid_request"),
    ] {
        let answer = outside.ask("POST /api/v1/domains", Some(token), &body(domain, to)).await;
        refused(&answer, status, code, &format!("{domain} {to}"));
        assert!(token == &host || !answer.body.to_string().contains("web"), "{answer:?}");
    }
    let list = outside.ask("GET /api/v1/domains", Some(&own), "").await.body;
    assert_eq!((&list["total"], &list["domains"][0]["domain"]), (&1.into(), &"b.example".into()));
    for line in ["GET /api/v1/domains/a.example", "DELETE /api/v1/domains/a.example"] {
        refused(&outside.ask(line, Some(&own), "").await, 404, "unknown_domain", line);
    }
    let all = outside.ask("GET /api/v1/domains?limit=1", Some(&host), "").await.body;
    assert_eq!((&all["total"], &all["next"]), (&2.into(), &"a.example".into()));
    let next = outside.ask("GET /api/v1/domains?limit=1&cursor=a.example", Some(&host), "").await;
    assert_eq!(next.body["domains"][0]["domain"], "b.example");
    let gone = outside.ask("DELETE /api/v1/domains/b.example", Some(&own), "").await;
    refused(&gone, 200, "", "its own");
}

#[tokio::test]
async fn only_an_admin_deletes_data() {
    let outside = Outside::new();
    let (operator, _) = outside.token(Scope::Operator, reach("")).await;
    let (admin, _) = outside.token(Scope::Admin, reach("api")).await;
    let purge = "DELETE /api/v1/instances/api:prod?purge=true";
    refused(&outside.ask(purge, Some(&operator), "").await, 403, "forbidden_scope", "purge");
    untouched(&outside, "purge by an operator");
    let plain = "DELETE /api/v1/instances/api:prod";
    assert_eq!(outside.ask(plain, Some(&operator), "").await.status, 200);
    assert_eq!(outside.ask(purge, Some(&admin), "").await.status, 200);
    assert_eq!(outside.fake.told(), ["remove api:prod false", "remove api:prod true"]);
}
