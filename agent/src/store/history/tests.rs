//! The history on real files.

use tenement_wire::status::Cause;

use super::*;
use crate::store::tests::Scratch;

fn entry(time_ms: u64) -> HistoryEntry {
    HistoryEntry { time_ms, from: "asleep".into(), to: "running".into(), cause: Cause::Request }
}

#[tokio::test]
async fn entries_outlive_the_agent_newest_first_and_belong_to_one_uuid() {
    let scratch = Scratch::new();
    let path = scratch.0.join("history.db");
    let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
    let history = History::open(&path);
    (1..=3).for_each(|time| history.record(one, entry(time)));
    history.close().await;
    let history = History::open(&path);
    assert_eq!(history.of(one, 2).await.unwrap(), [entry(3), entry(2)]);
    assert_eq!(history.of(two, 100).await.unwrap(), []);
    assert_eq!(history.take_last(one).as_deref(), Some("running"));
    assert_eq!(history.take_last(one), None);
    history.forget(one);
    assert_eq!(history.of(one, 100).await.unwrap(), []);
}

#[tokio::test]
async fn an_instance_keeps_its_newest_hundred_and_all_together_the_total() {
    let scratch = Scratch::new();
    let path = scratch.0.join("history.db");
    let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
    let history = History::open(&path);
    history.record(two, entry(0));
    (0..250).for_each(|time| history.record(one, entry(time)));
    let kept = history.of(one, 1000).await.unwrap();
    assert_eq!((kept.len(), kept[0].time_ms, kept[99].time_ms), (100, 249, 150));
    assert_eq!(history.of(two, 1000).await.unwrap().len(), 1);
    history.close().await;

    let mut file = file::open(&path).unwrap();
    file.bound(50);
    file.write(&[(one, Some(entry(250)))]).unwrap();
    assert_eq!(file.read(one, 100).unwrap().len(), 50);
    assert_eq!(file.read(two, 100).unwrap(), [], "the oldest go first");
}

#[tokio::test]
async fn a_damaged_history_is_moved_aside_and_begun_anew() {
    let scratch = Scratch::new();
    let path = scratch.0.join("history.db");
    std::fs::write(&path, b"no database at all, and rather long".repeat(200)).unwrap();
    let history = History::open(&path);
    let uuid = Uuid::new_v4();
    history.record(uuid, entry(1));
    assert_eq!(history.of(uuid, 9).await.unwrap(), [entry(1)]);
    assert!(std::fs::read(scratch.0.join("history.db.corrupt")).unwrap().starts_with(b"no data"));
    // Deleted while it is open: the next entry begins another.
    std::fs::remove_file(&path).unwrap();
    history.record(uuid, entry(2));
    assert_eq!(history.of(uuid, 9).await.unwrap(), [entry(2)]);
    assert!(path.exists());
    assert_eq!(history.dropped(), 0);
}

#[tokio::test]
async fn what_cannot_be_written_is_counted_and_holds_nobody_up() {
    let scratch = Scratch::new();
    let history = History::open(&scratch.0.join("missing/history.db"));
    let uuid = Uuid::new_v4();
    (0..3 * QUEUE as u64).for_each(|time| history.record(uuid, entry(time)));
    assert!(history.of(uuid, 9).await.is_err());
    history.close().await;
    let counted = tokio::time::timeout(std::time::Duration::from_secs(20), async {
        // Some were dropped at the queue, the rest when they could not be written.
        while history.dropped() < 3 * QUEUE as u64 {
            history.close().await;
            tokio::task::yield_now().await;
        }
    });
    counted.await.expect("all are counted");
    assert_eq!(history.dropped(), 3 * QUEUE as u64);
}
