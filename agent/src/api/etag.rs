//! `ETag` and `If-None-Match` (RFC 9110, sections 8.8.3 and 13.1.2) for every JSON answer to a GET: a client
//! that asks again and again is told with 304 that nothing has changed.

use std::hash::{DefaultHasher, Hasher as _};

use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::problem::Problem;

/// Longer answers are sent without a tag.
const BODY_MAX: u64 = 64 * 1024 * 1024;

/// Wraps every route.
pub(super) async fn tag(request: Request, next: Next) -> Response {
    let get = matches!(*request.method(), Method::GET | Method::HEAD);
    let wanted: Vec<HeaderValue> =
        request.headers().get_all(IF_NONE_MATCH).iter().cloned().collect();
    let response = next.run(request).await;
    let json = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    let whole = response.body().size_hint().exact().is_some_and(|bytes| bytes <= BODY_MAX);
    if !get || response.status() != StatusCode::OK || !json || !whole {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, BODY_MAX as usize).await else {
        return Problem::malformed("the answer broke off").into_response();
    };
    let mut hasher = DefaultHasher::new();
    hasher.write(&bytes);
    let tag = format!("W/\"{:016x}{:x}\"", hasher.finish(), bytes.len());
    let known = wanted.iter().any(|value| names(value, &tag));
    set_tag(&mut parts.headers, &tag);
    if known {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(CONTENT_TYPE);
        parts.headers.remove(http::header::CONTENT_LENGTH);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(bytes))
}

fn set_tag(headers: &mut HeaderMap, tag: &str) {
    if let Ok(value) = HeaderValue::from_str(tag) {
        headers.insert(ETAG, value);
        // Kept by the one who asked, and asked for again each time.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    }
}

/// Whether a list of tags has this one. The comparison is the weak one.
fn names(value: &HeaderValue, tag: &str) -> bool {
    let text = value.to_str().unwrap_or("");
    let bare = tag.trim_start_matches("W/");
    text.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == bare)
}
