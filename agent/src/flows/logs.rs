//! The logs of the instances: the log index as the doors and the other flows know it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::stream;
use tenement_logs::index::{Keep, Policy};
use tenement_logs::indexer::{self, Follower, Indexer, Wanted};
use tenement_logs::search::{Found, Search};
use tenement_wire::InstanceName;
use tenement_wire::logs::{LogsTable, LogsUsage};

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
    searches: Turns,
    streams: Turns,
}

/// So many at once.
#[derive(Debug, Clone)]
struct Turns {
    taken: Arc<AtomicUsize>,
    most: usize,
    what: &'static str,
}

/// One of them; it is given back when this is dropped.
#[derive(Debug)]
struct Turn(Arc<AtomicUsize>);

impl Turns {
    fn new(most: usize, what: &'static str) -> Self {
        Self { taken: Arc::default(), most, what }
    }

    fn take(&self) -> Result<Turn, LogsError> {
        let turn = Turn(self.taken.clone());
        if self.taken.fetch_add(1, Ordering::AcqRel) >= self.most {
            return Err(LogsError::Busy { what: self.what });
        }
        Ok(turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Indexed {
    /// The logs of a running indexer.
    #[must_use]
    pub fn new(indexer: Indexer) -> Self {
        let (searches, streams) =
            (Turns::new(SEARCHES, "searches"), Turns::new(STREAMS, "streams"));
        Self { indexer, searches, streams }
    }

    /// Keeps as much as `config` says.
    pub fn keep(&self, config: &Config) {
        self.indexer.keep(policy(config));
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
        work: impl FnOnce(&Indexer) -> Result<T, tenement_logs::index::Error> + Send + 'static,
    ) -> Result<T, LogsError> {
        let turn = self.searches.take()?;
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

    fn follow(&self, follow: Follow) -> Reply<'_, Events> {
        Box::pin(async move {
            let turn = self.streams.take()?;
            let Follow { scope, level, query, after } = follow;
            let follower = self.indexer.follow(Wanted { scope, level, query }, after);
            let events: Events = Box::pin(stream::unfold((follower, turn), next));
            Ok(events)
        })
    }

    fn usage(&self) -> Reply<'_, LogsUsage> {
        Box::pin(self.blocking(|_| Ok(LogsUsage::default())))
    }

    fn sql(&self, _sql: String) -> Reply<'_, LogsTable> {
        Box::pin(self.blocking(|_| Ok(LogsTable::default())))
    }
}

async fn next((mut follower, turn): (Follower, Turn)) -> Option<(Event, (Follower, Turn))> {
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
