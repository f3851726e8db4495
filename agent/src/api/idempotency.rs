//! `Idempotency-Key`: a change that is asked for twice under one key is made once.
//!
//! ```text
//! key new       → run it in a task of its own → keep the answer
//! key known     → the same request: wait for the first one's answer and give it again · another: 422
//! ```
//!
//! Answers are kept in memory, by caller and key, for a day at most: an agent that is started anew has
//! forgotten them. An answer of 500 or above is not kept, so that another try is one.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::sync::watch;
use tokio::time::Instant;

use super::access::Caller;
use super::document::Document;
use super::input::read;
use super::problem::Problem;
use crate::flows::events::{request as served, within};

/// The header of a request.
pub const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Set on an answer that is given again.
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// How long an answer is kept.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Most keys that are remembered; the oldest is forgotten for a new one.
const KEYS_MAX: usize = 4096;
/// Most bytes of answers that are kept.
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longest key.
pub const KEY_MAX: usize = 255;

/// Where bodies of any length go, or such as go on and on: a key is not looked at there.
const STREAMED: [&str; 3] =
    ["/processes/{process}/releases", "/instances/{name}/restore", "/instances/{name}/run"];

/// On an answer that must not be kept, because it holds a secret that is shown once: the same request
/// under the same key is told that it was done.
#[derive(Debug, Clone, Copy)]
pub struct ShownOnce;

/// An answer that can be given again.
#[derive(Clone)]
struct Kept {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    problem: Option<Problem>,
    shown_once: bool,
}

#[derive(Clone)]
enum Outcome {
    Running,
    Done(Arc<Kept>),
    /// It failed, or its task broke off.
    Forgotten,
}

struct Entry {
    request: u64,
    since: Instant,
    bytes: usize,
    outcome: watch::Receiver<Outcome>,
}

/// The answers that are kept.
#[derive(Clone)]
pub(super) struct Answers {
    document: Document,
    entries: Arc<Mutex<HashMap<(String, String), Entry>>>,
    hasher: RandomState,
}

enum Turn {
    First(watch::Sender<Outcome>),
    Again(watch::Receiver<Outcome>),
    Another,
}

/// Wraps every route, inside of what says who asks.
pub(super) async fn once(State(answers): State<Answers>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>();
    // What is no route has its own answer, whatever the key is.
    let writes = path.is_some_and(|path| answers.document.has(request.method(), path.as_str()));
    let keyed = path.is_some_and(|path| is_keyed(request.method().as_str(), path.as_str()));
    let Some(key) = request.headers().get(KEY).filter(|_| writes && keyed) else {
        return next.run(request).await;
    };
    // A login: its answer is for whoever logged in, and nobody can be told apart yet.
    if request.extensions().get::<Caller>().is_none() {
        return next.run(request).await;
    }
    let key = match key.to_str() {
        Ok(key) if is_key(key) => key.to_owned(),
        _ => return Problem::bad_key(KEY_MAX).into_response(),
    };
    let (parts, body) = request.into_parts();
    let body = match read(Request::from_parts(parts.clone(), body)).await {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    let who = caller(&parts.extensions);
    let digest = answers.hasher.hash_one((&parts.method, &parts.uri.path_and_query(), &body));
    let place = (who, key);
    loop {
        match answers.turn(&place, digest) {
            Turn::Another => return Problem::key_reused().into_response(),
            Turn::First(sender) => {
                let request = Request::from_parts(parts, Body::from(body));
                return answers.run(place, sender, request, next).await;
            }
            Turn::Again(mut outcome) => {
                // A sender that is gone has broken off: then it is this one's turn.
                let done = outcome.wait_for(|outcome| !matches!(outcome, Outcome::Running)).await;
                if let Ok(Outcome::Done(kept)) = done.as_deref() {
                    return again(kept);
                }
            }
        }
    }
}

/// Whether an operation takes a key. `path` is that of the document, or below a prefix.
pub(super) fn is_keyed(method: &str, path: &str) -> bool {
    let writes = ["POST", "PATCH", "DELETE"].iter().any(|one| method.eq_ignore_ascii_case(one));
    // The first frames or bytes of those would be all that there is to compare.
    writes && !(STREAMED.iter().any(|streamed| path.ends_with(streamed)))
}

/// As it is in the document: visible ASCII.
fn is_key(key: &str) -> bool {
    (1..=KEY_MAX).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic())
}

