//! Events through the API: every change says who, and the stream misses nothing.

mod api_support;

use std::time::Duration;

use api_support::Door;
use tenement_agent::api::{self, Access};
use tenement_agent::flows::ManageError;
use tenement_agent::flows::events::{Events, Keep};
use tenement_agent::store::events::EventStore;
use tenement_wire::events::{ActorKind, Event, EventKind, EventPage};
use tokio::io::AsyncReadExt as _;

const KEEP: Keep = Keep { age: Duration::ZERO, count: 1_000_000, routine: 1_000_000 };

struct Audited {
    door: Door,
    events: Events,
    dir: tempfile::TempDir,
}

fn open() -> Audited {
    let dir = tempfile::tempdir().unwrap();
    let events = Events::new(EventStore::open(&dir.path().join("events.db"), KEEP));
    Audited { door: Door::open_events(events.clone()), events, dir }
}

impl Audited {
    async fn page(&self, query: &str) -> Vec<Event> {
        let reply = self.door.ask(&format!("GET /api/v1/events{query}"), "").await;
        assert_eq!(reply.status, 200, "{reply:?}");
        serde_json::from_value::<EventPage>(reply.body).unwrap().events
    }
}

#[tokio::test]
async fn every_change_says_who_did_what_to_what_and_what_came_of_it() {
    let audited = open();
    let door = &audited.door;
    let spawned =
        door.ask("POST /api/v1/instances", r#"{"process": "api", "ids": ["a", "b"]}"#).await;
    door.fails(ManageError::Conflict { name: "api:a".parse().unwrap(), what: "x".into() });
    door.ask("POST /api/instances/api:a/wake", "").await;
    door.ask("PUT /api/v1/instances/api%3Aa/secrets/KEY", "\"hunter2\"").await;
    door.ask("DELETE /api/v1/instances/api:a?purge=true", "").await;
    door.ask("POST /api/v1/config/check", "").await;
    door.ask("GET /api/v1/instances", "").await;
    let events = audited.page("").await;
    let said: Vec<_> = events.iter().map(|event| event.message.as_str()).collect();
    assert_eq!(
        said,
        [
            "remove api:a: done",
            "set secret KEY of api:a: done",
            "wake api:a: not done: busy",
            "spawn api:a, api:b: done"
        ]
    );
    let uid = rustix::process::getuid().as_raw().to_string();
    for event in &events {
        assert_eq!(event.kind, EventKind::Change);
        let actor = event.actor.as_ref().unwrap();
        assert_eq!((actor.kind, &actor.id), (ActorKind::Uid, &uid));
        assert_eq!(event.address.as_deref(), Some("local"));
        assert!(event.time_ms > 1_700_000_000_000);
    }
    assert_eq!(events[0].detail["purge"], "true");
    assert_eq!((events[2].status, events[2].code.as_deref()), (Some(409), Some("busy")));
    assert_eq!(events[2].action.as_deref(), Some("POST /instances/{name}/wake"));
    let id = events[3].request_id.as_deref().unwrap();
    assert!(spawned.head.contains(id), "{}", spawned.head);
    assert!(!serde_json::to_string(&events).unwrap().contains("hunter2"));
}

#[tokio::test]
async fn a_change_whose_client_hangs_up_is_recorded_nevertheless() {
    let audited = open();
    let hold = audited.door.fake.hold.lock().await;
    let stream = audited
        .door
        .send("POST /api/v1/instances/api:a/stop HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        .await;
    audited.door.fake.until_told(1).await;
    let mut live = audited.events.subscribe();
    drop(stream);
    drop(hold);
    assert_eq!(live.recv().await.unwrap().message, "stop api:a: done");
}

#[tokio::test]
async fn a_change_is_made_also_when_events_can_not_be_kept() {
    let audited = open();
    assert_eq!(audited.page("").await, []);
    let path = audited.dir.path().join("events.db");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let reply = audited.door.ask("POST /api/v1/instances/api:a/wake", "").await;
    assert_eq!(reply.status, 200);
    assert_eq!(audited.events.dropped(), 1);
    assert_eq!(audited.door.ask("GET /api/v1/events", "").await.status, 503);
}

#[tokio::test]
async fn events_are_filtered_and_paged_and_bad_parameters_named_all_at_once() {
    let audited = open();
    for id in ["a", "b", "c"] {
        audited.door.ask(&format!("POST /api/v1/instances/api:{id}/wake"), "").await;
    }
    let first = audited.door.ask("GET /api/v1/events?limit=2", "").await;
    let next = first.body["next"].as_u64().unwrap();
    let rest = audited.page(&format!("?limit=2&before={next}")).await;
    assert_eq!(rest[0].message, "wake api:a: done");
    assert_eq!(audited.page("?instance=api:b").await.len(), 1);
    assert_eq!(audited.page("?kind=oom,change&text=WAKE&process=api&since=1h").await.len(), 3);
    assert_eq!(audited.page("?actor=token:x").await, []);
    let wrong = audited.door.ask("GET /api/v1/events?kind=x&limit=0&actor=me&y=1", "").await;
    assert_eq!(wrong.status, 422);
    assert_eq!(wrong.body["errors"].as_array().unwrap().len(), 4, "{:?}", wrong.body);
}

#[tokio::test]
async fn a_stream_resumes_after_the_last_event_without_loss_or_repeat() {
    let mut audited = open();
    for id in ["a", "b", "c"] {
        audited.door.ask(&format!("POST /api/v1/instances/api:{id}/wake"), "").await;
    }
    let second = audited.page("").await[1].id;
    let mut stream = audited
        .door
        .send(&format!(
            "GET /api/v1/events/stream HTTP/1.1\r\nHost: x\r\nLast-Event-ID: {second}\r\n\r\n"
        ))
        .await;
    audited.door.ask("POST /api/v1/instances/api:d/wake", "").await;
    let mut text = until(&mut stream, &format!("id: {}\n", second + 2)).await;
    audited.door.stop();
    text.push_str(&until(&mut stream, ": the agent stops").await);
    let ids: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    assert_eq!(ids, [(second + 1).to_string(), (second + 2).to_string()], "{text}");
    assert!(text.contains("retry: 1000") && text.contains(": the agent stops"), "{text}");
}

/// What the stream sends until `mark` was sent.
async fn until(stream: &mut tokio::net::UnixStream, mark: &str) -> String {
    let (mut text, mut piece) = (String::new(), [0; 4096]);
    while !text.contains(mark) {
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut piece)).await;
        let count = read.unwrap_or_else(|_| panic!("no {mark}: {text}")).unwrap();
        assert_ne!(count, 0, "it ended without {mark}: {text}");
        text.push_str(std::str::from_utf8(&piece[..count]).unwrap());
    }
    text
}

#[tokio::test]
async fn an_agent_without_events_says_so() {
    let door = Door::open(Access::user());
    let reply = door.ask("GET /api/v1/events", "").await;
    assert_eq!((reply.status, reply.body["code"].as_str()), (503, Some("events_off")));
    let _ = api::router_with_logs::<api_support::Fake>;
}
