//! The domain itself: says that the agent is there.

use http::{HeaderValue, Method, Request, Response, StatusCode, header};

use super::answer::ProxyBody;
use super::error;

/// Answers a request to the bare domain.
pub(super) fn answer<B>(request: &Request<B>) -> Response<ProxyBody> {
    let (status, kind, body) = match request.uri().path() {
        "/health" | "/healthz" => (StatusCode::OK, "application/json", "{\"status\":\"ok\"}\n"),
        "/" if error::wants_html(request.headers()) => {
            (StatusCode::OK, "text/html; charset=utf-8", PAGE)
        }
        "/" => (
            StatusCode::OK,
            "application/json",
            "{\"service\":\"tenement\",\"status\":\"running\"}\n",
        ),
        _ => (
            StatusCode::NOT_FOUND,
            "application/problem+json",
            "{\"status\":404,\"code\":\"not_found\",\"detail\":\"There is nothing here.\"}\n",
        ),
    };
    let mut answer = Response::new(ProxyBody::empty());
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if request.method() != Method::HEAD {
        *answer.body_mut() = ProxyBody::full(body);
    }
    answer
}

const PAGE: &str = "<!doctype html><html lang=en><meta charset=utf-8>\
<meta name=viewport content=\"width=device-width\"><title>tenement</title>\
<style>body{font:1em/1.5 system-ui,sans-serif;max-width:36em;margin:15vh auto;padding:0 1em}</style>\
<h1>tenement is running</h1><p>Instances answer under <code>id.process.domain</code>.\
<p><code>ten ps</code> lists them, <code>ten spawn PROCESS --id ID</code> makes one.</html>\n";
