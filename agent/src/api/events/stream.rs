//! Events as they come, as server-sent events (HTML standard, section 9.2).
//!
//! The id is the event's. A client that reconnects with `Last-Event-ID` gets everything after it, once; one
//! that reads too slowly gets what it missed from the file. A comment every few seconds shows that the
//! connection is alive, and when the agent stops the stream ends at once.

use std::convert::Infallible;
use std::io::Write as _;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::{FutureExt as _, Stream, stream};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName};
use tenement_wire::events::EventsMissed;
use tokio::sync::OwnedSemaphorePermit;
use utoipa_axum::router::UtoipaMethodRouter;

use super::{Desk, Wanted, filter, within};
use crate::api::access::Caller;
use crate::api::input::Input;
use crate::api::logs::ask::Seq;
use crate::api::logs::slot;
use crate::api::problem::Problem;
use crate::api::routes::collect;
use crate::api::serve::Stopping;
use crate::flows::events::{Followed, Follower};

/// Silence after which a comment is sent. Proxies cut connections that are silent for 30 or 60 s.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Bytes that are sent at once, if that many are there.
const CHUNK: usize = 64 * 1024;
/// What a browser waits before it reconnects, and a first sign of life.
const GREETING: &[u8] = b"retry: 1000\n\n";
const ALIVE: &[u8] = b": alive\n\n";
const BYE: &[u8] = b": the agent stops\n\n";
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The route.
pub(super) fn routes() -> UtoipaMethodRouter<Desk> {
    collect!(stream_events)
}

/// Follow events as they come, as server-sent events
///
/// The id of each is the event's. `event: missed` says that some were lost, which only happens when the agent can't
/// read what it kept.
#[utoipa::path(get, path = "/events/stream", tag = "events", security(("token" = ["read"])),
    params(
        Wanted,
        ("after" = Option<i64>, Query, minimum = 0, description = "Begin after this id"),
        ("Last-Event-ID" = Option<i64>, Header, minimum = 0, description = "The same, as browsers send it"),
    ),
    responses((status = 200, description = "A stream without an end", content_type = "text/event-stream", body = String)),
    extensions(("x-problems" = json!(["events_off", "too_many"]))))]
async fn stream_events(
    State(desk): State<Desk>,
    caller: Caller,
    stopping: Option<Extension<Stopping>>,
    headers: HeaderMap,
    mut input: Input,
) -> Result<Response, Problem> {
    let filter = filter(&mut input);
    let Seq(mut after) = input.parameter("after").unwrap_or_default();
    if let Some(value) = headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty()) {
        let text = String::from_utf8_lossy(value.as_bytes());
        match text.parse::<Seq>() {
            Ok(Seq(last)) => after = last,
            Err(_) => drop(input.wrong::<()>("Last-Event-ID", "must be the id of an event")),
        }
    }
    if filter.as_ref().is_some_and(|filter| filter.until_ms.is_some()) {
        input.wrong::<()>("until", "does not go with a stream: ask for /events");
    }
    let filter = within(&caller, input.finish(filter)?)?;
    let slot = slot(&desk.streams, "streams")?;
    let since = filter.since_ms.is_some() && after.is_none();
    let after = if since { Some(0) } else { after };
    let follower = Follower::new(desk.events()?, filter, after).await;
    let feed = feed(follower, stopping.map(|Extension(stopping)| stopping), slot);
    Ok(([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(feed)).into_response())
}

struct Feed {
    follower: Follower,
    stopping: Option<Stopping>,
    state: Phase,
    _slot: Option<OwnedSemaphorePermit>,
}

#[derive(PartialEq, Eq)]
enum Phase {
    Fresh,
    Open,
    Ended,
}

fn feed(
    follower: Follower,
    stopping: Option<Stopping>,
    slot: impl Into<Option<OwnedSemaphorePermit>>,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let feed = Feed { follower, stopping, state: Phase::Fresh, _slot: slot.into() };
    stream::unfold(feed, |mut feed| async move {
        let chunk = feed.chunk().await?;
        Some((Ok(chunk), feed))
    })
}

impl Feed {
    async fn chunk(&mut self) -> Option<Bytes> {
        match self.state {
            Phase::Ended => return None,
            Phase::Fresh => {
                self.state = Phase::Open;
                return Some(Bytes::from_static(GREETING));
            }
            Phase::Open => {}
        }
        let mut out = Vec::new();
        let happened = tokio::select! {
            biased;
            () = stopped(&mut self.stopping) => return Some(self.end()),
            happened = self.follower.next() => happened,
            () = tokio::time::sleep(HEARTBEAT) => return Some(Bytes::from_static(ALIVE)),
        };
        match happened {
            Some(happened) => write(&happened, &mut out),
            None => return Some(self.end()),
        }
        // What is there already goes along, so that a busy stream is not one small write for each.
        while out.len() < CHUNK
            && let Some(Some(happened)) = self.follower.next().now_or_never()
        {
            write(&happened, &mut out);
        }
        Some(out.into())
    }

    fn end(&mut self) -> Bytes {
        self.state = Phase::Ended;
        Bytes::from_static(BYE)
    }
}

fn write(happened: &Followed, out: &mut Vec<u8>) {
    // Writing texts and numbers into memory can't fail.
    match happened {
        Followed::Event(event) => {
            let _ = write!(out, "id: {}\ndata: ", event.id);
            let _ = serde_json::to_writer(&mut *out, &**event);
        }
        Followed::Missed(count) => {
            out.extend_from_slice(b"event: missed\ndata: ");
            let _ = serde_json::to_writer(&mut *out, &EventsMissed { count: *count });
        }
    }
    out.extend_from_slice(b"\n\n");
}

/// Ends when the agent stops.
async fn stopped(stopping: &mut Option<Stopping>) {
    match stopping {
        // A sender that is gone says the same as a word from it.
        Some(Stopping(word)) => drop(word.changed().await),
        None => std::future::pending().await,
    }
}
