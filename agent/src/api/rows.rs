//! The list of instances as it changes, as server-sent events (HTML standard, section 9.2).
//!
//! ```text
//! all rows (1,000 in each event) ─► a look every second ─► only what has changed since
//! ```
//! A client that reconnects gets all rows again: that is sooner sent than what it missed. A look takes a
//! fiftieth of the time at most, however many instances there are.

use std::collections::VecDeque;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use tenement_wire::dto::{InstanceRow, InstanceRows};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use utoipa_axum::router::OpenApiRouter;

use super::access::Caller;
use super::input::Input;
use super::logs::slot;
use super::problem::Problem;
use super::routes::{Manager, collect};
use super::serve::Stopping;
use super::sse::{self, Source};
use crate::flows::Management;

/// Streams at once. Each looks at all instances again and again.
const STREAMS: usize = 16;
/// From one look to the next, at least.
const PAUSE: Duration = Duration::from_secs(1);
/// The share of the time that a look may take: one part in so many.
const SHARE: u32 = 50;
/// Rows in one event.
const ROWS: usize = 1000;

/// The streams that may be open.
#[derive(Clone)]
struct Streams(Arc<Semaphore>);

/// How many streams there are, for all prefixes together.
#[derive(Clone)]
pub(super) struct Desk(Streams);

impl Desk {
    pub(super) fn new() -> Self {
        Self(Streams(Arc::new(Semaphore::new(STREAMS))))
    }
}

/// The route, below `/api/v1` and `/api`.
pub(super) fn routes<M: Management>(desk: Desk) -> OpenApiRouter<Arc<M>> {
    OpenApiRouter::new().routes(collect!(M => stream_instances)).layer(Extension(desk.0))
}

/// Follow the list of instances, as server-sent events
///
/// First all rows, 1,000 in an event; then, about once a second, those that have changed and the names of those that
/// are gone. A client that reconnects gets all of them again, the first with `fresh`.
#[utoipa::path(get, path = "/instances/stream", tag = "instances", security(("token" = ["read"])),
    responses((status = 200, description = "A stream without an end; each event's data is an `InstanceRows`",
        content((InstanceRows = "text/event-stream")))),
    extensions(("x-problems" = json!(["too_many"]))))]
async fn stream_instances<M: Management>(
    State(management): Manager<M>,
    caller: Caller,
    Extension(Streams(streams)): Extension<Streams>,
    stopping: Option<Extension<Stopping>>,
    input: Input,
) -> Result<Response, Problem> {
    input.finish(Some(()))?;
    let slot = slot(&streams, "streams")?;
    Ok(sse::answer(Rows::new(management, caller), stopping, slot))
}

/// The rows as the client knows them, and what it is to be told.
struct Rows<M> {
    management: Arc<M>,
    caller: Caller,
    known: Vec<InstanceRow>,
    next: Option<Instant>,
    ready: VecDeque<InstanceRows>,
}

impl<M: Management> Rows<M> {
    fn new(management: Arc<M>, caller: Caller) -> Self {
        Self { management, caller, known: Vec::new(), next: None, ready: VecDeque::new() }
    }

    async fn look(&mut self) {
        let first = self.next.is_none();
        let begun = Instant::now();
        // What can't be asked for now is asked for again.
        if let Ok(mut rows) = self.management.rows().await {
            rows.retain(|row| self.caller.sees(&row.name));
            let changes = changes(&self.known, &rows);
            self.known = rows;
            self.ready = events(changes, first).into();
        }
        self.next = Some(Instant::now() + PAUSE.max(begun.elapsed() * SHARE));
    }
}

/// What is new or different in `now`, and what of `before` is gone; both are in order of name.
fn changes(before: &[InstanceRow], now: &[InstanceRow]) -> InstanceRows {
    let mut changes = InstanceRows::default();
    let mut before = before.iter().peekable();
    for row in now {
        while let Some(gone) = before.next_if(|old| old.name < row.name) {
            changes.gone.push(gone.name.clone());
        }
        let same = before.next_if(|old| old.name == row.name).is_some_and(|old| old.shows(row));
        if !same {
            changes.rows.push(row.clone());
        }
    }
    changes.gone.extend(before.map(|old| old.name.clone()));
    changes
}

/// The events that tell of `changes`: none if there is nothing to tell.
fn events(changes: InstanceRows, fresh: bool) -> Vec<InstanceRows> {
    let InstanceRows { rows, gone, .. } = changes;
    let mut events: Vec<_> = rows
        .chunks(ROWS)
        .map(|rows| InstanceRows { rows: rows.to_vec(), more: true, ..InstanceRows::default() })
        .collect();
    if events.is_empty() && (fresh || !gone.is_empty()) {
        events.push(InstanceRows::default());
    }
    if let Some(first) = events.first_mut() {
        first.fresh = fresh;
        first.gone = gone;
    }
    if let Some(last) = events.last_mut() {
        last.more = false;
    }
    events
}

impl<M: Management> Source for Rows<M> {
    type Item = InstanceRows;

    async fn next(&mut self) -> Option<InstanceRows> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if let Some(at) = self.next {
                tokio::time::sleep_until(at).await;
            }
            self.look().await;
        }
    }

    fn write(&mut self, event: &InstanceRows, out: &mut Vec<u8>) {
        // Writing texts and numbers into memory can't fail.
        let _ = write!(out, "data: ");
        let _ = serde_json::to_writer(&mut *out, event);
        out.extend_from_slice(b"\n\n");
    }
}

#[cfg(test)]
mod tests {
    use tenement_wire::dto::{State, Tier};

    use super::*;

    fn row(name: &str, state: State) -> InstanceRow {
        InstanceRow {
            name: name.parse().unwrap(),
            state,
            tier: Tier::Running,
            health: None,
            since_ms: 1,
            last_used_ms: Some(1000),
            in_flight: 0,
            wakes: 0,
            disk_bytes: None,
            failure: None,
        }
    }

    #[test]
    fn only_what_changed_is_told_and_what_is_gone() {
        let before =
            [row("a:1", State::Running), row("a:2", State::Running), row("b:1", State::Asleep)];
        let mut trembling = row("a:2", State::Running);
        trembling.last_used_ms = Some(1001);
        let now = [trembling, row("a:3", State::Running), row("b:1", State::Starting)];
        let changes = changes(&before, &now);
        let names: Vec<_> = changes.rows.iter().map(|row| row.name.to_string()).collect();
        assert_eq!(names, ["a:3", "b:1"]);
        assert_eq!(changes.gone, ["a:1".parse().unwrap()]);
    }

    #[test]
    fn a_long_list_comes_in_several_events_and_an_empty_one_in_one() {
        let rows = (0..2500).map(|n| row(&format!("a:i{n:04}"), State::Running)).collect();
        let events = events(InstanceRows { rows, ..InstanceRows::default() }, true);
        let shape: Vec<_> = events.iter().map(|e| (e.fresh, e.more, e.rows.len())).collect();
        assert_eq!(shape, [(true, true, 1000), (false, true, 1000), (false, false, 500)]);
        let none = super::events(InstanceRows::default(), true);
        assert_eq!(none, [InstanceRows { fresh: true, ..InstanceRows::default() }]);
        assert_eq!(super::events(InstanceRows::default(), false), []);
    }
}
