//! One alert for each instance and kind in a window; the others are counted.

use std::collections::HashMap;
use std::time::Duration;

use tenement_wire::events::{Event, EventKind};
use tokio::time::Instant;

/// Instances and kinds that are told apart at once. Beyond it alerts are sent uncounted; the queue has a bound of its own.
const KEYS: usize = 20_000;

#[derive(Debug)]
struct Window {
    since: Instant,
    more: u64,
    newest: Option<Event>,
}

/// What was sent lately.
#[derive(Debug, Default)]
pub(super) struct Calm(HashMap<(String, EventKind), Window>);

impl Calm {
    /// Whether an alert is due for it now; otherwise it is counted.
    pub(super) fn admits(&mut self, event: &Event, window: Duration, now: Instant) -> bool {
        let process = event.process.as_ref().map_or("", |name| name.as_str());
        let id = event.instance_id.as_ref().map_or("", |id| id.as_str());
        // Lock-outs are about addresses, certificates about domains.
        let other = event.address.as_deref().or(event.detail.get("domain").map(String::as_str));
        let key = (format!("{process}:{id}:{}", other.unwrap_or_default()), event.kind);
        if let Some(open) = self.0.get_mut(&key)
            && now < open.since + window
        {
            open.more += 1;
            open.newest = Some(event.clone());
            return false;
        }
        if self.0.len() < KEYS {
            self.0.insert(key, Window { since: now, more: 0, newest: None });
        }
        true
    }

    /// What was counted in windows that are over; each begins another.
    pub(super) fn due(&mut self, window: Duration, now: Instant) -> Vec<(Event, u64)> {
        let mut due = Vec::new();
        self.0.retain(|_, open| {
            if now < open.since + window {
                return true;
            }
            let Some(event) = open.newest.take() else { return false };
            // This one is among those that were not sent.
            due.push((event, open.more - 1));
            (open.since, open.more) = (now, 0);
            true
        });
        due
    }
}
