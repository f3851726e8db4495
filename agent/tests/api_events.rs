//! Events through the API: every change says who, and the stream misses nothing.

mod api_support;

use std::time::Duration;

use api_support::Door;
use api_support::outside::{Outside, reach};
use http_body_util::BodyExt as _;
use tenement_agent::api::Access;
use tenement_agent::flows::ManageError;
use tenement_agent::flows::events::{Events, Filter, Keep};
use tenement_agent::store::events::EventStore;
use tenement_wire::Scope;
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
}

#[tokio::test]
async fn a_token_sees_the_events_of_what_it_sees_and_its_changes_are_in_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let events = Events::new(EventStore::open(&dir.path().join("events.db"), KEEP));
    let outside = Outside::with_events(events.clone());
    let (host, host_view) = outside.token(Scope::Admin, reach("")).await;
    for name in ["api:a", "api:b", "web:a"] {
        outside.ask(&format!("POST /api/v1/instances/{name}/stop"), Some(&host), "").await;
    }
    outside.ask("POST /api/v1/config/reload", Some(&host), "").await;
    for (restricted_to, query, wanted) in [
        ("", "", 4),
        ("api", "", 2),
        ("api", "?process=api", 2),
        ("api", "?instance=api:b", 1),
        ("api:a", "", 1),
        ("api:a", "?process=api", 1),
        ("no:such", "", 0),
    ] {
        let (token, _) = outside.token(Scope::Read, reach(restricted_to)).await;
        let line = format!("GET /api/v1/events{query}");
        let answer = outside.ask(&line, Some(&token), "").await;
        let page: EventPage = serde_json::from_value(answer.body).unwrap();
        assert_eq!(page.events.len(), wanted, "{restricted_to} {query}: {page:?}");
        for event in page.events {
            let actor = event.actor.unwrap();
            assert_eq!((actor.kind, actor.id), (ActorKind::Token, host_view.id.to_string()));
            assert_eq!(event.address.as_deref(), Some("192.0.2.7"));
        }
    }
    let (token, _) = outside.token(Scope::Read, reach("api:a")).await;
    for (query, code) in [
        ("?process=web", "unknown_process"),
        ("?instance=api:b", "unknown_instance"),
        ("?instance=no:such", "unknown_instance"),
    ] {
        for route in ["events", "events/stream"] {
            let answer =
                outside.ask(&format!("GET /api/v1/{route}{query}"), Some(&token), "").await;
            assert_eq!((answer.status, answer.code()), (404, code), "{route}{query}");
        }
    }
    let stream = outside.open("GET /api/v1/events/stream?after=0", Some(&token), "").await;
    let mut body = stream.into_body();
    let mut text = String::new();
    while !text.contains("stop api:a") {
        let piece = tokio::time::timeout(Duration::from_secs(20), body.frame()).await.unwrap();
        text += &String::from_utf8_lossy(&piece.unwrap().unwrap().into_data().unwrap());
    }
    assert!(!text.contains("api:b") && !text.contains("web") && !text.contains("reload"), "{text}");
    events.close().await;
}

#[tokio::test]
async fn refused_requests_and_lock_outs_are_events() {
    let dir = tempfile::tempdir().unwrap();
    let events = Events::new(EventStore::open(&dir.path().join("events.db"), KEEP));
    let clocks = tenement_agent::flows::tokens::Clocks::default();
    let tokens = tenement_agent::flows::tokens::Tokens::in_memory(clocks).unwrap();
    let tokens = tokens.with_events(events.clone());
    let wrong = format!("ten_{}_{}", "a".repeat(12), "0".repeat(64));
    for _ in 0..5 {
        tokens.verify(&wrong, "192.0.2.9".parse().unwrap()).await.unwrap_err();
    }
    let outside = Outside::with_events(events.clone());
    let (read, view) = outside.token(Scope::Read, reach("")).await;
    outside.ask("GET /api/v1/instances", None, "").await;
    outside.ask("POST /api/v1/instances/api:a/stop", Some(&read), "").await;
    let page = events.page(Filter { limit: 10, ..Filter::default() }).await.unwrap().events;
    let refused: Vec<_> = page
        .iter()
        .filter(|event| event.kind == EventKind::Refused)
        .map(|event| event.actor.as_ref().unwrap().id.as_str())
        .collect();
    assert_eq!(refused, [view.id.as_str(), ""], "{page:?}");
    let locked = page.iter().find(|event| event.kind == EventKind::Lockout).unwrap();
    assert!(locked.message.contains("192.0.2.9") && locked.message.contains("1 s"), "{locked:?}");
    assert!(!format!("{page:?}").contains(&"0".repeat(64)));
    events.close().await;
}
