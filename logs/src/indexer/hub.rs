//! The newest lines, for those who follow: one ring for all, so that a follower costs no memory of its own.
//!
//! ```text
//!   in the index                          │ in the ring
//!   …………………………………………… indexed   floor │ floor+1 ………… last
//! ```
//! Normally `indexed` and `last` are the same. While a backlog is read they are not: a second reader at the
//! journal's end publishes what is new, and the index gets there later.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tenement_wire::InstanceName;
use tokio::sync::watch;

use crate::line::Line;

/// Bounds of the ring.
const LINES: usize = 16_384;
const BYTES: usize = 8 << 20;

/// The ring. Clones are of the same one.
#[derive(Debug, Clone)]
pub struct Hub {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    ring: VecDeque<Arc<Line>>,
    bytes: usize,
    /// How many lines have left the ring.
    left: u64,
    /// The ring holds every line above this, up to `last`.
    floor: u64,
    last: u64,
    indexed: u64,
    closed: bool,
}

/// What there is for somebody who has seen everything up to a `seq`.
#[derive(Debug)]
pub(super) enum View {
    /// These lines come next, of which the first is the so-manieth of all.
    Lines(Vec<Arc<Line>>, u64),
    /// Nothing yet.
    Nothing,
    /// The ring begins further on, with the so-manieth line.
    Behind(Behind),
    /// There will be no more.
    Closed,
}

/// How far somebody is behind the ring.
#[derive(Debug, Clone, Copy)]
pub(super) struct Behind {
    /// The ring has all lines above this.
    pub(super) floor: u64,
    /// How many lines have left it.
    pub(super) left: u64,
    /// The index has all lines up to this one.
    pub(super) indexed: u64,
}

impl Default for Hub {
    fn default() -> Self {
        Self { state: Arc::default(), changed: watch::Sender::new(()) }
    }
}

impl Hub {
    /// Starts behind `seq`: everything up to it is in the index.
    pub(super) fn begin(&self, seq: u64) {
        let mut state = self.lock();
        state.indexed = seq;
        if state.last == 0 {
            (state.floor, state.last) = (seq, seq);
        }
    }

    /// Takes lines, in order. What was published before is passed over.
    pub(super) fn publish(&self, lines: &[Arc<Line>]) {
        let mut state = self.lock();
        for line in lines {
            if line.seq > state.last {
                state.push(line.clone());
            }
        }
        drop(state);
        if !lines.is_empty() {
            self.changed.send_replace(());
        }
    }

    /// The index has everything up to `seq`.
    pub(super) fn indexed(&self, seq: u64) {
        let mut state = self.lock();
        let news = state.indexed != seq;
        state.indexed = seq;
        drop(state);
        if news {
            self.changed.send_replace(());
        }
    }

    /// Everything up to `seq` is left to the index, which does not have it yet: the ring goes on behind it.
    pub(super) fn leap(&self, seq: u64) {
        let mut state = self.lock();
        // How many lines lie between is not known yet; entries of the journal are counted instead.
        state.left += state.ring.len() as u64 + seq.saturating_sub(state.last);
        state.ring.clear();
        state.bytes = 0;
        (state.floor, state.last) = (seq, seq);
        drop(state);
        self.changed.send_replace(());
    }

    /// Forgets an instance's lines.
    pub(super) fn purge(&self, instance: &InstanceName) {
        let mut state = self.lock();
        state.ring.retain(|line| *line.instance != *instance);
        state.bytes = state.ring.iter().map(|line| line.text.len()).sum();
    }

    /// Ends all streams.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.send_replace(());
    }

    /// The last `seq` there is, and how many lines were published up to it.
    pub(super) fn last(&self) -> (u64, u64) {
        let state = self.lock();
        (state.last, state.left + state.ring.len() as u64)
    }

    /// Whether anybody follows.
    pub(super) fn is_followed(&self) -> bool {
        self.changed.receiver_count() > 0
    }

    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// What comes after `seq`, at most `most` lines.
    pub(super) fn after(&self, seq: u64, most: usize) -> View {
        let state = self.lock();
        if seq < state.floor {
            let State { floor, left, indexed, .. } = *state;
            return View::Behind(Behind { floor, left, indexed });
        }
        let at = state.ring.partition_point(|line| line.seq <= seq);
        let lines: Vec<_> = state.ring.range(at..).take(most).cloned().collect();
        match (lines.is_empty(), state.closed) {
            (false, _) => View::Lines(lines, state.left + at as u64),
            (true, true) => View::Closed,
            (true, false) => View::Nothing,
        }
    }

    /// The lines that are not in the index yet, and up to where it has all.
    pub(super) fn ahead(&self) -> (Vec<Arc<Line>>, u64) {
        let state = self.lock();
        let at = state.ring.partition_point(|line| line.seq <= state.indexed);
        (state.ring.range(at..).cloned().collect(), state.indexed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, line: Arc<Line>) {
        self.last = line.seq;
        self.bytes += line.text.len();
        self.ring.push_back(line);
        while self.ring.len() > LINES || self.bytes > BYTES {
            let Some(old) = self.ring.pop_front() else { break };
            self.bytes -= old.text.len();
            self.left += 1;
            self.floor = old.seq;
        }
    }
}
