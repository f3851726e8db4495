//! The API as other hosts reach it: who gets in, and what every answer says to browsers.

mod api_support;

use std::sync::Arc;

use api_support::Fake;
use axum::body::Body;
use axum::response::Response;
use http::Request;
use http_body_util::BodyExt as _;
use tenement_agent::api::{AskedHost, Remote, RequestId, Services, router_with};
use tenement_agent::config::ApiAccess;
use tenement_agent::framing::Visitor;
use tenement_wire::ApiError;

fn remote(access: ApiAccess) -> Remote {
    Remote::new(router_with(Arc::new(Fake::default()), Services::none().unwrap()), access)
}

const LOCAL: Visitor = Visitor {
    address: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
    https: false,
    local: true,
};

fn far(https: bool) -> Visitor {
    Visitor { address: "198.51.100.7".parse().unwrap(), https, local: false }
}

async fn ask(remote: &Remote, visitor: Visitor, request: http::request::Builder) -> Response {
    let request = request.body(Body::empty()).unwrap();
    let host = AskedHost("example.com".into());
    remote.answer(request, visitor, host, RequestId("the-id".into())).await
}

async fn problem(response: Response) -> ApiError {
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

#[tokio::test]
async fn nobody_gets_in_without_a_token_and_health_is_open() {
    let remote = remote(ApiAccess::default());
    for path in ["/api/v1/instances", "/api/config", "/", "/favicon.ico", "/api/v1/nothing"] {
        let response = ask(&remote, LOCAL, Request::get(path)).await;
        assert_eq!(response.status(), 401, "{path}");
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
        let problem = problem(response).await;
        assert_eq!(problem.code, "unauthenticated");
        assert_eq!(problem.request_id.as_deref(), Some("the-id"));
    }
    assert_eq!(ask(&remote, LOCAL, Request::get("/api/v1/health")).await.status(), 200);
}

#[tokio::test]
async fn every_answer_ties_the_hands_of_browsers() {
    let remote = remote(ApiAccess::default());
    for (visitor, path) in [(far(true), "/api/v1/health"), (far(false), "/api/v1/instances")] {
        let response =
            ask(&remote, visitor, Request::get(path).header("origin", "https://x.y")).await;
        let headers = response.headers();
        for name in [
            "content-security-policy",
            "x-content-type-options",
            "referrer-policy",
            "x-frame-options",
            "cross-origin-opener-policy",
            "cross-origin-resource-policy",
            "cross-origin-embedder-policy",
        ] {
            assert_eq!(headers.get_all(name).iter().count(), 1, "{path}: {name}");
        }
        assert!(
            headers["content-security-policy"].to_str().unwrap().contains("frame-ancestors 'none'")
        );
        assert!(headers.keys().all(|name| !name.as_str().starts_with("access-control-")));
        assert_eq!(headers.contains_key("strict-transport-security"), visitor.https);
        // What has an `ETag` may be kept, and is asked for anew each time.
        let kept = if headers.contains_key("etag") { "private, no-cache" } else { "no-store" };
        assert_eq!(headers["cache-control"], kept);
    }
}

#[tokio::test]
async fn a_secret_that_could_be_read_on_its_way_is_refused() {
    let strict = remote(ApiAccess::default());
    let lax = remote(ApiAccess { insecure: true, ..ApiAccess::default() });
    for (name, value) in [("authorization", "Bearer ten_x"), ("cookie", "tenement-session=b")] {
        let asked = || Request::get("/api/v1/health").header(name, value);
        let response = ask(&strict, far(false), asked()).await;
        assert_eq!(response.status(), 403);
        let problem = problem(response).await;
        assert_eq!(problem.code, "insecure_transport");
        assert!(problem.hint.unwrap().contains("insecure = true"));
        for (remote, visitor) in [(&strict, far(true)), (&strict, LOCAL), (&lax, far(false))] {
            assert_ne!(ask(remote, visitor, asked()).await.status(), 403, "{visitor:?}");
        }
    }
    assert_eq!(ask(&strict, far(false), Request::post("/api/v1/session")).await.status(), 403);
}

#[tokio::test]
async fn only_configured_names_and_those_of_the_host_itself_reach_it() {
    let aliases = vec!["console.example.com".to_owned()];
    let remote = remote(ApiAccess { aliases, ..ApiAccess::default() });
    assert!(remote.answers_as("console.example.com", &far(true)));
    assert!(!remote.answers_as("evil.example.org", &LOCAL));
    for own in ["localhost", "127.0.0.1", "[::1]"] {
        assert!(remote.answers_as(own, &LOCAL));
        assert!(!remote.answers_as(own, &far(true)), "{own}");
    }
    remote.set_access(ApiAccess { remote: false, ..ApiAccess::default() });
    assert!(!remote.is_open() && !remote.answers_as("console.example.com", &far(true)));
}
