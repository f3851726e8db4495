//! The door on the domain itself, for callers from anywhere.
//!
//! ```text
//! proxy ─ who, which host ─► private enough for a secret? ─► room? ─► router (bearer token, routes)
//!                                    └────────── every answer: headers that tie browsers' hands ◄──┘
//! ```
//!
//! It puts [`Visitor`], [`Where`] and [`RequestId`] into each request, and no caller: the guard finds out who
//! asks, by token or cookie.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use tokio::sync::watch;

use super::access::{Caller, Where};
use super::dashboard;
use super::gate::Gate;
use super::problem::Problem;
use super::serve::Stopping;
use super::session::has_cookie;
use super::trace::RequestId;
use crate::config::{ApiAccess, MetricsAccess};
use crate::framing::Visitor;

/// The names under which a host knows itself.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// The API as other hosts reach it.
#[derive(Debug)]
pub struct Remote {
    router: Router,
    access: ArcSwap<ApiAccess>,
    metrics: ArcSwap<MetricsAccess>,
    gate: Gate,
    stop: watch::Sender<()>,
    /// Never looked at itself, so that its clones hear of a stop that is long past.
    stopping: watch::Receiver<()>,
}

/// The host that the client asked for, with its port.
#[derive(Debug, Clone)]
pub struct AskedHost(pub String);

impl Remote {
    /// Serves `router` as `access` says.
    #[must_use]
    pub fn new(router: Router, access: ApiAccess) -> Self {
        let (stop, stopping) = watch::channel(());
        let access = ArcSwap::from_pointee(access);
        let metrics = ArcSwap::default();
        Self { router, access, metrics, gate: Gate::new(), stop, stopping }
    }

    /// What the config says from now on.
    pub fn set_access(&self, access: ApiAccess) {
        self.access.store(Arc::new(access));
    }

    /// Who may scrape from now on.
    pub fn set_metrics(&self, metrics: MetricsAccess) {
        self.metrics.store(Arc::new(metrics));
    }

    /// Ends the answers that go on and on.
    pub fn stop(&self) {
        self.stop.send_replace(());
    }

    /// Whether other hosts are served at all.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.access.load().remote
    }

    /// Whether `host`, in lower case, is a name of the API beside the domain: a configured one, or to
    /// a client on this very host one of its own, so that a forwarded port works. A page elsewhere
    /// whose name suddenly points here (DNS rebinding) has neither.
    #[must_use]
    pub fn answers_as(&self, host: &str, visitor: &Visitor) -> bool {
        let local = visitor.local && LOCAL_NAMES.contains(&host);
        local || self.access.load().aliases.iter().any(|alias| alias == host)
    }

    /// Answers one request.
    pub async fn answer(
        &self,
        mut request: Request<Body>,
        visitor: Visitor,
        host: AskedHost,
        id: RequestId,
    ) -> Response {
        if let Some(mut page) = self.page(&request) {
            harden(page.headers_mut(), visitor.https);
            return page;
        }
        let known = id.0.clone();
        let scrapes = request.uri().path() == "/metrics"
            && !request.headers().contains_key(header::AUTHORIZATION);
        let refused = self.refusal(&request, &visitor);
        let mut response = match refused {
            Some(problem) => problem.render(&known),
            None => match self.gate.enter(visitor.address).await {
                None => Problem::too_many().render(&known),
                Some(pass) => {
                    let extensions = request.extensions_mut();
                    extensions.insert(pass.turn());
                    if scrapes
                        && self
                            .metrics
                            .load()
                            .allow
                            .iter()
                            .any(|range| range.contains(visitor.address))
                    {
                        extensions.insert(Caller::Scraper);
                    }
                    extensions.insert(Where(visitor.address));
                    extensions.insert(visitor);
                    extensions.insert(host);
                    extensions.insert(id);
                    extensions.insert(Stopping(self.stopping.clone()));
                    let answered = TowerToHyperService::new(self.router.clone()).call(request);
                    answered.await.unwrap_or_else(|never| match never {})
                }
            },
        };
        harden(response.headers_mut(), visitor.https);
        response
    }

    /// Whether the domain has pages for people, and not only the API.
    #[must_use]
    pub fn has_pages(&self) -> bool {
        let access = self.access.load();
        access.remote && access.dashboard
    }

    /// A page or file of the dashboard, if that is what is asked for. It is the same for everybody and takes
    /// no work, so nobody has to wait for room.
    fn page(&self, request: &Request<Body>) -> Option<Response> {
        self.has_pages().then(|| dashboard::answer(request)).flatten()
    }

    /// A secret that can be read on its way is as good as lost: whoever sends one learns it at once.
    fn refusal(&self, request: &Request<Body>, visitor: &Visitor) -> Option<Problem> {
        let secret = request.headers().contains_key(header::AUTHORIZATION)
            || has_cookie(request.headers())
            || *request.method() == Method::POST && request.uri().path().ends_with("/session");
        let readable = !visitor.is_private() && !self.access.load().insecure;
        (secret && readable).then(Problem::readable)
    }
}

/// What every answer says to browsers. A page of the domain itself brings a policy of its own.
fn harden(headers: &mut HeaderMap, https: bool) {
    for (name, value) in HARDENED {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if https {
        let year = HeaderValue::from_static("max-age=31536000");
        headers.insert(header::STRICT_TRANSPORT_SECURITY, year);
    }
}

const HARDENED: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-embedder-policy"), "require-corp"),
];
