//! Events as they come, as server-sent events (HTML standard, section 9.2).
//!
//! The id is the event's. A client that reconnects with `Last-Event-ID` gets everything after it, once; one
//! that reads too slowly gets what it missed from the file. A comment every few seconds shows that the
//! connection is alive, and when the agent stops the stream ends at once.

use std::future::Future;
use std::io::Write as _;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use tenement_wire::events::EventsMissed;
use utoipa_axum::router::UtoipaMethodRouter;

use super::{Desk, Wanted, filter, within};
use crate::api::access::Caller;
use crate::api::input::Input;
use crate::api::logs::slot;
use crate::api::problem::Problem;
use crate::api::routes::collect;
use crate::api::serve::Stopping;
use crate::api::sse::{self, Source};
use crate::flows::events::{Followed, Follower};

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
    let after = sse::resume(&headers, &mut input, "must be the id of an event");
    if filter.as_ref().is_some_and(|filter| filter.until_ms.is_some()) {
        input.wrong::<()>("until", "does not go with a stream: ask for /events");
    }
    let filter = within(&caller, input.finish(filter)?)?;
    let slot = slot(&desk.streams, "streams")?;
    let since = filter.since_ms.is_some() && after.is_none();
    let after = if since { Some(0) } else { after };
    let follower = Follower::new(desk.events()?, filter, after).await;
    Ok(sse::answer(follower, stopping, slot))
}

impl Source for Follower {
    type Item = Followed;

    fn next(&mut self) -> impl Future<Output = Option<Followed>> + Send {
        Follower::next(self)
    }

    fn write(&mut self, happened: &Followed, out: &mut Vec<u8>) {
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
}
