//! What the API needs of the logs: search, follow, usage and SQL.
//!
//! The API door holds an `Arc<dyn Logs>`, so that every route can be tested without an index. What it
//! asks with is checked: a query is an expression by then, a time a number. Each call may take as long as
//! its own bounds say, works in a blocking thread where it must, and ends early if the client goes away
//! (the future is dropped).

use std::error::Error;
use std::pin::Pin;

use futures_util::Stream;
use futures_util::future::BoxFuture;
use tenement_logs::line::{Level, Line};
use tenement_logs::query::Expr;
use tenement_logs::search::{Counts, Found, Scope, Search};
use tenement_wire::logs::{LogsTable, LogsUsage};

/// What a caller of [`Logs`] waits for.
pub type Reply<'a, T> = BoxFuture<'a, Result<T, LogsError>>;

/// What happens to somebody who follows, in the order of `seq`.
pub type Events = Pin<Box<dyn Stream<Item = Event> + Send>>;

/// The logs of this host. Export is a series of searches from old to new, so it needs no verb.
pub trait Logs: Send + Sync + 'static {
    /// One page. It stops early rather than late (`Search::time`), and says so.
    fn search(&self, search: Search) -> Reply<'_, Found>;

    /// Counts the lines that a search would find if it had no limit, into the buckets of `counts`.
    fn count(&self, search: Search, counts: Counts) -> Reply<'_, Counts>;

    /// New lines as they come, from the moment the future is done; with [`Follow::after`] first those that
    /// came since. The stream ends when the agent stops. It holds a bounded number of lines for a reader
    /// who is slow, and tells them what they missed.
    fn follow(&self, follow: Follow) -> Reply<'_, Events>;

    /// What the index takes on disk.
    fn usage(&self) -> Reply<'_, LogsUsage>;

    /// Runs one statement that only reads, on the view `logs`, within bounds of time, rows and bytes.
    fn sql(&self, sql: String) -> Reply<'_, LogsTable>;
}

/// Which lines somebody follows.
#[derive(Debug, Clone)]
pub struct Follow {
    /// Whose lines.
    pub scope: Scope,
    /// At least this bad.
    pub level: Option<Level>,
    /// What they must hold.
    pub query: Expr,
    /// All lines after this `seq`, without loss or repeat; None begins with the next new one.
    pub after: Option<u64>,
}

/// What happens to somebody who follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A line that matches.
    Line(Line),
    /// The reader was too slow: this many lines (matching or not) were left out; the next one that is looked
    /// at has the seq `next`.
    Missed {
        /// How many.
        count: u64,
        /// Where it goes on.
        next: u64,
    },
}

/// Why the logs did not answer. Display is what the client reads; the cause of
/// [`LogsError::Internal`] goes to the agent's log alone.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// There is no index: the config switched it off, or it could not be opened.
    #[error("logs are not indexed: {reason}")]
    Off {
        /// Why not.
        reason: String,
    },
    /// As many searches or streams run as may.
    #[error("too many {what} run already")]
    Busy {
        /// `searches` or `streams`.
        what: &'static str,
    },
    /// The SQL can't be run.
    #[error("{message}")]
    Sql {
        /// What is wrong with it, in SQLite's words or ours.
        message: String,
    },
    /// Something is wrong with the index.
    #[error("the log index failed")]
    Internal(#[source] Box<dyn Error + Send + Sync>),
}

/// Logs of an agent that keeps no index: every call says why.
#[derive(Debug, Clone)]
pub struct NoLogs {
    /// Why not.
    pub reason: String,
}

impl NoLogs {
    fn off<T: Send + 'static>(&self) -> Reply<'_, T> {
        let reason = self.reason.clone();
        Box::pin(std::future::ready(Err(LogsError::Off { reason })))
    }
}

impl Logs for NoLogs {
    fn search(&self, _search: Search) -> Reply<'_, Found> {
        self.off()
    }

    fn count(&self, _search: Search, _counts: Counts) -> Reply<'_, Counts> {
        self.off()
    }

    fn follow(&self, _follow: Follow) -> Reply<'_, Events> {
        self.off()
    }

    fn usage(&self) -> Reply<'_, LogsUsage> {
        self.off()
    }

    fn sql(&self, _sql: String) -> Reply<'_, LogsTable> {
        self.off()
    }
}
