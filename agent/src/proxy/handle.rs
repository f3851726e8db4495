//! One request: from its host to an answer.

use std::borrow::Cow;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method, Request, Response, Version, header};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout};

use super::answer::{self, ProxyBody};
use super::error::{self, Failure};
use super::forward::{self, Passage, Wake};
use super::headers::Hop;
use super::record;
use super::stage::Stage;
use super::state::{Active, Counters, Proxy};
use super::steer::{self, Steered, Stripped, X_FORWARDED_PREFIX};
use super::way::Way;
use super::{headers, request_id, root, rules, secure, stall, waiting};
use crate::flows::Tenants;
use crate::flows::metrics::meter::CLIENT_GONE;
use crate::framing::{Reason, host};
use crate::routes::Route;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_TENEMENT_WAKE: HeaderName = HeaderName::from_static("x-tenement-wake");

/// Answers `request`, whatever happens.
pub(super) async fn handle<T: Tenants>(
    proxy: Arc<Proxy<T>>,
    active: Active,
    mut request: Request<Incoming>,
) -> Result<Response<ProxyBody>, Infallible> {
    Counters::add(&proxy.counters.requests);
    let version = request.version();
    if version == Version::HTTP_2 {
        headers::join_cookies(request.headers_mut());
    }
    let id = take_id(&proxy, &active, &request);
    let is_head = request.method() == Method::HEAD;
    let html = error::wants_html(request.headers());
    let hsts = secure::hsts(active.client());
    let mut answer = match find(&proxy, active, request, &id).await {
        Ok(answer) => answer,
        Err(failure) => {
            if failure.is_ours() {
                Counters::add(&proxy.counters.failures);
            }
            failure.answer(is_head, html, &id)
        }
    };
    answer.headers_mut().insert(X_REQUEST_ID, id);
    if let Some(hsts) = hsts {
        // What an instance says of itself counts.
        answer.headers_mut().entry(header::STRICT_TRANSPORT_SECURITY).or_insert(hsts);
    }
    if version == Version::HTTP_2 {
        answer.headers_mut().remove(header::CONNECTION);
        if is_head {
            // hyper leaves the body out by itself in HTTP/1 only.
            answer::without_body(&mut answer);
        }
        stall::begins();
    } else if proxy.stages.is(Stage::Draining) && !answer.headers().contains_key(header::CONNECTION)
    {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(answer)
}

/// The request's id: a trusted proxy's if it is a valid one, else a new one.
fn take_id<T: Tenants>(
    proxy: &Proxy<T>,
    active: &Active,
    request: &Request<Incoming>,
) -> HeaderValue {
    let given = active.client().trusted.then(|| request.headers().get(X_REQUEST_ID)).flatten();
    let id = given.filter(|id| request_id::is_valid(id)).cloned();
    id.unwrap_or_else(|| proxy.ids.next())
}

async fn find<T: Tenants>(
    proxy: &Arc<Proxy<T>>,
    active: Active,
    mut request: Request<Incoming>,
    id: &HeaderValue,
) -> Result<Response<ProxyBody>, Failure> {
    // The guard counts the fields of HTTP/1 while it reads them; of HTTP/2, hyper bounds the bytes.
    if request.headers().len() > active.client().policy.limits.header_count {
        return Err(Failure::HeadTooLarge);
    }
    let host = take_host(&mut request)?;
    let name = normalized(&host);
    let name = std::str::from_utf8(&name).map_err(|_| Failure::UnknownHost)?;
    if request.uri().path().starts_with("/.well-known/")
        && let Some(answer) = steer::proof(proxy, name, &request)
    {
        return Ok(answer);
    }
    if let Some(answer) = secure::before(proxy, active.client(), &request, &host)? {
        return Ok(answer);
    }
    let steered = match proxy.tenants.route(name) {
        Route::Instance(instance) => Ok(Steered::To(Way::to(instance))),
        other => steer::steer(proxy, &active, &mut request, name, other).await,
    };
    let way = match steered {
        Ok(Steered::To(way)) => way,
        Ok(Steered::Answered(answer)) => return Ok(*answer),
        Ok(Steered::Root) => return Ok(root::answer(proxy, active, request, &host, id).await),
        Err(Failure::UnknownHost) if root::answers_as(proxy, &active, &request, &host) => {
            return Ok(root::answer(proxy, active, request, &host, id).await);
        }
        Err(failure) => return Err(failure),
    };
    let started = Instant::now();
    // Room for ours at once, rather than growing twice.
    request.headers_mut().reserve(7);
    let hop = headers::strip(request.headers_mut());
    let mut record = record::begin(proxy, &active, &way.instance, &mut request, &host, id, &hop);
    let mut asked = Asked { way, started, answered: false };
    let passage = Passage { way: &mut asked.way, host: &host, id, started, record: &mut record };
    let passed = pass(proxy, active, request, hop, passage).await;
    asked.answered = true;
    let (own, passed) = match passed {
        Ok(Passed::On(answer)) => return Ok(answer),
        Ok(Passed::Waits(page)) => (page.status(), Ok(page)),
        Err(failure) => (failure.status(), Err(failure)),
    };
    asked.way.instance.meter().answered(own.as_u16(), started.elapsed());
    if let Some(record) = &mut record {
        match &passed {
            Ok(page) => record.paged(page),
            Err(failure) => record.failed(*failure),
        }
    }
    passed
}

/// A request that is on its way. One whose client goes away before its answer is dropped as it is, and counted
/// nevertheless: an instance that hangs must not look like one that nobody asks.
struct Asked {
    way: Way,
    started: Instant,
    answered: bool,
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.answered {
            self.way.instance.meter().answered(CLIENT_GONE, self.started.elapsed());
        }
    }
}

