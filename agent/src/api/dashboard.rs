//! The dashboard: pages that a browser gets on the domain itself, embedded in the binary.
//!
//! ```text
//! GET /assets/app-B3x.js ─► the file, for a year     GET /, /instances/… (text/html) ─► index.html, asked for anew
//! ```
//!
//! `make dashboard` builds the files in `dashboard/dist`; without them a page says so. They hold nothing of
//! this host, so they need no login: what they show they get from the API, as any other client.

use axum::body::Body;
use axum::response::Response;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use rust_embed::{Embed, EmbeddedFile};

/// What `make dashboard` has built, with `.br` and `.gz` beside what they make smaller.
#[derive(Embed)]
#[folder = "../dashboard/dist"]
#[allow_missing = true]
struct Built;

/// Nothing but the files beside the page may run, style it or be asked by it; no text becomes markup but by
/// the templates of Svelte.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     require-trusted-types-for 'script'; trusted-types svelte-trusted-html; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// Encodings that files are kept in, the best first, with the end of their names.
const ENCODINGS: [(&str, &str); 2] = [("br", ".br"), ("gzip", ".gz")];

/// The file or page that is asked for; None if the request is for something else, such as the API.
pub(super) fn answer<B>(request: &Request<B>) -> Option<Response> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    let (path, headers) = (request.uri().path(), request.headers());
    let name = path.trim_start_matches('/');
    let is_file = !name.is_empty() && ENCODINGS.iter().all(|(_, end)| !name.ends_with(end));
    let mut response = if let Some(file) = is_file.then(|| Built::get(name)).flatten() {
        send(name, file, headers)
    } else if is_page(path) && contains(headers, &ACCEPT, "text/html") {
        match Built::get("index.html") {
            Some(file) => send("index.html", file, headers),
            None => not_built(),
        }
    } else {
        return None;
    };
    if *request.method() == Method::HEAD {
        *response.body_mut() = Body::empty();
    }
    Some(response)
}

/// Whether a path may be a page of the dashboard: not the API's, and no missing file.
fn is_page(path: &str) -> bool {
    let others = ["/api/", "/assets/", "/.well-known/"];
    path != "/api"
        && path != "/readyz"
        && path != "/metrics"
        && !others.iter().any(|other| path.starts_with(other))
}

fn contains(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| {
        let mut parts = part.split(';').map(str::trim);
        parts.next() == Some(word) && !parts.any(|weight| matches!(weight, "q=0" | "q=0.0"))
    })
}

fn send(name: &str, file: EmbeddedFile, headers: &HeaderMap) -> Response {
    let smaller = ENCODINGS.iter().filter(|(word, _)| contains(headers, &ACCEPT_ENCODING, word));
    let smaller = smaller
        .filter_map(|(word, end)| Some((*word, Built::get(&format!("{name}{end}"))?)))
        .next();
    let (encoding, file) = match smaller {
        Some((word, file)) => (Some(word), file),
        None => (None, file),
    };
    let hash = file.metadata.sha256_hash();
    let tag: String = hash[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{tag}\"");
    // The names of assets change with what is in them.
    let cache = match name.starts_with("assets/") {
        true => "public, max-age=31536000, immutable",
        false => "no-cache",
    };
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let fresh = known
        .flat_map(|value| value.split(','))
        .any(|one| matches!(one.trim().trim_start_matches("W/"), one if one == tag || one == "*"));
    let mut response = Response::new(Body::empty());
    let fields = response.headers_mut();
    fields.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    fields.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        fields.insert(ETAG, tag);
    }
    fields.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    if fresh {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(kind(name)));
    if let Some(word) = encoding {
        fields.insert(CONTENT_ENCODING, HeaderValue::from_static(word));
    }
    fields.insert(CONTENT_LENGTH, HeaderValue::from(file.data.len()));
    *response.body_mut() = Body::from(match file.data {
        std::borrow::Cow::Borrowed(data) => axum::body::Bytes::from_static(data),
        std::borrow::Cow::Owned(data) => data.into(),
    });
    response
}

/// The type of a file by its name.
fn kind(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, end)| end) {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "webmanifest" => "application/manifest+json",
        _ => "application/octet-stream",
    }
}

fn not_built() -> Response {
    const PAGE: &str = "<!doctype html><html lang=en><meta charset=utf-8><title>tenement</title>\
        <h1>tenement is running</h1><p>The dashboard is no part of this build. <code>make dashboard</code> \
        builds it, and the agent that is compiled then has it.</html>\n";
    let mut response = Response::new(Body::from(PAGE));
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    fields.insert(CONTENT_LENGTH, HeaderValue::from(PAGE.len()));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
