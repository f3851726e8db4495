//! What a process asks of its requests before anything is woken: addresses, rates, passwords, maintenance.

mod auth;

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;

pub(super) use auth::Doorman;

use super::answer::ProxyBody;
use super::error::{self, Failure};
use super::state::{Active, Proxy};
use crate::config::Edits;
use crate::flows::Tenants;
use crate::flows::instance::mono_us;
use crate::framing::visitor;
use crate::routes::{Maintenance, Rules};

/// The client's address, as far as the trusted proxies say.
pub(super) fn address_of(active: &Active, headers: &HeaderMap) -> IpAddr {
    let client = active.client();
    visitor(client.peer, headers, |ip| client.policy.trusts(ip)).address
}

/// Whether the request may go on; else what it is answered.
pub(super) async fn check<T: Tenants>(
    proxy: &Proxy<T>,
    rules: &Rules,
    active: &Active,
    request: &Request<Incoming>,
) -> Result<Option<Response<ProxyBody>>, Failure> {
    let policy = &rules.policy;
    let address = address_of(active, request.headers());
    if !policy.admits(address) {
        return Err(Failure::Forbidden);
    }
    if let Some(rate) = &rules.rate
        && let Err(after) = rate.pass(address, mono_us())
    {
        return Err(Failure::TooFast(after));
    }
    let html = error::wants_html(request.headers());
    if let Some(maintenance) = &rules.maintenance {
        let after = policy.maintenance_retry_after.as_secs().max(1);
        return Ok(Some(in_maintenance(maintenance, after, html)));
    }
    if !policy.users.is_empty() && !proxy.doorman.knows(rules, request.headers(), address).await? {
        return Ok(Some(unauthorized(&policy.realm)));
    }
    if let (Some(most), Some(length)) = (policy.body_max, super::handle::content_length(request))
        && length > most
    {
        return Err(Failure::BodyTooLarge);
    }
    Ok(None)
}

/// Sets and takes off what the config says.
pub(super) fn edit(headers: &mut HeaderMap, edits: &Edits) {
    for name in &edits.remove {
        headers.remove(name);
    }
    for (name, value) in &edits.set {
        headers.insert(name.clone(), value.clone());
    }
}

fn page(
    status: StatusCode,
    kind: &'static str,
    body: impl Into<bytes::Bytes>,
) -> Response<ProxyBody> {
    let body = body.into();
    let mut answer = Response::new(ProxyBody::empty());
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    // To HEAD, hyper writes the head alone.
    *answer.body_mut() = ProxyBody::full(body);
    answer
}

/// An answer of ours, in HTML.
pub(super) fn html_page(status: StatusCode, body: impl Into<bytes::Bytes>) -> Response<ProxyBody> {
    page(status, "text/html; charset=utf-8", body)
}

fn in_maintenance(maintenance: &Maintenance, after: u64, html: bool) -> Response<ProxyBody> {
    const STATUS: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
    let mut answer = match (&maintenance.page, html) {
        (Some(page), true) => html_page(STATUS, page.clone()),
        (None, true) => html_page(STATUS, PAGE),
        (_, false) => page(STATUS, "application/problem+json", PROBLEM),
    };
    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after));
    answer
}

fn unauthorized(realm: &str) -> Response<ProxyBody> {
    let mut answer = page(StatusCode::UNAUTHORIZED, "application/problem+json", NEEDS_PASSWORD);
    let value = format!("Basic realm=\"{realm}\", charset=\"UTF-8\"");
    if let Ok(value) = HeaderValue::from_str(&value) {
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, value);
    }
    answer
}

const PAGE: &str = "<!doctype html><html lang=en><meta charset=utf-8>\
<meta name=viewport content=\"width=device-width\"><title>Maintenance</title>\
<style>body{font:1em/1.5 system-ui,sans-serif;max-width:36em;margin:15vh auto;padding:0 1em;\
color:#222;background:#fff}@media(prefers-color-scheme:dark){body{color:#ddd;background:#111}}</style>\
<h1>Back soon</h1><p>This is under maintenance.</html>\n";

const PROBLEM: &str = "{\"status\":503,\"code\":\"maintenance\",\"title\":\"Service Unavailable\",\
\"detail\":\"This is under maintenance.\"}\n";

const NEEDS_PASSWORD: &str = "{\"status\":401,\"code\":\"unauthorized\",\"title\":\"Unauthorized\",\
\"detail\":\"A name and a password are needed.\"}\n";
