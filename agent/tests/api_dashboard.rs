//! The pages of the dashboard: who gets them, and what they tell browsers. A build without `make dashboard` has a
//! page that says so, and no files; what concerns the files is tested when they are there.

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

/// What the issue allows for all files together, gzipped.
const MOST: u64 = 150_000;

async fn get(access: ApiAccess, path: &str, headers: &[(&str, &str)]) -> Response {
    let router = router_with(Arc::new(Fake::default()), Services::none().unwrap());
    let remote = Remote::new(router, access);
    let address = "198.51.100.7".parse().unwrap();
    let visitor = Visitor { address, https: true, local: false };
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (host, id) = (AskedHost("example.com".into()), RequestId("the-id".into()));
    remote.answer(request.body(Body::empty()).unwrap(), visitor, host, id).await
}

const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8");

async fn body(response: Response) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

/// The page, and the files that it names; None without `make dashboard`.
async fn built() -> Option<Vec<String>> {
    let page = body(get(ApiAccess::default(), "/", &[BROWSER]).await).await;
    if page.contains("no part of this build") {
        return None;
    }
    let named = page.split(['"', '\'']).filter(|part| part.starts_with('/')).map(str::to_owned);
    Some(named.collect())
}

#[tokio::test]
async fn a_browser_gets_the_page_on_every_path_but_the_apis() {
    for path in ["/", "/instances", "/instances/api%3Aprod", "/logs?q=x", "/nothing"] {
        let response = get(ApiAccess::default(), path, &[BROWSER]).await;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(header(&response, "content-type"), "text/html; charset=utf-8");
        assert!(!header(&response, "cache-control").contains("max-age"), "{path}");
        let policy = header(&response, "content-security-policy").to_owned();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(header(&response, "x-frame-options"), "DENY");
        assert!(response.headers().contains_key("strict-transport-security"));
    }
    for path in ["/api/v1/instances", "/api", "/api/v1/nothing", "/assets/nothing.js", "/metrics"] {
        let response = get(ApiAccess::default(), path, &[BROWSER]).await;
        assert_eq!(response.status(), 401, "{path}");
        assert_eq!(header(&response, "content-type"), "application/problem+json", "{path}");
    }
}

#[tokio::test]
async fn a_program_that_asks_for_no_page_gets_none() {
    for accept in ["*/*", "application/json", "text/html;q=0, */*"] {
        let response = get(ApiAccess::default(), "/instances", &[("accept", accept)]).await;
        assert_eq!(response.status(), 401, "{accept}");
    }
}

#[tokio::test]
async fn pages_can_be_switched_off() {
    let off = ApiAccess { dashboard: false, ..ApiAccess::default() };
    assert_eq!(get(off, "/", &[BROWSER]).await.status(), 401);
}

#[tokio::test]
async fn files_are_kept_for_a_year_and_the_page_is_asked_for_anew() {
    let Some(files) = built().await else { return };
    for path in files.iter().map(String::as_str).chain(["/"]) {
        let encoding = ("accept-encoding", "gzip, br");
        let response = get(ApiAccess::default(), path, &[BROWSER, encoding]).await;
        assert_eq!(response.status(), 200, "{path}");
        let kept = match path.starts_with("/assets/") {
            true => "public, max-age=31536000, immutable",
            false => "no-cache",
        };
        assert_eq!(header(&response, "cache-control"), kept, "{path}");
        assert_eq!(header(&response, "content-encoding"), "br", "{path}");
        assert_eq!(header(&response, "vary"), "Accept-Encoding");
        let tag = header(&response, "etag").to_owned();
        let again = [BROWSER, encoding, ("if-none-match", tag.as_str())];
        let response = get(ApiAccess::default(), path, &again).await;
        assert_eq!((response.status().as_u16(), header(&response, "etag")), (304, tag.as_str()));
    }
}

#[tokio::test]
async fn all_files_together_are_small() {
    let Some(files) = built().await else { return };
    assert!(files.iter().any(|file| file.ends_with(".js")) && files.len() >= 4, "{files:?}");
    let mut total = 0;
    for path in files.iter().map(String::as_str).chain(["/"]) {
        let headers = [BROWSER, ("accept-encoding", "gzip")];
        let response = get(ApiAccess::default(), path, &headers).await;
        total += header(&response, "content-length").parse::<u64>().expect("a length");
    }
    assert!(total <= MOST, "{total} bytes");
}