/// What a request got.
enum Passed {
    /// The instance's answer, which is counted at its end.
    On(Response<ProxyBody>),
    /// The waiting page.
    Waits(Response<ProxyBody>),
}

/// Passes `request` on to its instance.
async fn pass<T: Tenants>(
    proxy: &Arc<Proxy<T>>,
    active: Active,
    mut request: Request<Incoming>,
    hop: Hop,
    passage: Passage<'_>,
) -> Result<Passed, Failure> {
    let limit = active.client().policy.limits.body_bytes;
    if limit > 0 && content_length(&request).is_some_and(|length| length > limit) {
        return Err(Failure::BodyTooLarge);
    }
    let patience = waiting::patience(passage.way, request.method(), request.headers());
    // We have answered `100-continue` by the time that the body is passed on.
    request.headers_mut().remove(header::EXPECT);
    // After the hop-by-hop ones are off: `Connection` must not be able to list it.
    request.headers_mut().insert(X_REQUEST_ID, passage.id.clone());
    let client = active.client();
    client.headers.set(request.headers_mut(), passage.host, client.trusted);
    if hop.prefixed && !client.trusted {
        request.headers_mut().remove(X_FORWARDED_PREFIX);
    }
    if let Some(Stripped(prefix)) = request.extensions_mut().remove() {
        request.headers_mut().insert(X_FORWARDED_PREFIX, prefix);
    }
    if let Some(rules) = passage.way.with.as_ref().and_then(|with| with.rules.as_ref()) {
        rules::edit(request.headers_mut(), &rules.policy.request_headers);
    }
    let instance = patience.is_some().then(|| passage.way.instance.clone());
    let started = passage.started;
    let mut forwarded = pin!(forward::forward(proxy, active, request, hop, passage));
    let (mut answer, wake) = match patience.zip(instance) {
        None => forwarded.await?,
        Some((patience, instance)) => match timeout(patience, forwarded.as_mut()).await {
            Ok(forwarded) => forwarded?,
            Err(_) => return Ok(Passed::Waits(waiting::page(proxy, instance, started))),
        },
    };
    let wake = match wake {
        Wake::Hot => HeaderValue::from_static("hot"),
        Wake::Cold(took) => {
            let text = format!("cold;dur={:.1}", took.as_secs_f64() * 1000.0);
            HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("cold"))
        }
    };
    answer.headers_mut().reserve(2);
    answer.headers_mut().insert(X_TENEMENT_WAKE, wake);
    Ok(Passed::On(answer))
}

/// The request's host as the instance shall see it in `Host`: `:authority` in HTTP/2 (RFC 9113
/// section 8.3.1), which must not contradict a `Host` sent beside it.
fn take_host(request: &mut Request<Incoming>) -> Result<HeaderValue, Failure> {
    let bad = |reason| Err(Failure::BadRequest(reason));
    if request.method() == Method::CONNECT {
        return bad(Reason::Target);
    }
    let mut values = request.headers().get_all(header::HOST).iter();
    let (value, more) = (values.next().cloned(), values.next().is_some());
    if more {
        return bad(Reason::DuplicateHost);
    }
    let authority = request.uri().authority().map(|a| a.as_str().to_owned());
    if authority.is_some() {
        // Instances are sent the origin form.
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = path.map_or_else(|| http::Uri::from_static("/"), http::Uri::from);
    }
    match (authority, value) {
        (None, None) => bad(Reason::MissingHost),
        (None, Some(value)) => match host::parse(value.as_bytes()) {
            Some(_) => Ok(value),
            None => bad(Reason::BadHost),
        },
        (Some(authority), value) => {
            let Some(named) = host::parse(authority.as_bytes()) else {
                return bad(Reason::BadHost);
            };
            let same =
                |v: &HeaderValue| host::parse(v.as_bytes()).is_some_and(|v| v.same_as(&named));
            if value.as_ref().is_some_and(|value| !same(value)) {
                return bad(Reason::HostMismatch);
            }
            let value = match value {
                Some(value) => value,
                None => HeaderValue::from_str(&authority)
                    .map_err(|_| Failure::BadRequest(Reason::BadHost))?,
            };
            request.headers_mut().insert(header::HOST, value.clone());
            Ok(value)
        }
    }
}

/// The name in `value`, in lower case, without port and trailing dot.
fn normalized(value: &HeaderValue) -> Cow<'_, [u8]> {
    let name = host::parse(value.as_bytes()).map(|host| host.name).unwrap_or_default();
    if name.iter().any(u8::is_ascii_uppercase) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// Whether the client's bytes were encrypted on their way.
pub(super) fn is_https(active: &Active, headers: &http::HeaderMap) -> bool {
    let client = active.client();
    let forwarded = || headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https");
    client.arrival.is_encrypted() || (client.trusted && forwarded())
}

pub(super) fn content_length(request: &Request<Incoming>) -> Option<u64> {
    request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
