//! The lines that are not in a file yet. The writer appends, searches look.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tenement_wire::InstanceName;

use crate::line::Line;
use crate::search::Scope;

/// The unflushed lines, in the order of `seq`.
#[derive(Debug, Default)]
pub struct Tail {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    lines: VecDeque<Arc<Line>>,
    next_seq: u64,
}

/// What of the tail a search has to look at.
#[derive(Debug)]
pub struct Snapshot {
    /// The lines, in the order of `seq`.
    pub lines: Vec<Arc<Line>>,
    /// Everything below is in files.
    pub first_seq: u64,
}

impl Tail {
    /// Empty, with everything before `next_seq` in files.
    pub fn reset(&self, next_seq: u64) {
        *self.inner.lock().unwrap_or_else(PoisonError::into_inner) =
            Inner { lines: VecDeque::new(), next_seq };
    }

    /// One line more.
    pub fn push(&self, line: Arc<Line>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.next_seq = line.seq + 1;
        inner.lines.push_back(line);
    }

    /// Forgets the lines below `seq`, which are in files now.
    pub fn flushed(&self, seq: u64) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let count = inner.lines.partition_point(|line| line.seq < seq);
        let gone: Vec<_> = inner.lines.drain(..count).collect();
        drop(inner);
        drop(gone);
    }

    /// Forgets an instance's lines.
    pub fn purge(&self, instance: &InstanceName) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.lines.retain(|line| *line.instance != *instance);
    }

    /// The lines of `scope`. The lock is held for as long as it takes to count references up.
    pub fn snapshot(&self, scope: &Scope) -> Snapshot {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let first_seq = inner.lines.front().map_or(inner.next_seq, |line| line.seq);
        let lines = inner.lines.iter().filter(|line| in_scope(line, scope)).cloned().collect();
        Snapshot { lines, first_seq }
    }
}

/// Whether a line is of `scope`.
pub fn in_scope(line: &Line, scope: &Scope) -> bool {
    match scope {
        Scope::All => true,
        Scope::Process(process) => line.instance.process().as_str() == process,
        Scope::Instance(name) => *line.instance == *name,
    }
}
