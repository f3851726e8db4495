//! A search: which lines, in which order, how many; and what came of it.

use std::time::Duration;

use tenement_wire::InstanceName;

use crate::line::{Level, Line};
use crate::query::Expr;

/// Whose lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Everybody's.
    All,
    /// All instances of a process.
    Process(String),
    /// One instance's.
    Instance(InstanceName),
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Search {
    /// Whose lines.
    pub scope: Scope,
    /// Not before this, Unix microseconds.
    pub since_us: Option<u64>,
    /// Before this, Unix microseconds.
    pub until_us: Option<u64>,
    /// At least this bad.
    pub level: Option<Level>,
    /// What they must hold.
    pub query: Expr,
    /// Only lines whose `seq` is below (the next page of a newest-first search).
    pub before: Option<u64>,
    /// Only lines whose `seq` is above (what a stream missed).
    pub after: Option<u64>,
    /// From old to new, and the oldest `limit` lines instead of the newest.
    pub oldest_first: bool,
    /// Lines at most.
    pub limit: usize,
    /// How long it may take; what was found until then is given out.
    pub time: Duration,
}

impl Search {
    /// The newest `limit` lines of `scope` that match, without any other bound.
    #[must_use]
    pub fn new(scope: Scope, query: Expr, limit: usize, time: Duration) -> Self {
        Self {
            scope,
            since_us: None,
            until_us: None,
            level: None,
            query,
            before: None,
            after: None,
            oldest_first: false,
            limit,
            time,
        }
    }
}

/// How many lines there were when, in equal steps of time and by level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    /// Where the first bucket begins, Unix microseconds.
    pub since_us: u64,
    /// How long a bucket is, in microseconds; at least 1.
    pub step_us: u64,
    /// Lines by syslog priority, 0 to 7.
    pub buckets: Vec<[u64; 8]>,
    /// Set if it stopped early: the older buckets have too few lines.
    pub stopped: Option<Stopped>,
}

impl Counts {
    /// So many empty buckets.
    #[must_use]
    pub fn new(since_us: u64, step_us: u64, buckets: usize) -> Self {
        Self { since_us, step_us: step_us.max(1), buckets: vec![[0; 8]; buckets], stopped: None }
    }

    /// Counts a line; one that is outside of all buckets is left out.
    pub fn add(&mut self, time_us: u64, level: Level) {
        let Some(since) = time_us.checked_sub(self.since_us) else { return };
        let at = usize::try_from(since / self.step_us).unwrap_or(usize::MAX);
        if let Some(bucket) = self.buckets.get_mut(at) {
            bucket[usize::from(level.priority())] += 1;
        }
    }
}

/// Why a search did not look at everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Its time was over.
    Time,
    /// It had read or held as much as it may.
    Memory,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// In the order asked for.
    pub lines: Vec<Line>,
    /// Where the next page begins: the `before` (or `after`, oldest first) to ask with. None if there is
    /// no more. It is also there when the search was stopped early: asking with it goes on.
    pub next: Option<u64>,
    /// Set if it stopped early.
    pub stopped: Option<Stopped>,
}
