//! Whether a caller may: one layer in front of every route.
//!
//! ```text
//! door: admin socket → Caller::Local   bare domain → a browser session, or nobody yet
//!   → layer: what does the route need? → bearer token → 401 · 403 · 404 as if it did not exist · the handler
//! ```
//!
//! What each route needs is in its own annotation, and [`Rules`] are read from the OpenAPI document that the
//! annotations make. A route that it does not know is refused to everybody but the admin socket, so one that
//! was forgotten is closed, not open. A restricted token reaches only routes with an instance in their path,
//! which is checked here, those of its own process below [`OF_A_PROCESS`], and those in [`FILTERED`], whose handlers leave out what the [`Caller`] does not see.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::RequestPartsExt as _;
use axum::extract::{MatchedPath, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{ALLOW, AUTHORIZATION};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::Value;
use tenement_wire::{InstanceName, ProcessName, Scope};

use super::access::{Caller, Where};
use super::lapse;
use super::problem::Problem;
use super::session;
use crate::flows::sessions::Sessions;
use crate::flows::tokens::{Lapse, Tokens};
use crate::token::Reach;

/// What a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing: it is open to all.
    Nothing,
    /// A caller with at least this scope.
    Scope(Scope),
}

impl Need {
    fn of(security: &Value) -> Option<Self> {
        let [one] = security.as_array()?.as_slice() else { return None };
        if one.as_object()?.is_empty() {
            return Some(Self::Nothing);
        }
        let [scope] = one["token"].as_array()?.as_slice() else { return None };
        scope.as_str()?.parse().ok().map(Self::Scope)
    }
}

/// What each route needs, by path below the prefix and method.
#[derive(Debug, Default)]
pub struct Rules {
    paths: HashMap<String, HashMap<Method, Need>>,
}

/// Routes without an instance in their path whose handlers leave out what the caller does not see.
pub const FILTERED: [(&str, &str); 29] = [
    ("GET", "/instances"),
    ("POST", "/instances"),
    ("GET", "/instances/stream"),
    ("GET", "/logs"),
    ("GET", "/logs/stream"),
    ("GET", "/logs/export"),
    ("GET", "/logs/histogram"),
    ("GET", "/logs/usage"),
    ("GET", "/events"),
    ("GET", "/events/stream"),
    ("GET", "/metrics"),
    ("GET", "/metrics/history"),
    ("GET", "/metrics/live"),
    ("GET", "/version"),
    ("GET", "/backups"),
    ("GET", "/cron"),
    ("GET", "/domains"),
    ("POST", "/domains"),
    ("GET", "/domains/{domain}"),
    ("DELETE", "/domains/{domain}"),
    ("POST", "/domains/{domain}/check"),
    ("GET", "/tokens"),
    ("POST", "/tokens"),
    ("GET", "/tokens/{id}"),
    ("DELETE", "/tokens/{id}"),
    ("POST", "/tokens/{id}/rotate"),
    ("GET", "/session"),
    ("DELETE", "/session"),
    ("DELETE", "/sessions"),
];

/// Routes with a process in their path that a token for that whole process may use; one for a single instance
/// would see others through them.
const OF_A_PROCESS: [&str; 4] = [
    "/processes/{process}/releases",
    "/processes/{process}/deploys",
    "/processes/{process}/rollback",
    "/processes/{process}/route",
];

impl Rules {
    /// What the OpenAPI document says of its operations: `security: [{"token": ["read"]}]`, or `[{}]` for
    /// those that are open to all. An operation that says anything else is left out, and so closed.
    #[must_use]
    pub fn of(document: &Value) -> Self {
        let mut rules = Self::default();
        for (path, item) in document["paths"].as_object().into_iter().flatten() {
            for (method, operation) in item.as_object().into_iter().flatten() {
                let Ok(method) = method.to_ascii_uppercase().parse() else { continue };
                let Some(need) = Need::of(&operation["security"]) else { continue };
                let path = below_prefix(path).to_owned();
                rules.paths.entry(path).or_default().insert(method, need);
            }
        }
        rules
    }

    /// Whether every method of `path` is open to all.
    fn is_open(&self, path: &str) -> bool {
        let methods = self.paths.get(below_prefix(path));
        methods.is_some_and(|methods| methods.values().all(|need| *need == Need::Nothing))
    }

    /// What the route at `path`, as the router matched it, needs; None if it is not known. HEAD is GET without a body.
    #[must_use]
    pub fn need(&self, method: &Method, path: &str) -> Option<Need> {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        self.paths.get(below_prefix(path))?.get(method).copied()
    }
}

fn below_prefix(path: &str) -> &str {
    path.strip_prefix("/api/v1").or_else(|| path.strip_prefix("/api")).unwrap_or(path)
}

fn is_filtered(method: &Method, path: &str) -> bool {
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    FILTERED.contains(&(method, path))
}

/// What the layer needs.
pub(super) struct Guard {
    pub rules: Rules,
    pub tokens: Arc<Tokens>,
    pub sessions: Arc<Sessions>,
}

