//! Traffic as customers make it: requests at a fixed rate on kept and new connections, uploads, streams of five seconds
//! and WebSockets, with what became of each.
//!
//! The rate does not depend on the answers: while requests wait, others are sent by further clients, so that a pause of
//! the server is seen by as many as would be in reality.

mod clients;
mod long;
mod request;

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use crate::host::{Host, PORT};
use crate::rollout::Drain;

/// No answer takes longer than this.
const BOUND: Duration = Duration::from_secs(45);
/// By how much the clocks of what is compared may differ, and how long closing may take.
const SLACK_MS: u64 = 250;

/// What traffic there is.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The hosts that are asked in turn.
    pub names: Vec<String>,
    /// Requests a second.
    pub rate: u32,
    /// Streams at any time.
    pub streams: usize,
    /// WebSockets at any time.
    pub sockets: usize,
    /// Uploads of a second at any time.
    pub uploads: usize,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answered {
    /// When its request was due, in Unix milliseconds.
    pub due_ms: u64,
    /// When it was whole.
    pub ended_ms: u64,
    /// How long that took since it was due, in milliseconds.
    pub took_ms: f64,
    /// The host that was asked, by its place in [`Plan::names`].
    pub name: usize,
    /// The release that answered.
    pub release: Arc<str>,
}

/// A request without a whole and right answer, or a WebSocket that broke.
#[derive(Debug, Clone)]
pub struct Failed {
    /// When it began, in Unix milliseconds.
    pub began_ms: u64,
    /// When it failed.
    pub ended_ms: u64,
    /// What it was and why it failed.
    pub why: String,
}

/// A WebSocket that the server closed.
#[derive(Debug, Clone)]
pub struct Closed {
    /// The host that was asked.
    pub name: String,
    /// The id of the instance that it led to.
    pub instance: String,
    /// When, in Unix milliseconds.
    pub at_ms: u64,
}

/// What traffic met.
#[derive(Debug, Default)]
pub struct Met {
    /// Answers to requests at the fixed rate.
    pub answered: Vec<Answered>,
    /// All failures but closed WebSockets.
    pub failed: Vec<Failed>,
    /// WebSockets that the server closed.
    pub closed: Vec<Closed>,
    /// Numbers of the POSTs that were answered.
    pub posted: Vec<u64>,
    /// Whole streams.
    pub streams: u64,
    /// Frames that came back.
    pub frames: u64,
}

impl Met {
    /// WebSockets closed within a drain of their instance after its bound; all others are added to the failures.
    /// `process_of` gives the process that a host's name belongs to.
    pub fn judge_closed(&mut self, drains: &[Drain], process_of: impl Fn(&str) -> String) -> usize {
        let (mut fine, mut early) = (0, Vec::new());
        for closed in &self.closed {
            let instance = format!("{}:{}", process_of(&closed.name), closed.instance);
            let due = drains.iter().any(|drain| {
                drain.instance == instance
                    && closed.at_ms + SLACK_MS >= drain.began_ms + drain.bound_ms
                    && closed.at_ms <= drain.began_ms + drain.bound_ms + 20_000
            });
            if due {
                fine += 1;
                continue;
            }
            let why = format!("WebSocket at {instance} closed before its drain bound");
            early.push(Failed { began_ms: closed.at_ms, ended_ms: closed.at_ms, why });
        }
        self.failed.extend(early);
        fine
    }

    /// The time that `part` (such as 0.99) of the requests due in `span` (Unix milliseconds) took at most, in
    /// milliseconds.
    #[must_use]
    pub fn quantile(&self, part: f64, span: std::ops::Range<u64>) -> f64 {
        let due = self.answered.iter().filter(|one| span.contains(&one.due_ms));
        let mut took: Vec<f64> = due.map(|one| one.took_ms).collect();
        took.sort_by(f64::total_cmp);
        let at = (took.len() as f64 * part) as usize;
        took.get(at.min(took.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
    }

    /// How many answers each release gave after this moment, in Unix milliseconds.
    #[must_use]
    pub fn releases_after(&self, ms: u64) -> BTreeMap<String, usize> {
        let mut releases = BTreeMap::new();
        for one in self.answered.iter().filter(|one| one.due_ms > ms) {
            *releases.entry(one.release.to_string()).or_default() += 1;
        }
        releases
    }
}

/// What all clients share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    stop: AtomicBool,
    /// The number of the next POST; no number is used twice.
    number: AtomicU64,
    met: Mutex<Met>,
}

impl Shared {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn note(&self, note: impl FnOnce(&mut Met)) {
        note(&mut self.met.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn failed(&self, began_ms: u64, what: &str, why: &impl std::fmt::Display) {
        let failed = Failed { began_ms, ended_ms: now_ms(), why: format!("{what}: {why}") };
        self.note(|met| met.failed.push(failed));
    }

    fn next_number(&self) -> u64 {
        self.number.fetch_add(1, Ordering::Relaxed)
    }
}

/// Traffic that goes on until [`Traffic::stop`].
#[derive(Debug)]
pub struct Traffic {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Traffic {
    /// Begins it. `first` is the number of the first POST.
    #[must_use]
    pub fn start(host: &Host, plan: &Plan, first: u64) -> Self {
        let shared = Arc::new(Shared { number: AtomicU64::new(first), ..Shared::default() });
        let mut threads = long::start(host, plan, &shared);
        threads.push(clients::start(host, plan, &shared));
        Self { shared, threads }
    }

    /// Ends it, when all that is under way has ended.
    ///
    /// # Panics
    /// When a client did.
    #[must_use]
    pub fn stop(self) -> Met {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("no client panics");
        }
        std::mem::take(&mut self.shared.met.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Unix milliseconds, the same clock as the host's.
#[must_use]
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn connect() -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", PORT))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(BOUND))?;
    Ok(stream)
}
