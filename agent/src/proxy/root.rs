//! The domain itself: says that the agent is there, and hands the rest to what manages the agent.

use std::error::Error;
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;

use super::answer::ProxyBody;
use super::error;
use super::forwarded::X_FORWARDED_PROTO;
use super::state::{Active, Arrival, Proxy};
use crate::flows::Tenants;
use crate::framing::{Visitor, host, visitor};

/// The body of an answer of [`Root`].
pub type RootBody = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;
/// An answer of [`Root`] in the making.
pub type RootFuture = Pin<Box<dyn Future<Output = Response<RootBody>> + Send>>;

/// What answers on the domain itself, below the few paths that the proxy knows.
pub trait Root: Debug + Send + Sync + 'static {
    /// Whether requests are taken at all; if not, they are answered with 404.
    fn is_open(&self) -> bool;

    /// Whether it has a page for the path `/`.
    fn has_pages(&self) -> bool;

    /// Whether `host`, in lower case and neither the domain nor an instance's, is its name too.
    fn answers_as(&self, host: &str, visitor: &Visitor) -> bool;

    /// Answers one request, whatever happens. It bounds by itself how many it works on.
    fn answer(&self, visit: Visit) -> RootFuture;
}

/// One request to the domain itself.
#[derive(Debug)]
pub struct Visit {
    /// The request, in origin form.
    pub request: Request<Incoming>,
    /// Who sent it.
    pub visitor: Visitor,
    /// The host with its port, as the client wrote it; checked.
    pub host: HeaderValue,
    /// Its request id, which the answer gets too.
    pub id: HeaderValue,
}

/// Whether `host`, which is no instance's, is another name of the domain itself.
pub(super) fn answers_as<T: Tenants>(
    proxy: &Proxy<T>,
    active: &Active,
    request: &Request<Incoming>,
    value: &HeaderValue,
) -> bool {
    let Some(root) = proxy.root.get().filter(|root| root.is_open()) else { return false };
    let name = host::parse(value.as_bytes()).map(|host| host.name).unwrap_or_default();
    let name = std::str::from_utf8(name).unwrap_or_default().to_ascii_lowercase();
    root.answers_as(&name, &visitor_of(active, request.headers()))
}

pub(super) fn visitor_of(active: &Active, headers: &HeaderMap) -> Visitor {
    let client = active.client();
    let mut visitor = visitor(client.peer, headers, |ip| client.policy.trusts(ip));
    // A trusted proxy that says nothing of it speaks for itself.
    let said = client.trusted && headers.contains_key(X_FORWARDED_PROTO);
    visitor.https |= !said && matches!(client.arrival, Arrival::Tls { .. });
    visitor
}

/// Answers a request to the domain itself.
pub(super) async fn answer<T: Tenants>(
    proxy: &Proxy<T>,
    active: Active,
    request: Request<Incoming>,
    host: &HeaderValue,
    id: &HeaderValue,
) -> Response<ProxyBody> {
    let root = proxy.root.get().filter(|root| root.is_open());
    if let Some(answer) = known(&request, root.is_some_and(|root| root.has_pages())) {
        return answer;
    }
    let Some(root) = root else {
        return own(&request, StatusCode::NOT_FOUND, "application/problem+json", NOT_FOUND);
    };
    let visitor = visitor_of(&active, request.headers());
    let visit = Visit { request, visitor, host: host.clone(), id: id.clone() };
    root.answer(visit).await.map(|body| ProxyBody::root(body, active))
}

/// What the proxy answers by itself, so that it does even when the API has more to do than it can.
fn known<B>(request: &Request<B>, has_pages: bool) -> Option<Response<ProxyBody>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    let (kind, body) = match request.uri().path() {
        "/health" | "/healthz" => ("application/json", "{\"status\":\"ok\"}\n"),
        "/" if has_pages && error::wants_html(request.headers()) => return None,
        "/" if error::wants_html(request.headers()) => ("text/html; charset=utf-8", PAGE),
        "/" => ("application/json", "{\"service\":\"tenement\",\"status\":\"running\"}\n"),
        _ => return None,
    };
    Some(own(request, StatusCode::OK, kind, body))
}

fn own<B>(
    request: &Request<B>,
    status: StatusCode,
    kind: &'static str,
    body: &'static str,
) -> Response<ProxyBody> {
    let mut answer = Response::new(ProxyBody::empty());
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in HARDENED {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if request.method() != Method::HEAD {
        *answer.body_mut() = ProxyBody::full(body);
    }
    answer
}

/// What keeps browsers from doing more with the page than showing it.
const HARDENED: [(HeaderName, &str); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
];

const NOT_FOUND: &str =
    "{\"status\":404,\"code\":\"not_found\",\"detail\":\"There is nothing here.\"}\n";

const PAGE: &str = "<!doctype html><html lang=en><meta charset=utf-8>\
<meta name=viewport content=\"width=device-width\"><title>tenement</title>\
<style>body{font:1em/1.5 system-ui,sans-serif;max-width:36em;margin:15vh auto;padding:0 1em}</style>\
<h1>tenement is running</h1><p>Instances answer under <code>id.process.domain</code>.\
<p><code>ten ps</code> lists them, <code>ten spawn PROCESS --id ID</code> makes one.</html>\n";
