//! The logs of the instances: the log index as the doors and the other flows know it.

use std::sync::Arc;

use futures_util::stream;
use serde_json::Value;
use tenement_logs::index::{self, Bounds, Index, Keep, Policy};
use tenement_logs::indexer::{self, Follower, Indexer, Wanted};
use tenement_logs::search::{Counts, Found, Search, Stopped};
use tenement_wire::InstanceName;
use tenement_wire::logs::{LogsCell, LogsDay, LogsOfInstance, LogsStopped, LogsTable, LogsUsage};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::logbook::{Event, Events, Follow, Logs, LogsError, Reply};
use crate::config::{Config, LogKeep};

/// Searches that run at once: each may keep a core busy for as long as its time allows.
const SEARCHES: usize = 8;
/// Streams at once.
const STREAMS: usize = 512;

/// The logs that are indexed.
#[derive(Debug, Clone)]
pub struct Indexed {
    indexer: Indexer,
    searches: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

/// One of so many at once; it is given back when this is dropped.
fn turn(turns: &Arc<Semaphore>, what: &'static str) -> Result<OwnedSemaphorePermit, LogsError> {
    turns.clone().try_acquire_owned().map_err(|_| LogsError::Busy { what })
}

impl Indexed {
    /// The logs of a running indexer.
    #[must_use]
    pub fn new(indexer: Indexer) -> Self {
        let turns = |count| Arc::new(Semaphore::new(count));
        Self { indexer, searches: turns(SEARCHES), streams: turns(STREAMS) }
    }

    /// Keeps as much as `config` says.
    pub fn keep(&self, config: &Config) {
        self.indexer.keep(policy(config));
    }

    /// How many lines were indexed since the start, and how far behind that is, in microseconds.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        let status = self.indexer.status();
        (status.lines, status.behind_us)
    }

    /// Removes the lines of an instance that is gone.
    ///
    /// # Errors
    /// A text that says why not.
    pub async fn purge(&self, name: &InstanceName) -> Result<(), String> {
        let (indexer, name) = (self.indexer.clone(), name.clone());
        let purged = tokio::task::spawn_blocking(move || indexer.purge(&name)).await;
        purged.unwrap_or_else(|error| Err(error.to_string()))
    }

    /// Runs `work` where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Indexer) -> Result<T, index::Error> + Send + 'static,
    ) -> Result<T, LogsError> {
        let turn = turn(&self.searches, "searches")?;
        let indexer = self.indexer.clone();
        let done = tokio::task::spawn_blocking(move || {
            // Held until the work is done, even if whoever asked has gone.
            let _turn = turn;
            work(&indexer)
        });
        match done.await {
            Ok(done) => done.map_err(|error| LogsError::Internal(error.into())),
            Err(error) => Err(LogsError::Internal(error.into())),
        }
    }
}

impl Logs for Indexed {
    fn search(&self, search: Search) -> Reply<'_, Found> {
        Box::pin(self.blocking(move |indexer| indexer.search(&search)))
    }

    fn count(&self, search: Search, counts: Counts) -> Reply<'_, Counts> {
        Box::pin(self.blocking(move |indexer| indexer.index().count(&search, counts)))
    }

    fn follow(&self, follow: Follow) -> Reply<'_, Events> {
        Box::pin(async move {
            let turn = turn(&self.streams, "streams")?;
            let Follow { scope, level, query, after } = follow;
            let follower = self.indexer.follow(Wanted { scope, level, query }, after);
            let events: Events = Box::pin(stream::unfold((follower, turn), next));
            Ok(events)
        })
    }

    fn usage(&self) -> Reply<'_, LogsUsage> {
        Box::pin(self.blocking(|indexer| usage(indexer.index())))
    }

    fn sql(&self, sql: String) -> Reply<'_, LogsTable> {
        Box::pin(async move {
            let work = move |indexer: &Indexer| match indexer.index().sql(&sql, Bounds::default()) {
                Err(index::Error::Query(message)) => Ok(Err(message)),
                other => other.map(|rows| Ok(table(rows))),
            };
            self.blocking(work).await?.map_err(|message| LogsError::Sql { message })
        })
    }
}

fn usage(index: &Index) -> Result<LogsUsage, index::Error> {
    let days = index.days()?.into_iter();
    let days: Vec<_> =
        days.map(|day| LogsDay { day: day.day, bytes: day.bytes, lines: day.lines }).collect();
    let instances = index.usage()?.into_iter().map(|usage| LogsOfInstance {
        process: usage.instance.process().to_string(),
        instance_id: usage.instance.id().to_string(),
        bytes: usage.bytes,
        lines: usage.lines,
        days: u32::try_from(usage.days.len()).unwrap_or(u32::MAX),
        oldest_ms: usage.oldest_us / 1000,
        newest_ms: usage.newest_us / 1000,
    });
    let lines = days.iter().map(|day| day.lines).sum();
    Ok(LogsUsage { bytes: index.disk_bytes(), lines, days, instances: instances.collect() })
}

fn table(rows: index::Rows) -> LogsTable {
    let cell = |value: Value| match value {
        Value::Null => LogsCell::Null(()),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => LogsCell::Integer(whole),
            None => number.as_f64().map_or(LogsCell::Null(()), LogsCell::Real),
        },
        Value::String(text) => LogsCell::Text(text),
        other => LogsCell::Text(other.to_string()),
    };
    let stopped = rows.stopped.map(|stopped| match stopped {
        Stopped::Time => LogsStopped::Time,
        Stopped::Memory => LogsStopped::Memory,
    });
    let cells = rows.rows.into_iter().map(|row| row.into_iter().map(cell).collect());
    LogsTable { columns: rows.columns, rows: cells.collect(), stopped }
}

async fn next(
    (mut follower, turn): (Follower, OwnedSemaphorePermit),
) -> Option<(Event, (Follower, OwnedSemaphorePermit))> {
    match follower.next().await {
        Ok(Some(indexer::Event::Line(line))) => Some((Event::Line(line), (follower, turn))),
        Ok(Some(indexer::Event::Missed { count, next })) => {
            Some((Event::Missed { count, next }, (follower, turn)))
        }
        Ok(None) => None,
        Err(error) => {
            // The client comes back with the last id it has.
            log::warn!("a stream of logs ends: {error}");
            None
        }
    }
}

/// What the config says, as the index takes it. Zero is "without limit" there.
fn policy(config: &Config) -> Policy {
    let keep = |keep: &LogKeep| Keep {
        age: keep.retention.map(|age| if age.is_zero() { std::time::Duration::MAX } else { age }),
        bytes: keep.max.filter(|max| *max > 0),
    };
    let processes = config.processes.iter();
    let processes = processes.filter(|(_, definition)| definition.logs != LogKeep::default());
    Policy {
        all: keep(&config.settings.logs),
        processes: processes.map(|(name, d)| (name.to_string(), keep(&d.logs))).collect(),
    }
}
