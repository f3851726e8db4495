//! Every change through the API becomes an event: who, from where, what, when, and what came of it.
//!
//! It is on the disk before the answer is sent. Should the client hang up, the change goes on in its task, and so
//! does its event. A store that can't be written refuses no change: the log says so under the request id.
//! Requests that were refused (401, 403, 429) are counted, reads included.

mod words;

use std::panic::AssertUnwindSafe;

use axum::RequestExt as _;
use axum::body::Body;
use axum::extract::{MatchedPath, RawPathParams, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use http::Method;
use tenement_wire::RouteTarget;
use tenement_wire::events::{Actor, Event, EventKind};

use super::access::{Caller, Where};
use super::idempotency::REPLAYED;
use super::input::read;
use super::problem::Problem;
use super::run::Program;
use super::trace::RequestId;
use crate::flows::ManageError;
use crate::flows::events::{Events, Refused, within};
use words::Asked;

/// Bodies that say what is changed are not looked at beyond this many bytes.
const BODY_MAX: u64 = 16 * 1024;

/// On an answer, for the event of it: whose domain was changed.
#[derive(Debug, Clone)]
pub(super) struct About(pub(super) RouteTarget);

/// Wraps every route, and who may use it: counts those who may not.
pub(super) async fn refusals(events: Option<Events>, request: Request, next: Next) -> Response {
    let Some(events) = events else { return next.run(request).await };
    let mut who = Who::of(&request);
    let method = request.method().clone();
    let path = path_of(&request);
    let response = next.run(request).await;
    let status = response.status().as_u16();
    if is_refusal(&response) {
        // Who it was, the layer in between has found out.
        if let Some(caller) = response.extensions().get::<Caller>() {
            who.actor = actor(caller);
        }
        let code = response.extensions().get::<Problem>().map(|problem| problem.api.code.clone());
        events.refused(Refused {
            address: who.address,
            actor: who.actor,
            status,
            code: code.unwrap_or_else(|| status.to_string()),
            action: format!("{method} {path}"),
            request_id: who.request_id,
        });
    }
    response
}

/// Wraps every route, for those who may use it.
pub(super) async fn audit(events: Option<Events>, request: Request, next: Next) -> Response {
    let Some(events) = events else { return next.run(request).await };
    let mut who = Who::of(&request);
    let caller = request.extensions().get::<Caller>().cloned();
    let method = request.method().clone();
    let path = path_of(&request);
    if matches!(method, Method::GET | Method::HEAD) || words::is_read(&method, &path) {
        return next.run(request).await;
    }
    let (request, mut asked) = match look(request, &method, &path).await {
        Ok(looked) => looked,
        Err(problem) => return problem.into_response(),
    };
    // What somebody tried with a process of others is not for those others to read.
    if caller.is_some_and(|caller| !asked.process.as_ref().is_none_or(|p| caller.sees_process(p))) {
        (asked.process, asked.instance) = (None, None);
    }
    // In a task of its own: a client that hangs up must not make a change that nobody knows of.
    let recorded = tokio::spawn(async move {
        let served = within(Some(who.request_id.clone()), next.run(request));
        let answer = AssertUnwindSafe(served).catch_unwind().await;
        let response = answer.unwrap_or_else(|_| internal("the handler panicked"));
        // An answer that is given again is of a change that is among the events already.
        let again = response.headers().contains_key(REPLAYED);
        if !is_refusal(&response) && !again {
            // Who logs in is known by then only.
            if let Some(caller) = response.extensions().get::<Caller>() {
                who.actor = actor(caller);
            }
            let event = change(who, asked, &response);
            record(&events, event).await;
        }
        response
    });
    recorded.await.unwrap_or_else(|error| internal(&error.to_string()))
}

/// The route, as the router matched it.
fn path_of(request: &Request) -> String {
    match request.extensions().get::<MatchedPath>() {
        Some(path) => words::below_prefix(path.as_str()).to_owned(),
        None => "?".to_owned(),
    }
}

fn is_refusal(response: &Response) -> bool {
    matches!(response.status().as_u16(), 401 | 403 | 429)
}

fn actor(caller: &Caller) -> Actor {
    match caller {
        Caller::Local(peer) => Actor::uid(peer.uid),
        Caller::Scraper => Actor::anonymous(),
        Caller::Token(grant) => Actor::token(grant.id.as_str(), grant.name.as_str()),
    }
}

/// Who asks, from where, in which request.
struct Who {
    actor: Actor,
    address: String,
    request_id: String,
}

impl Who {
    fn of(request: &Request) -> Self {
        let extensions = request.extensions();
        let caller = extensions.get::<Caller>();
        let address = match (caller, extensions.get::<Where>()) {
            (_, Some(from)) => from.0.to_string(),
            (Some(Caller::Local(_)), None) => "local".to_owned(),
            (_, None) => "unknown".to_owned(),
        };
        let actor = caller.map_or_else(Actor::anonymous, actor);
        let request_id = extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
        Self { actor, address, request_id }
    }
}

/// What is asked for: from the path, and from the body where that is known to hold no secret.
async fn look(
    mut request: Request,
    method: &Method,
    path: &str,
) -> Result<(Request, Asked), Problem> {
    let params = request.extract_parts::<RawPathParams>().await;
    let params: Vec<(String, String)> = match &params {
        Ok(params) => params.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        Err(_) => Vec::new(),
    };
    let mut asked = Asked::new(method, path, params, request.uri().query().unwrap_or(""));
    let short = http_body::Body::size_hint(request.body()).upper().is_some_and(|n| n <= BODY_MAX);
    if short && words::may_be_read(method, path) {
        let (parts, body) = request.into_parts();
        let bytes = read(Request::new(body)).await?;
        asked.take_body(&bytes);
        request = Request::from_parts(parts, Body::from(bytes));
    }
    Ok((request, asked))
}

fn change(who: Who, asked: Asked, response: &Response) -> Event {
    let code = response.extensions().get::<Problem>().map(|problem| problem.api.code.clone());
    let status = response.status();
    let end = match &code {
        None if status.is_success() => "done".to_owned(),
        None => status.to_string(),
        Some(code) => format!("not done: {code}"),
    };
    let mut event = Event::new(EventKind::Change, format!("{}: {end}", asked.words)).by(who.actor);
    (event.process, event.instance_id) = match response.extensions().get() {
        Some(About(target)) => (Some(target.process.clone()), target.instance.clone()),
        None => (asked.process, asked.instance),
    };
    (event.address, event.request_id) = (Some(who.address), Some(who.request_id));
    event.action = Some(asked.action);
    (event.status, event.code) = (Some(status.as_u16()), code);
    event.detail = asked.detail;
    if let Some(Program(program)) = response.extensions().get() {
        event.detail.insert("program".to_owned(), program.clone());
    }
    event
}

async fn record(events: &Events, event: Event) {
    let id = event.request_id.clone().unwrap_or_default();
    if let Err(error) = events.record_now(event).await {
        log::error!(request_id = id.as_str(), cause = error.to_string().as_str(); "a change is not among the events");
    }
}

fn internal(why: &str) -> Response {
    Problem::from(ManageError::Internal(why.into())).into_response()
}