/// The layer.
pub(super) async fn authorize(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let route = parts.extensions.get::<MatchedPath>().cloned();
    let route = route.as_ref().map(MatchedPath::as_str).map(below_prefix);
    let need = route.and_then(|route| guard.rules.need(&parts.method, route));
    if need == Some(Need::Nothing) {
        return next.run(Request::from_parts(parts, body)).await;
    }
    // Whoever may use every method of a path may learn that there is no other.
    if let (None, Some(route)) = (need, route)
        && guard.rules.is_open(route)
    {
        return guard.other_methods(&parts.method, route);
    }
    let lapse = match guard.authenticate(&mut parts).await {
        Ok(lapse) => lapse,
        Err(problem) => return problem.into_response(),
    };
    let caller = parts.extensions.get::<Caller>().cloned();
    let mut response = match guard.judge(caller.as_ref(), need, route, &mut parts).await {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(response) => response,
    };
    if let Some(caller) = caller {
        if !caller.sees_all()
            && let Some(problem) = response.extensions_mut().get_mut::<Problem>()
        {
            problem.hide_others();
        }
        response.extensions_mut().insert(caller);
    }
    match lapse {
        Some(lapse) => lapse::until(lapse, response),
        None => response,
    }
}

impl Guard {
    /// Finds out who asks, unless the door knows already, and when that ends.
    async fn authenticate(&self, parts: &mut Parts) -> Result<Option<Lapse>, Problem> {
        if parts.extensions.get::<Caller>().is_some() {
            return Ok(parts.extensions.get::<Lapse>().cloned());
        }
        session::recognise(&self.sessions, &parts.method, &parts.headers, &mut parts.extensions)?;
        if let Some(lapse) = parts.extensions.get::<Lapse>() {
            return Ok(Some(lapse.clone()));
        }
        let Some(token) = bearer(&parts.headers)? else { return Ok(None) };
        let nowhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let from = parts.extensions.get::<Where>().map_or(nowhere, |from| from.0);
        let verified = self.tokens.verify(token, from).await?;
        parts.extensions.insert(Caller::Token(verified.grant));
        Ok(Some(verified.lapse))
    }

    async fn judge(
        &self,
        caller: Option<&Caller>,
        need: Option<Need>,
        route: Option<&str>,
        parts: &mut Parts,
    ) -> Result<(), Response> {
        let grant = match caller {
            Some(Caller::Local(_)) => return Ok(()),
            // Its door lets it through for nothing else.
            Some(Caller::Scraper) if route == Some("/metrics") => return Ok(()),
            None | Some(Caller::Scraper) => return Err(Problem::unauthenticated().into_response()),
            Some(Caller::Token(grant)) => grant,
        };
        // What matches no route is told so by the router.
        let Some(route) = route else { return Ok(()) };
        let Some(Need::Scope(scope)) = need else {
            return Err(self.other_methods(&parts.method, route));
        };
        if !grant.may(scope) {
            return Err(Problem::forbidden_scope(scope, grant.scope).into_response());
        }
        if grant.reach == Reach::Host {
            return Ok(());
        }
        if route.starts_with("/instances/{name}") {
            return match instance_of(parts).await {
                Some(name) if !grant.sees(&name) => {
                    Err(Problem::unknown_instance(&name).into_response())
                }
                // What is no name is told so by the handler.
                _ => Ok(()),
            };
        }
        if is_filtered(&parts.method, route) {
            return Ok(());
        }
        if OF_A_PROCESS.iter().any(|own| below(route, own)) {
            let process = process_of(parts).await;
            return match (&grant.reach, process) {
                (Reach::Process(own), Some(asked)) if *own == asked => Ok(()),
                _ => Err(Problem::forbidden_reach().into_response()),
            };
        }
        Err(Problem::forbidden_reach().into_response())
    }

    fn other_methods(&self, method: &Method, route: &str) -> Response {
        let mut response = Problem::method_not_allowed(method).into_response();
        let mut methods: Vec<&str> =
            self.rules.paths.get(route).into_iter().flatten().map(|(m, _)| m.as_str()).collect();
        methods.sort_unstable();
        if let Ok(methods) = HeaderValue::from_str(&methods.join(",")) {
            response.headers_mut().insert(ALLOW, methods);
        }
        response
    }
}

/// The token in `Authorization: Bearer …` (RFC 6750). None without the header.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    let parts = text.and_then(|text| text.split_once(' '));
    let token = parts.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    token.map(|(_, token)| Some(token.trim())).ok_or_else(Problem::unauthenticated)
}

/// Whether `route` is `root`, or below it.
fn below(route: &str, root: &str) -> bool {
    route.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The process in the path. None for what is no name.
async fn process_of(parts: &mut Parts) -> Option<ProcessName> {
    let params = parts.extract::<RawPathParams>().await.ok()?;
    let process = params.iter().find(|(key, _)| *key == "process")?.1;
    process.parse().ok()
}

/// The instance in the path. None for what is no name.
async fn instance_of(parts: &mut Parts) -> Option<InstanceName> {
    let params = parts.extract::<RawPathParams>().await.ok()?;
    let name = params.iter().find(|(key, _)| *key == "name")?.1;
    name.parse().ok()
}
