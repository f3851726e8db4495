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
