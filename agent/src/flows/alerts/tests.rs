//! Alerts with a turned clock and a receiver that is told what to answer.

use std::sync::atomic::{AtomicUsize, Ordering};

use tenement_wire::alerts::Alert;

use super::*;
use crate::flows::events::Keep;
use crate::store::events::EventStore;

const KEEP: Keep = Keep { age: Duration::ZERO, count: 1_000_000, routine: 1_000_000 };

fn settings() -> AlertSettings {
    AlertSettings {
        url: "https://alerts.example.com/secret-path".parse().unwrap(),
        secret_file: "/etc/tenement/alerts.secret".into(),
        kinds: EventKind::ALERTING.to_vec(),
        window: Duration::from_secs(600),
        timeout: Duration::from_secs(10),
    }
}

struct World {
    alerts: Alerts,
    got: Arc<Mutex<Vec<(Instant, Order)>>>,
    dir: tempfile::TempDir,
}

/// A receiver that answers `statuses` one after the other, then 200.
fn world(statuses: &'static [u16]) -> World {
    let dir = tempfile::tempdir().unwrap();
    let events = Events::new(EventStore::open(&dir.path().join("events.db"), KEEP));
    let got: Arc<Mutex<Vec<(Instant, Order)>>> = Arc::default();
    let (seen, at) = (got.clone(), AtomicUsize::new(0));
    let post: Post = Box::new(move |order| {
        seen.lock().unwrap().push((Instant::now(), order));
        let status = statuses.get(at.fetch_add(1, Ordering::Relaxed)).copied().unwrap_or(200);
        let answer = match status {
            0 => Err(HookError::Unreachable("can't connect".into())),
            status => Ok(Answer { status, said: "x".into() }),
        };
        Box::pin(std::future::ready(answer))
    });
    let alerts = Alerts::with(events, "host".into(), Some(settings()), post);
    World { alerts, got, dir }
}

impl World {
    fn got(&self) -> Vec<Alert> {
        let got = self.got.lock().unwrap();
        got.iter().map(|(_, order)| serde_json::from_slice(&order.body).unwrap()).collect()
    }

    async fn pass(&self, seconds: u64) {
        for _ in 0..seconds {
            self.alerts.end_windows();
            tokio::time::advance(Duration::from_secs(1)).await;
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        }
    }
}

fn event(kind: EventKind, name: &str) -> Event {
    Event::new(kind, "it happened").about(&name.parse().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_crash_loop_is_one_alert_in_a_window_that_says_how_many_were_not_sent() {
    let world = world(&[]);
    let _delivering = tokio::spawn(world.alerts.clone().deliver());
    for _ in 0..50 {
        world.alerts.take(&event(EventKind::RestartLoop, "api:a"));
    }
    world.alerts.take(&event(EventKind::Oom, "api:a"));
    world.alerts.take(&event(EventKind::RestartLoop, "api:b"));
    world.pass(1).await;
    assert_eq!(world.got().len(), 3);
    assert!(world.got().iter().all(|alert| alert.suppressed == 0 && alert.host == "host"));
    world.pass(601).await;
    let got = world.got();
    assert_eq!(got.len(), 4);
    assert_eq!((got[3].kind.as_str(), got[3].suppressed), ("restart-loop", 48));
    world.pass(2000).await;
    assert_eq!(world.got().len(), 4, "and nothing more once it is quiet");
    assert_eq!(world.alerts.view().suppressed, 49);
}

#[tokio::test(start_paused = true)]
async fn an_alert_is_tried_again_with_growing_pauses_and_the_same_id() {
    let world = world(&[0, 503, 429, 500]);
    let _delivering = tokio::spawn(world.alerts.clone().deliver());
    world.alerts.take(&event(EventKind::Failed, "api:a"));
    world.pass(60).await;
    let got = world.got.lock().unwrap();
    let times: Vec<_> = got.iter().map(|(at, _)| *at).collect();
    assert_eq!(times.len(), 5);
    for (at, pair) in times.windows(2).enumerate() {
        let (pause, base) = ((pair[1] - pair[0]).as_secs_f64(), f64::from(1 << at));
        assert!((0.75 * base..=1.25 * base + 1.1).contains(&pause), "{at}: {pause}");
    }
    assert!(got.iter().all(|(_, order)| order.id == got[0].1.id));
    let view = world.alerts.view();
    assert_eq!((view.sent, view.failed, view.waiting), (1, 0, 0));
    assert!(view.last.unwrap().taken);
}

#[tokio::test(start_paused = true)]
async fn what_a_receiver_refuses_is_given_up_and_is_an_event() {
    let world = world(&[404]);
    let mut live = world.alerts.0.events.subscribe();
    let _delivering = tokio::spawn(world.alerts.clone().deliver());
    world.alerts.take(&event(EventKind::Failed, "api:a"));
    world.pass(100).await;
    assert_eq!((world.got().len(), world.alerts.view().failed), (1, 1));
    let told = live.recv().await.unwrap();
    assert_eq!(told.kind, EventKind::Alert);
    assert!(told.message.contains("given up: the receiver answered 404"), "{}", told.message);
    assert!(world.dir.path().exists());
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_stays_away_is_given_up_and_the_queue_stays_bounded() {
    let world = world(&[0; 5000]);
    let delivering = tokio::spawn(world.alerts.clone().deliver());
    world.alerts.take(&event(EventKind::Failed, "api:a"));
    world.pass(2 * 3600).await;
    assert_eq!((world.got().len(), world.alerts.view().failed), (TRIES as usize, 1));
    delivering.abort();
    for n in 0..QUEUE + 10 {
        world.alerts.take(&event(EventKind::Failed, &format!("web:a{n}")));
    }
    let view = world.alerts.view();
    assert_eq!((view.waiting as usize, view.failed), (QUEUE, 11));
    world.alerts.set(None);
    assert_eq!(world.alerts.view().waiting, 0);
    assert_eq!(world.alerts.test().await, None);
}

#[tokio::test]
async fn only_the_kinds_that_were_asked_for_are_sent_from_the_event_to_the_receiver() {
    let world = world(&[]);
    world.alerts.set(Some(AlertSettings { kinds: vec![EventKind::Oom], ..settings() }));
    let mut live = world.alerts.0.events.subscribe();
    let running = tokio::spawn(world.alerts.clone().run());
    // Followed from when it runs on; until then it is not known that it does.
    while world.got().is_empty() {
        world.alerts.0.events.record(event(EventKind::Failed, "api:a"));
        world.alerts.0.events.record(event(EventKind::Oom, "api:a"));
        live.recv().await.unwrap();
    }
    let got = world.got();
    assert_eq!(got[0].event.as_ref().unwrap().kind, EventKind::Oom);
    let view = world.alerts.view();
    assert_eq!(view.receiver.as_deref(), Some("https://alerts.example.com"), "without its path");
    running.abort();
    let tried = world.alerts.test().await.unwrap();
    assert_eq!((tried.taken, tried.status), (true, Some(200)));
    assert_eq!(world.got().last().unwrap().kind, "test");
}
