//! Events: who changed what, and what happened by itself.
//!
//! ```text
//!   audit of the API ── record_now ─┐                ┌─► events.db, with retention
//!   flows ── record ────────────────┼──► EventStore ─┤
//!   refusals, counted ──────────────┘                └─► followers (SSE, alerts)
//! ```
//!
//! Every change through the API is on the disk before it is answered. Nothing here refuses or delays a change
//! for long: what can't be kept is said in the log, and counted.

mod follow;
mod refusals;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tenement_wire::InstanceName;
use tenement_wire::events::{Actor, Event, EventKind, EventPage};
use tenement_wire::status::Cause;
use tokio::sync::broadcast;

use super::instance::mono_ms;
use crate::store::StoreError;
use crate::store::events::EventStore;
pub use crate::store::events::{Filter, Keep, Who};
pub use follow::{Followed, Follower};
use refusals::Refusals;
pub use refusals::Refused;

/// The longest that an answer waits for its event to be on the disk.
const COMMIT: Duration = Duration::from_secs(2);
/// How often counted refusals are looked at.
const SWEEP: Duration = Duration::from_secs(5);

tokio::task_local! {
    /// Id of the request that is being served.
    static REQUEST: String;
}

/// Id of the request that is being served, if one is.
#[must_use]
pub fn request() -> Option<String> {
    REQUEST.try_with(Clone::clone).ok()
}

/// Does `work` for the request with this id: what it records says so. A task that it spawns must be told again.
pub async fn within<F: Future>(id: Option<String>, work: F) -> F::Output {
    match id {
        Some(id) => REQUEST.scope(id, work).await,
        None => work.await,
    }
}

/// How far a long operation is.
pub(super) fn of_operation(what: &str, name: &InstanceName, step: usize, of: usize) -> Event {
    let message = format!("{what} {name} ({step} of {of})");
    let event = Event::new(EventKind::Operation, message).about(name).by(Actor::agent());
    event.with("step", step.to_string()).with("of", of.to_string())
}

/// Where events are recorded and read. Clones are the same.
#[derive(Debug, Clone)]
pub struct Events {
    store: EventStore,
    refusals: Arc<Mutex<Refusals>>,
}

impl Events {
    /// Records into `store`.
    #[must_use]
    pub fn new(store: EventStore) -> Self {
        Self { store, refusals: Arc::default() }
    }

    /// Records an event, as part of the request that is being served, if one is. It never waits.
    pub fn record(&self, mut event: Event) {
        event.request_id = event.request_id.or_else(request);
        self.store.record(event);
    }

    /// Records an event and waits until it is on the disk, but not for ever.
    ///
    /// # Errors
    /// [`StoreError`] if it is not, or not yet.
    pub async fn record_now(&self, event: Event) -> Result<u64, StoreError> {
        match tokio::time::timeout(COMMIT, self.store.record_now(event)).await {
            Ok(written) => written,
            Err(_) => Err(StoreError::Other(format!("not written within {COMMIT:?}"))),
        }
    }

    /// Counts a request that was refused: the first of a kind is recorded at once, the others once a minute.
    pub fn refused(&self, refused: Refused) {
        let event = self.refusals.lock().expect("no panic while held").add(refused, mono_ms());
        event.into_iter().for_each(|event| self.record(event));
    }

    /// Records what was counted whose minute is over. It returns when `stopping` does, with all recorded.
    pub async fn sweep(self, stopping: impl Future<Output = ()>) {
        let mut stopping = std::pin::pin!(stopping);
        loop {
            let over = tokio::select! {
                () = stopping.as_mut() => true,
                () = tokio::time::sleep(SWEEP) => false,
            };
            let now = if over { u64::MAX } else { mono_ms() };
            let due = self.refusals.lock().expect("no panic while held").due(now);
            due.into_iter().for_each(|event| self.record(event));
            if over {
                return;
            }
        }
    }

    /// A page of what matches.
    ///
    /// # Errors
    /// [`StoreError`] if the events can't be read.
    pub async fn page(&self, filter: Filter) -> Result<EventPage, StoreError> {
        let (limit, dropped) = (filter.limit, self.store.dropped());
        let events = self.store.read(filter).await?;
        let next = (events.len() >= limit).then(|| events.last().map(|last| last.id)).flatten();
        Ok(EventPage { events, next, dropped })
    }

    /// Events as they come; one who is too slow loses some ([`Follower`] does not).
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.store.follow()
    }

    /// Keeps so much from now on.
    pub fn keep(&self, keep: Keep) {
        self.store.keep(keep);
    }

    /// Events that could not be kept since the agent started.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.store.dropped()
    }

    /// Writes what waits and closes the file.
    pub async fn close(&self) {
        self.store.close().await;
    }
}

/// The event of a change of state. `before` is the cause of the change before it: one end for lack of memory is
/// several changes.
pub(super) fn of_state(
    name: &InstanceName,
    from: &str,
    to: &str,
    cause: Cause,
    before: Cause,
) -> Event {
    let fresh = cause == Cause::Oom && before != Cause::Oom;
    let kind = if fresh { EventKind::Oom } else { EventKind::State };
    let message = format!("{name} is {to} ({})", cause.as_str());
    let event = Event::new(kind, message).about(name).by(Actor::agent());
    event.with("from", from).with("to", to).with("cause", cause.as_str())
}

#[cfg(test)]
mod tests;
