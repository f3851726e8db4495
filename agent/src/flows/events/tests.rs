//! Followers, on real files.

use super::*;

const KEEP: Keep = Keep { age: Duration::ZERO, count: 1_000_000, routine: 1_000_000 };

fn hub(dir: &tempfile::TempDir) -> Events {
    Events::new(EventStore::open(&dir.path().join("events.db"), KEEP))
}

fn all() -> Filter {
    Filter { limit: 10, ..Filter::default() }
}

async fn next(follower: &mut Follower) -> u64 {
    match follower.next().await {
        Some(Followed::Event(event)) => event.id,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_follower_who_resumes_gets_each_event_once_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let events = hub(&dir);
    (0..1000).for_each(|_| events.record(Event::new(EventKind::State, "x")));
    let mut follower = Follower::new(&events, all(), Some(300)).await;
    for id in 301..=700 {
        assert_eq!(next(&mut follower).await, id);
    }
    // Further ones come while it is still reading the past.
    (0..50).for_each(|_| events.record(Event::new(EventKind::Change, "y")));
    for id in 701..=1050 {
        assert_eq!(next(&mut follower).await, id);
    }
    let mut fresh = Follower::new(&events, all(), None).await;
    events.record_now(Event::new(EventKind::Change, "z")).await.unwrap();
    assert_eq!(next(&mut fresh).await, 1051);
    assert_eq!(next(&mut follower).await, 1051);
}

#[tokio::test]
async fn a_slow_follower_goes_back_to_the_file_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let events = hub(&dir);
    let filter = Filter { kinds: vec![EventKind::Change], ..all() };
    let mut follower = Follower::new(&events, filter, None).await;
    for id in 1..=5000_u64 {
        let kind = if id % 10 == 0 { EventKind::Change } else { EventKind::State };
        let event = Event::new(kind, "x");
        // The queue takes no more than it may.
        if id % 500 == 0 {
            events.record_now(event).await.unwrap();
        } else {
            events.record(event);
        }
    }
    for id in (10..=5000).step_by(10) {
        assert_eq!(next(&mut follower).await, id);
    }
    events.record(Event::new(EventKind::Change, "x"));
    assert_eq!(next(&mut follower).await, 5001);
}

#[tokio::test]
async fn a_follower_is_told_when_the_file_was_begun_anew_or_is_away() {
    let dir = tempfile::tempdir().unwrap();
    let events = hub(&dir);
    let mut follower = Follower::new(&events, all(), Some(77)).await;
    assert_eq!(follower.next().await, Some(Followed::Missed(0)));
    std::fs::remove_file(dir.path().join("events.db")).unwrap();
    std::fs::create_dir(dir.path().join("events.db")).unwrap();
    for _ in 0..3000 {
        events.record(Event::new(EventKind::Change, "x"));
    }
    assert!(events.record_now(Event::new(EventKind::Change, "x")).await.is_err());
    let Some(Followed::Missed(count)) = follower.next().await else { panic!("not told") };
    assert_eq!(count, 3001 - 1024);
    assert_eq!(next(&mut follower).await, count + 1, "and it goes on with what there is");
    assert_eq!(events.dropped(), 3001);
}

#[tokio::test(start_paused = true)]
async fn refusals_that_were_counted_are_recorded_when_the_agent_stops() {
    let dir = tempfile::tempdir().unwrap();
    let events = hub(&dir);
    let refused = Refused {
        address: "192.0.2.1".into(),
        actor: Actor::anonymous(),
        status: 401,
        code: "unauthenticated".into(),
        action: "GET /instances".into(),
        request_id: "r".into(),
    };
    (0..10).for_each(|_| events.refused(refused.clone()));
    events.clone().sweep(std::future::ready(())).await;
    let page = events.page(all()).await.unwrap();
    let counts: Vec<_> = page.events.iter().map(|event| event.detail.get("count")).collect();
    assert_eq!(counts, [Some(&"9".to_owned()), None]);
}
