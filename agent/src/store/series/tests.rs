//! The series on real files.

use super::*;
use crate::store::tests::Scratch;

/// A quarter of an hour, somewhere in 2026.
const START: u64 = 1_790_000_100 / QUARTER * QUARTER;

fn row(at: u64, requests: u64) -> Row {
    let latency = vec![0, requests];
    Row { at, requests, memory: Some(at - START + 1), active_ms: 60_000, latency, ..Row::default() }
}

#[tokio::test]
async fn steps_outlive_the_agent_and_belong_to_one_instance() {
    let scratch = Scratch::new();
    let path = scratch.0.join("metrics.db");
    let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
    let series = Series::open(&path);
    for minute in 0..3 {
        let at = START + minute * MINUTE;
        series.record(vec![(None, row(at, 9)), (Some(one), row(at, minute))]);
    }
    series.close().await;
    let series = Series::open(&path);
    let read = series.read(Some(one), MINUTE, START + MINUTE, u64::MAX / 2).await.unwrap();
    assert_eq!(read, [], "the steps of a day before the end of time");
    let read = series.read(Some(one), MINUTE, START + MINUTE, START + 3600).await.unwrap();
    assert_eq!(read.iter().map(|row| row.requests).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(series.read(Some(two), MINUTE, 0, START + 3600).await.unwrap(), []);
    assert_eq!(series.read(None, MINUTE, 0, START + 3600).await.unwrap().len(), 3);
    series.forget(one);
    assert_eq!(series.read(Some(one), MINUTE, 0, START + 3600).await.unwrap(), []);
}

#[tokio::test]
async fn a_step_in_which_the_agent_was_started_anew_is_the_sum_of_its_parts() {
    let scratch = Scratch::new();
    let path = scratch.0.join("metrics.db");
    let series = Series::open(&path);
    series.record(vec![(None, row(START, 5))]);
    series.close().await;
    let series = Series::open(&path);
    series.record(vec![(None, row(START, 7))]);
    let read = series.read(None, MINUTE, START, START + MINUTE).await.unwrap();
    assert_eq!((read.len(), read[0].requests, &read[0].latency[..]), (1, 12, &[0, 12][..]));
}

#[tokio::test]
async fn quarters_are_made_of_their_minutes_and_outlive_them() {
    let scratch = Scratch::new();
    let series = Series::open(&scratch.0.join("metrics.db"));
    let uuid = Uuid::new_v4();
    for minute in 0..30 {
        series.record(vec![(Some(uuid), row(START + minute * MINUTE, 2))]);
    }
    let read = |step, since| series.read(Some(uuid), step, since, START + 3 * DAY);
    // The second quarter is under way: only its end makes it.
    let quarters = series.read(Some(uuid), QUARTER, START, START + DAY).await.unwrap();
    assert_eq!(quarters.len(), 1);
    assert_eq!((quarters[0].at, quarters[0].requests), (START, 30));
    assert_eq!(quarters[0].active_ms, 15 * 60_000);
    assert_eq!(quarters[0].memory, Some(7 * MINUTE + 1), "the mean of fifteen");
    series.record(vec![(None, row(START + 2 * DAY, 1))]);
    assert_eq!(read(MINUTE, START).await.unwrap(), [], "a day has passed");
    assert_eq!(read(QUARTER, START).await.unwrap().len(), 2);
    series.record(vec![(None, row(START + MONTH + 2 * DAY, 1))]);
    let quarters = series.read(Some(uuid), QUARTER, START, START + MONTH).await.unwrap();
    assert_eq!(quarters, [], "a month has passed");
}

#[test]
fn there_are_never_more_rows_than_the_bound_and_the_oldest_go_first() {
    let scratch = Scratch::new();
    let mut file = file::open(&scratch.0.join("metrics.db")).unwrap();
    file.bound(10);
    let uuids: Vec<_> = (0..4).map(|_| Uuid::new_v4()).collect();
    for minute in 0..10 {
        let at = START + minute * MINUTE;
        file.write(&uuids.iter().map(|uuid| (Some(*uuid), row(at, 1))).collect()).unwrap();
    }
    let left = file.read(Some(uuids[0]), MINUTE, START, START + 3600).unwrap();
    assert_eq!(left.iter().map(|r| r.at).collect::<Vec<_>>(), [START + 480, START + 540]);
}

#[tokio::test]
async fn a_damaged_or_deleted_file_is_begun_anew() {
    let scratch = Scratch::new();
    let path = scratch.0.join("metrics.db");
    std::fs::write(&path, b"no database at all, and rather long".repeat(200)).unwrap();
    let series = Series::open(&path);
    series.record(vec![(None, row(START, 1))]);
    assert_eq!(series.read(None, MINUTE, START, START + 60).await.unwrap().len(), 1);
    assert!(scratch.0.join("metrics.db.corrupt").exists());
    std::fs::remove_file(&path).unwrap();
    series.record(vec![(None, row(START, 1))]);
    assert_eq!(series.read(None, MINUTE, START, START + 60).await.unwrap().len(), 1);
    assert_eq!(series.dropped(), 0);
}

#[tokio::test]
async fn what_cannot_be_written_is_counted_and_holds_nobody_up() {
    let scratch = Scratch::new();
    let series = Series::open(&scratch.0.join("missing/metrics.db"));
    (0..10 * QUEUE as u64).for_each(|_| series.record(vec![(None, row(START, 1))]));
    assert!(series.read(None, MINUTE, START, START + 60).await.is_err() || series.dropped() > 0);
    series.close().await;
    assert!(series.dropped() > 0);
}
