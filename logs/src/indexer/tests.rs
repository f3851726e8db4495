//! The hub and its followers, on an index of their own and without a journal.

use std::sync::Arc;

use super::follow::{Event, Follower, Wanted};
use super::hub::Hub;
use crate::index::{Index, Settings, Writer};
use crate::line::{Level, Line, Source};
use crate::query::Expr;
use crate::search::Scope;

struct World {
    hub: Hub,
    index: Index,
    writer: Writer,
    _dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let (writer, index) = Index::open(dir.path(), Settings::default()).expect("an index");
        Self { hub: Hub::default(), index, writer, _dir: dir }
    }

    /// Prints the lines of a range of `seq` to everything, as the indexer does.
    fn print(&mut self, seqs: std::ops::Range<u64>) {
        for seq in seqs {
            let line = Arc::new(line(seq));
            self.writer.append(line.clone()).expect("room");
            self.hub.publish(&[line]);
            self.hub.indexed(seq);
        }
    }

    fn follow(&self, after: Option<u64>) -> Follower {
        let wanted = Wanted { scope: Scope::All, level: None, query: Expr::All };
        Follower::new(self.hub.clone(), self.index.clone(), wanted, after)
    }
}

fn line(seq: u64) -> Line {
    Line {
        seq,
        time_us: 1_795_266_414_000_000 + seq,
        instance: Arc::new("api:prod".parse().expect("a name")),
        level: Level::Info,
        source: Source::Instance,
        text: format!("line {seq}").into(),
    }
}

async fn seqs(follower: &mut Follower, count: usize) -> Vec<u64> {
    let mut seqs = Vec::new();
    while seqs.len() < count {
        match follower.next().await.expect("the index works") {
            Some(Event::Line(line)) => seqs.push(line.seq),
            other => panic!("{other:?} after {seqs:?}"),
        }
    }
    seqs
}

#[tokio::test]
async fn a_follower_begins_with_the_next_line_and_one_that_resumes_behind_its_last() {
    let mut world = World::new();
    world.print(1..100);
    let (mut new, mut resumed) = (world.follow(None), world.follow(Some(50)));
    world.print(100..103);
    assert_eq!(seqs(&mut new, 3).await, [100, 101, 102]);
    assert_eq!(seqs(&mut resumed, 52).await, (51..103).collect::<Vec<_>>());
    world.hub.close();
    assert_eq!(new.next().await.expect("fine"), None);
}

#[tokio::test]
async fn resuming_beyond_the_ring_reads_the_index_without_loss_or_repeat() {
    let mut world = World::new();
    world.print(1..20_000);
    let mut resumed = world.follow(Some(3));
    assert_eq!(seqs(&mut resumed, 19_996).await, (4..20_000).collect::<Vec<_>>());
    world.print(20_000..20_002);
    assert_eq!(seqs(&mut resumed, 2).await, [20_000, 20_001]);
}

#[tokio::test]
async fn a_slow_reader_is_told_how_many_it_missed_and_a_little_slow_one_misses_none() {
    let mut world = World::new();
    world.print(1..2);
    let (mut slow, mut late) = (world.follow(None), world.follow(None));
    // Just beyond the ring of 16384.
    world.print(2..16_500);
    assert_eq!(seqs(&mut late, 16_498).await.len(), 16_498);
    world.print(16_500..40_000);
    let event = slow.next().await.expect("fine");
    // 2 to 23615 are gone from the ring, which has the last 16384.
    assert_eq!(event, Some(Event::Missed { count: 23_614, next: 23_616 }));
    assert_eq!(seqs(&mut slow, 2).await, [23_616, 23_617]);
}

#[tokio::test]
async fn in_a_backlog_new_lines_come_first_and_who_resumes_gets_all_in_order() {
    let mut world = World::new();
    world.print(1..10);
    let (mut live, mut resumed) = (world.follow(None), world.follow(Some(5)));
    // A second reader goes to the journal's end, at 1000, and publishes what is new.
    world.hub.leap(1000);
    world.hub.publish(&[Arc::new(line(1001))]);
    assert!(matches!(live.next().await.expect("fine"), Some(Event::Missed { next: 1001, .. })));
    assert_eq!(seqs(&mut live, 1).await, [1001]);
    assert_eq!(seqs(&mut resumed, 4).await, [6, 7, 8, 9]);
    // The indexer gets there. What was published is not published again.
    world.print(10..1002);
    assert_eq!(seqs(&mut resumed, 992).await, (10..1002).collect::<Vec<_>>());
    world.print(1002..1003);
    assert_eq!(seqs(&mut live, 1).await, [1002]);
}