/// Keys of one caller are nothing to another.
fn caller(extensions: &http::Extensions) -> String {
    extensions.get::<Caller>().map_or_else(String::new, ToString::to_string)
}

fn again(kept: &Kept) -> Response {
    if kept.shown_once {
        return Problem::already_answered().into_response();
    }
    let mut response = Response::new(Body::from(kept.body.clone()));
    *response.status_mut() = kept.status;
    *response.headers_mut() = kept.headers.clone();
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    if let Some(problem) = kept.problem.clone() {
        response.extensions_mut().insert(problem);
    }
    response
}

impl Answers {
    /// None, for the routes of `document`.
    pub fn new(document: Document) -> Self {
        Self { document, entries: Arc::default(), hasher: RandomState::new() }
    }

    fn turn(&self, place: &(String, String), request: u64) -> Turn {
        let mut entries = self.entries.lock().expect("no panic while held");
        entries.retain(|_, entry| {
            entry.since.elapsed() < KEPT && !matches!(*entry.outcome.borrow(), Outcome::Forgotten)
        });
        if let Some(entry) = entries.get(place) {
            if entry.request != request {
                return Turn::Another;
            }
            // One whose task is gone without a word would be waited for without end.
            if entry.outcome.has_changed().is_ok()
                || !matches!(*entry.outcome.borrow(), Outcome::Running)
            {
                return Turn::Again(entry.outcome.clone());
            }
        }
        make_room(&mut entries);
        let (sender, outcome) = watch::channel(Outcome::Running);
        let entry = Entry { request, since: Instant::now(), bytes: 0, outcome };
        entries.insert(place.clone(), entry);
        Turn::First(sender)
    }

    /// In a task of its own: the answer is kept also if the client hangs up.
    async fn run(
        self,
        place: (String, String),
        sender: watch::Sender<Outcome>,
        request: Request,
        next: Next,
    ) -> Response {
        let task = tokio::spawn(within(served(), async move {
            let response = next.run(request).await;
            let (outcome, response) = keep(response).await;
            if let Outcome::Done(kept) = &outcome
                && let Some(entry) =
                    self.entries.lock().expect("no panic while held").get_mut(&place)
            {
                entry.bytes = kept.body.len();
            }
            let _ = sender.send(outcome);
            response
        }));
        task.await.unwrap_or_else(|error| Problem::internal(&error).into_response())
    }
}

/// Forgets the oldest until there is room for one more.
fn make_room(entries: &mut HashMap<(String, String), Entry>) {
    loop {
        let bytes: usize = entries.values().map(|entry| entry.bytes).sum();
        if entries.len() < KEYS_MAX && bytes <= BYTES_MAX {
            return;
        }
        let done = entries.iter().filter(|(_, e)| !matches!(*e.outcome.borrow(), Outcome::Running));
        let Some(oldest) = done.min_by_key(|(_, e)| e.since).map(|(place, _)| place.clone()) else {
            return;
        };
        entries.remove(&oldest);
    }
}

/// What is kept of an answer, and the answer.
async fn keep(response: Response) -> (Outcome, Response) {
    let size = response.body().size_hint().exact();
    if response.status().is_server_error() || size.is_none_or(|size| size > BYTES_MAX as u64) {
        return (Outcome::Forgotten, response);
    }
    let shown_once = response.extensions().get::<ShownOnce>().is_some();
    let (parts, body) = response.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BYTES_MAX).await else {
        return (Outcome::Forgotten, Response::from_parts(parts, Body::empty()));
    };
    let kept = Kept {
        status: parts.status,
        headers: parts.headers.clone(),
        body: if shown_once { Bytes::new() } else { body.clone() },
        problem: parts.extensions.get::<Problem>().cloned(),
        shown_once,
    };
    (Outcome::Done(Arc::new(kept)), Response::from_parts(parts, Body::from(body)))
}
