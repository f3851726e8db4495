//! Requests that were refused, counted rather than kept one by one: whoever tries ten thousand tokens must not
//! push out who changed what.

use std::collections::HashMap;

use tenement_wire::events::{Actor, Event, EventKind};

/// How long refusals of a kind are counted before they are told, in milliseconds.
const WINDOW_MS: u64 = 60_000;
/// Kinds of refusals that are told apart at once; what comes beyond is counted together.
const KINDS: usize = 512;

/// A request that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Where it came from.
    pub address: String,
    /// Who it was, as far as known.
    pub actor: Actor,
    /// Status of the answer.
    pub status: u16,
    /// Code of the answer.
    pub code: String,
    /// Method and route.
    pub action: String,
    /// Id of the request; empty if it did not come to one.
    pub request_id: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    address: String,
    actor: Actor,
    status: u16,
    code: String,
}

#[derive(Debug)]
struct Count {
    since_ms: u64,
    more: u64,
}

/// What is being counted.
#[derive(Debug, Default)]
pub(super) struct Refusals(HashMap<Key, Count>);

impl Refusals {
    /// Counts one. The first of its kind is an event at once.
    pub(super) fn add(&mut self, refused: Refused, now_ms: u64) -> Option<Event> {
        let Refused { address, actor, status, code, action, request_id } = refused;
        let mut key = Key { address, actor, status, code };
        if self.0.len() >= KINDS && !self.0.contains_key(&key) {
            key = Key { address: "many".into(), actor: Actor::anonymous(), ..key };
        }
        if let Some(count) = self.0.get_mut(&key) {
            count.more += 1;
            return None;
        }
        let message = format!("{} from {} was refused: {}", action, key.address, key.code);
        let mut event = of(&key, message);
        event.action = Some(action);
        event.request_id = (!request_id.is_empty()).then_some(request_id);
        self.0.insert(key, Count { since_ms: now_ms, more: 0 });
        Some(event)
    }

    /// The counts whose time is over, as events.
    pub(super) fn due(&mut self, now_ms: u64) -> Vec<Event> {
        let mut due = Vec::new();
        self.0.retain(|key, count| {
            if now_ms.saturating_sub(count.since_ms) < WINDOW_MS {
                return true;
            }
            if count.more > 0 {
                let from = &key.address;
                let message =
                    format!("{} more requests from {from} were refused: {}", count.more, key.code);
                due.push(of(key, message).with("count", count.more.to_string()));
            }
            false
        });
        due
    }
}

fn of(key: &Key, message: String) -> Event {
    let mut event = Event::new(EventKind::Refused, message).by(key.actor.clone());
    event.address = Some(key.address.clone());
    event.status = Some(key.status);
    event.code = Some(key.code.clone());
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(address: &str) -> Refused {
        Refused {
            address: address.into(),
            actor: Actor::anonymous(),
            status: 401,
            code: "unauthenticated".into(),
            action: "GET /instances".into(),
            request_id: "r".into(),
        }
    }

    #[test]
    fn ten_thousand_refusals_are_two_events_that_say_how_many() {
        let mut refusals = Refusals::default();
        assert!(refusals.add(refused("192.0.2.1"), 0).is_some());
        assert!((1..10_000).all(|_| refusals.add(refused("192.0.2.1"), 1).is_none()));
        assert!(refusals.add(refused("192.0.2.2"), 2).is_some());
        assert_eq!(refusals.due(WINDOW_MS - 1), []);
        let due = refusals.due(WINDOW_MS + 2);
        assert_eq!(due.len(), 1);
        assert_eq!(due[0].detail["count"], "9999");
        assert!(refusals.add(refused("192.0.2.1"), WINDOW_MS + 3).is_some());
    }

    #[test]
    fn many_addresses_take_bounded_memory_and_are_counted_together() {
        let mut refusals = Refusals::default();
        let events = (0..10_000).filter_map(|n| refusals.add(refused(&format!("a{n}")), 0)).count();
        assert_eq!(events, KINDS + 1);
        assert_eq!(refusals.0.len(), KINDS + 1);
        let due = refusals.due(WINDOW_MS);
        assert_eq!(due.len(), 1);
        assert_eq!(due[0].detail["count"], (10_000 - KINDS - 1).to_string());
    }
}
