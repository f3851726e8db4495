//! From the journal to the index, and to those who follow.
//!
//! ```text
//!              ┌─ thread ─────────────────────────────────────────────┐
//!  journal ──► │ read ► group traces ► number ► append ► commit       │ ──► index
//!              └──────────────────────────┬───────────────────────────┘
//!  journal's end ──► ahead (in a backlog) ┴─► hub ──► followers
//! ```
//! A commit writes lines and the place in the journal together, at a moment when no line is on its way. So
//! after a crash exactly what is missing is read again. Whatever fails is tried again, and told in
//! [`Indexer::status`]; the thread ends only when it is told to.

mod ahead;
mod follow;
mod house;
mod hub;
mod place;
#[cfg(test)]
mod tests;
mod work;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tenement_wire::InstanceName;

pub use follow::{Event, Follower, Wanted};
pub use hub::Hub;

use crate::index::{self, Index, Policy};
use crate::journal::Scope;
use crate::line::Line;
use crate::search::{Found, Search};

/// The journal is opened anew after so many entries, which gives the memory of its mapped files back.
const REOPEN: usize = 5_000;
/// The most requests (purges) that wait for the thread.
const REQUESTS: usize = 1024;

/// How the indexer is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Lines that were indexed since the start.
    pub lines: u64,
    /// Whether it reads what was printed a while ago: how old, microseconds.
    pub behind_us: u64,
    /// What keeps it from going on, if anything does.
    pub error: Option<String>,
}

/// The log index of a running agent. Clones are of the same one.
#[derive(Debug, Clone)]
pub struct Indexer {
    index: Index,
    hub: Hub,
    shared: Arc<Shared>,
    requests: mpsc::SyncSender<Request>,
    thread: Arc<Mutex<Option<std::thread::JoinHandle<()>>>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    status: Mutex<Status>,
    policy: Mutex<Policy>,
    /// The policy is another one.
    retain: AtomicBool,
}

#[derive(Debug)]
enum Request {
    Purge(InstanceName, mpsc::SyncSender<Result<(), String>>),
}

impl Indexer {
    /// Opens the index in `dir` and starts to fill it from the journal of `scope`.
    ///
    /// # Errors
    /// The index cannot be opened. What is wrong with the journal is told by [`Self::status`].
    pub fn start(
        dir: &Path,
        scope: Scope,
        settings: index::Settings,
    ) -> Result<Self, index::Error> {
        let (writer, index) = Index::open(dir, settings)?;
        let hub = Hub::default();
        let shared = Arc::new(Shared::default());
        let (requests, received) = mpsc::sync_channel(REQUESTS);
        let work =
            work::Work::new(scope, writer, index.clone(), hub.clone(), shared.clone(), received);
        let ended = hub.clone();
        let thread = std::thread::Builder::new().name("log-index".into()).spawn(move || {
            work.run();
            ended.close();
        });
        let thread = match thread {
            Ok(thread) => Arc::new(Mutex::new(Some(thread))),
            Err(source) => {
                return Err(index::Error::Io {
                    what: "start a thread for",
                    path: dir.into(),
                    source,
                });
            }
        };
        Ok(Self { index, hub, shared, requests, thread })
    }

    /// Finds lines: those in the index, and before them, newest first, those that it will get while it
    /// is behind. Blocks.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn search(&self, search: &Search) -> Result<Found, index::Error> {
        // From old to new the lines would have a hole where the backlog belongs.
        if search.oldest_first || search.limit == 0 {
            return self.index.search(search);
        }
        let (ahead, indexed) = self.hub.ahead();
        let wanted = Wanted {
            scope: search.scope.clone(),
            level: search.level,
            query: search.query.clone(),
        };
        let within = |line: &Line| {
            search.since_us.is_none_or(|since| line.time_us >= since)
                && search.until_us.is_none_or(|until| line.time_us < until)
                && search.before.is_none_or(|before| line.seq < before)
                && search.after.is_none_or(|after| line.seq > after)
        };
        let newest = ahead.iter().rev().filter(|line| within(line) && wanted.takes(line));
        let mut lines: Vec<Line> =
            newest.take(search.limit).map(|line| Line::clone(line)).collect();
        if lines.len() == search.limit {
            let next = lines.last().map(|line| line.seq);
            return Ok(Found { lines, next, stopped: None });
        }
        let mut rest = search.clone();
        rest.limit = search.limit - lines.len();
        if !lines.is_empty() {
            rest.before = Some(search.before.map_or(indexed + 1, |before| before.min(indexed + 1)));
        }
        let found = self.index.search(&rest)?;
        lines.extend(found.lines);
        Ok(Found { lines, ..found })
    }

    /// Follows new lines; with `after` first all that came after that `seq`.
    #[must_use]
    pub fn follow(&self, wanted: Wanted, after: Option<u64>) -> Follower {
        Follower::new(self.hub.clone(), self.index.clone(), wanted, after)
    }

    /// The index, to ask it what only it knows.
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Removes an instance's lines, those included that are still unread in the journal. Blocks.
    ///
    /// # Errors
    /// A text that says why they could not be removed.
    pub fn purge(&self, instance: &InstanceName) -> Result<(), String> {
        let (answer, answered) = mpsc::sync_channel(1);
        let gone = || "the log index has ended".to_owned();
        self.requests.try_send(Request::Purge(instance.clone(), answer)).map_err(|e| match e {
            mpsc::TrySendError::Full(_) => "too many purges wait already".to_owned(),
            mpsc::TrySendError::Disconnected(_) => gone(),
        })?;
        answered.recv_timeout(Duration::from_secs(30)).map_err(|_| gone())?
    }

    /// Sets how much is kept, from now on.
    pub fn keep(&self, policy: Policy) {
        let mut current = self.shared.policy.lock().unwrap_or_else(PoisonError::into_inner);
        if *current != policy {
            *current = policy;
            self.shared.retain.store(true, Ordering::Relaxed);
        }
    }

    /// How it is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes what it has and ends, within `bound`. What was not written is read again at the next start.
    pub fn stop(&self, bound: Duration) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return };
        let deadline = Instant::now() + bound;
        while !thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        if thread.is_finished() && thread.join().is_err() {
            log::error!("the thread of the log index had broken off");
        }
    }
}

/// The time, Unix microseconds.
fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
