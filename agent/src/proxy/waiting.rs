//! A page for browsers while a wake takes long, where a process asks for one. It loads itself again.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use tokio::time::Instant;

use super::answer::ProxyBody;
use super::error;
use super::rules;
use super::state::Proxy;
use super::way::Way;
use crate::flows::{Instance, Lease, Phase, Tenants};

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const REFRESH: HeaderName = HeaderName::from_static("refresh");
/// How long an instance is held awake for the browser to come back.
const HOLD: Duration = Duration::from_secs(10);

/// How long a request waits until its browser gets the page; none: it waits for the answer itself. Only who
/// goes to a page is answered by one: never a script, an API client or a request that changes something.
pub(super) fn patience(way: &Way, method: &Method, headers: &HeaderMap) -> Option<Duration> {
    let after = way.with.as_ref()?.rules.as_ref()?.policy.waiting_page_after?;
    let mode = headers.get(SEC_FETCH_MODE).map(HeaderValue::as_bytes);
    let navigates = mode.is_none_or(|mode| mode == b"navigate");
    let goes = *method == Method::GET && navigates && error::wants_html(headers);
    let upgrades = headers.contains_key(header::UPGRADE);
    let sleeps = way.instance.phase() != Phase::Running;
    (goes && !upgrades && sleeps).then_some(after)
}

/// The page. The wake goes on, and what it wakes does not fall asleep before the browser is back.
pub(super) fn page<T: Tenants>(
    proxy: &Arc<Proxy<T>>,
    instance: Arc<Instance>,
    began: Instant,
) -> Response<ProxyBody> {
    let proxy = proxy.clone();
    // Taken before the request lets go of its own: the wake would count as abandoned in between.
    let held = Lease::take(&instance);
    tokio::spawn(async move {
        if let Ok(lease) = proxy.tenants.awaken(&instance, began).await {
            tokio::time::sleep(HOLD).await;
            drop(lease);
        }
        drop(held);
    });
    let mut answer = rules::html_page(StatusCode::SERVICE_UNAVAILABLE, PAGE);
    let headers = answer.headers_mut();
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    headers.insert(REFRESH, HeaderValue::from_static("1"));
    answer
}

const PAGE: &str = "<!doctype html><html lang=en><meta charset=utf-8><meta http-equiv=refresh content=1>\
<meta name=viewport content=\"width=device-width\"><title>Starting</title>\
<style>body{font:1em/1.5 system-ui,sans-serif;max-width:36em;margin:15vh auto;padding:0 1em;\
color:#222;background:#fff}@media(prefers-color-scheme:dark){body{color:#ddd;background:#111}}</style>\
<h1>Starting</h1><p>This was asleep and is on its way. The page loads by itself.</html>\n";
