//! Events on real files.

use tenement_wire::events::{Actor, EventKind};

use super::*;
use crate::store::tests::{Scratch, name};

const KEEP: Keep = Keep { age: Duration::ZERO, count: 1_000_000, routine: 100_000 };

fn all() -> Filter {
    Filter { limit: 1000, ..Filter::default() }
}

fn change(text: &str) -> Event {
    Event::new(EventKind::Change, text)
}

fn messages(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.message.as_str()).collect()
}

#[tokio::test]
async fn an_event_comes_back_as_it_was_from_another_agents_time_too() {
    let scratch = Scratch::new();
    let path = scratch.0.join("events.db");
    let store = EventStore::open(&path, KEEP);
    let mut event = change("POST wake").about(&name("api:prod")).by(Actor::token("ab", "ci"));
    event = event.with("ids", "a, b");
    event.time_ms = 17;
    (event.status, event.code) = (Some(409), Some("busy".into()));
    (event.address, event.request_id) = (Some("192.0.2.1".into()), Some("r".into()));
    event.action = Some("POST /instances/{name}/wake".into());
    event.id = store.record_now(event.clone()).await.unwrap();
    store.close().await;
    let store = EventStore::open(&path, KEEP);
    assert_eq!(store.read(all()).await.unwrap(), [event.clone()]);
    let next = store.record_now(change("more")).await.unwrap();
    assert_eq!(next, event.id + 1);
    assert_eq!(store.dropped(), 0);
}

#[tokio::test]
async fn what_somebody_waits_for_is_in_the_file_when_the_wait_ends() {
    let scratch = Scratch::new();
    let path = scratch.0.join("events.db");
    let store = EventStore::open(&path, KEEP);
    let id = store.record_now(change("now")).await.unwrap();
    // Read beside the store, as after a kill.
    let events = reader::read(&path, &all()).unwrap();
    assert_eq!((events[0].id, events[0].message.as_str()), (id, "now"));
}

#[tokio::test]
async fn pages_and_filters_find_what_they_are_asked_for() {
    let scratch = Scratch::new();
    let store = EventStore::open(&scratch.0.join("events.db"), KEEP);
    for at in 1..=30_u64 {
        let mut event = change(&format!("number {at}")).by(Actor::uid((at % 3) as u32));
        event.time_ms = at * 1000;
        event = event.about(&name(if at % 2 == 0 { "api:a" } else { "web:b" }));
        assert!(store.record(event));
    }
    store.record(Event::new(EventKind::Oom, "Ölwechsel").with("x", "needle"));
    let read = |filter: Filter| store.read(filter);
    let page = read(Filter { limit: 3, ..all() }).await.unwrap();
    assert_eq!(messages(&page), ["Ölwechsel", "number 30", "number 29"]);
    let before = Some(page[2].id);
    let page = read(Filter { limit: 2, before, ..all() }).await.unwrap();
    assert_eq!(messages(&page), ["number 28", "number 27"]);
    let after = Some(page[0].id);
    let page = read(Filter { after, oldest_first: true, limit: 1, ..all() }).await.unwrap();
    assert_eq!(messages(&page), ["number 29"]);
    let process = Some("api".parse().unwrap());
    assert_eq!(read(Filter { process, ..all() }).await.unwrap().len(), 15);
    let actor = Some("uid:0".parse().unwrap());
    assert_eq!(read(Filter { actor, limit: 4, ..all() }).await.unwrap().len(), 4);
    let (since_ms, until_ms) = (Some(5_000), Some(7_000));
    let page = read(Filter { since_ms, until_ms, ..all() }).await.unwrap();
    assert_eq!(messages(&page), ["number 6", "number 5"]);
    for text in ["ölw", "NEEDLE"] {
        let page = read(Filter { text: Some(text.into()), ..all() }).await.unwrap();
        assert_eq!(messages(&page), ["Ölwechsel"], "{text}");
    }
    let kinds = vec![EventKind::Oom, EventKind::Token];
    assert_eq!(read(Filter { kinds, ..all() }).await.unwrap().len(), 1);
}

#[tokio::test]
async fn retention_goes_by_age_and_count_and_routine_does_not_push_out_changes() {
    let scratch = Scratch::new();
    let path = scratch.0.join("events.db");
    let mut file = file::open(&path).unwrap();
    let mut events: Vec<_> = (1..=50_u64)
        .map(|id| {
            let kind = if id <= 10 { EventKind::Change } else { EventKind::State };
            let mut event = Event::new(kind, format!("{id}"));
            (event.id, event.time_ms) = (id, id * 1000);
            event
        })
        .collect();
    file.write(&events).unwrap();
    let keep = Keep { age: Duration::ZERO, count: 8, routine: 5 };
    assert!(!file.prune(keep, 51_000).unwrap());
    let left = reader::read(&path, &all()).unwrap();
    let ids: Vec<_> = left.iter().map(|event| event.id).collect();
    assert_eq!(ids, [50, 49, 48, 47, 46, 10, 9, 8, 7, 6, 5, 4, 3]);
    file.prune(Keep { age: Duration::from_secs(4), count: 8, routine: 5 }, 51_500).unwrap();
    assert_eq!(reader::read(&path, &all()).unwrap().len(), 3, "48, 49 and 50");
    // The id of one that is gone is never given again.
    file.prune(Keep { age: Duration::from_secs(1), count: 8, routine: 5 }, 99_000).unwrap();
    assert_eq!(reader::read(&path, &all()).unwrap(), []);
    drop(file);
    assert_eq!(file::open(&path).unwrap().last(), 50);
    events.clear();
}

#[tokio::test]
async fn without_a_file_events_are_counted_and_still_reach_those_who_follow() {
    let scratch = Scratch::new();
    let store = EventStore::open(&scratch.0.join("missing/events.db"), KEEP);
    let mut live = store.follow();
    assert!(store.record_now(change("one")).await.is_err());
    assert_eq!(live.recv().await.unwrap().message, "one");
    assert_eq!(store.dropped(), 1);
    assert!(store.read(all()).await.is_err());
    // Once it can be written, all goes on by itself.
    std::fs::create_dir(scratch.0.join("missing")).unwrap();
    let id = store.record_now(change("two")).await.unwrap();
    assert_eq!(live.recv().await.unwrap().id, id);
    assert_eq!(messages(&store.read(all()).await.unwrap()), ["two"]);
}

#[tokio::test]
async fn damaged_events_are_moved_aside_and_begun_anew() {
    let scratch = Scratch::new();
    let path = scratch.0.join("events.db");
    std::fs::write(&path, b"no database at all, and rather long".repeat(200)).unwrap();
    let store = EventStore::open(&path, KEEP);
    store.record_now(change("one")).await.unwrap();
    assert!(scratch.0.join("events.db.corrupt").exists());
    // Deleted while it is open: the next one begins another, with ids that go on.
    std::fs::remove_file(&path).unwrap();
    assert_eq!(store.record_now(change("two")).await.unwrap(), 2);
    assert_eq!(store.read(all()).await.unwrap().len(), 1);
}
