//! Somebody who follows events: first what the file has since a place, then what comes.

use std::collections::VecDeque;
use std::sync::Arc;

use tenement_wire::events::Event;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::{Events, Filter};

/// Events read from the file at once.
const PAGE: usize = 256;

/// What happens to a follower.
#[derive(Debug, PartialEq, Eq)]
pub enum Followed {
    /// An event that matches.
    Event(Arc<Event>),
    /// So many, at most, were missed: they came too fast and the file can't be read, or it was begun anew.
    Missed(u64),
}

/// Follows events without loss or repeat: when they come faster than it reads, it goes back to the file.
#[derive(Debug)]
pub struct Follower {
    events: Events,
    filter: Filter,
    live: broadcast::Receiver<Arc<Event>>,
    /// The last event that was looked at.
    last: u64,
    read: VecDeque<Event>,
    /// Whether the file has, or may have, events after `last`; how many at most, if known.
    behind: Option<u64>,
    missed: Option<u64>,
}

impl Follower {
    /// Follows what matches, from the moment this is done; with `after`, first what came since that id.
    pub async fn new(events: &Events, filter: Filter, after: Option<u64>) -> Self {
        // First, so that nothing falls between.
        let live = events.subscribe();
        let newest = events.store.newest().await;
        // The file was begun anew since somebody got that id.
        let missed = after.is_some_and(|after| after > newest).then_some(0);
        let last = after.unwrap_or(newest).min(newest);
        let behind = (last < newest).then_some(newest - last);
        let filter = Filter { oldest_first: true, limit: PAGE, before: None, ..filter };
        Self { events: events.clone(), filter, live, last, read: VecDeque::new(), behind, missed }
    }

    /// The next one; None when the agent stops. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Followed> {
        loop {
            if let Some(missed) = self.missed.take() {
                return Some(Followed::Missed(missed));
            }
            if let Some(event) = self.read.pop_front() {
                self.last = event.id;
                return Some(Followed::Event(Arc::new(event)));
            }
            if let Some(count) = self.behind {
                self.catch_up(count).await;
                continue;
            }
            match self.live.recv().await {
                Ok(event) if event.id <= self.last => {}
                Ok(event) => {
                    self.last = event.id;
                    if self.filter.matches(&event) {
                        return Some(Followed::Event(event));
                    }
                }
                Err(RecvError::Lagged(count)) => self.behind = Some(count),
                Err(RecvError::Closed) => return None,
            }
        }
    }

    async fn catch_up(&mut self, count: u64) {
        let newest = self.events.store.newest().await;
        let filter = Filter { after: Some(self.last), ..self.filter.clone() };
        match self.events.store.read(filter).await {
            Ok(page) => {
                if page.len() < PAGE {
                    self.behind = None;
                    if page.is_empty() {
                        self.last = self.last.max(newest);
                    }
                }
                self.read.extend(page);
            }
            Err(error) => {
                log::warn!("events can't be read for somebody who follows them: {error}");
                self.behind = None;
                self.missed = Some(count);
            }
        }
    }
}
