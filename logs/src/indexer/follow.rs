//! A stream of lines for one who follows: from the ring, and from the index where the ring no longer has them.

use std::collections::VecDeque;
use std::time::Duration;

use tenement_wire::InstanceName;
use tokio::sync::watch;

use super::hub::{Behind, Hub, View};
use crate::index::Index;
use crate::line::{Level, Line};
use crate::query::Expr;
use crate::search::{Scope, Search};

/// Lines looked at in one go.
const CHUNK: usize = 256;
/// Lines of the index at once, for one who resumes.
const PAGE: usize = 256;
/// How many lines a slow reader gets from the index before it is told that it missed some.
const CATCH_UP: usize = 1000;
/// How long one look into the index may take.
const SEARCH_TIME: Duration = Duration::from_secs(5);

/// Which lines are followed.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Whose.
    pub scope: Scope,
    /// At least this bad.
    pub level: Option<Level>,
    /// What they hold.
    pub query: Expr,
}

/// What a follower is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A line that is wanted.
    Line(Line),
    /// Lines were left out, wanted or not, because the reader was too slow, or because the index is
    /// so far behind that new lines come first.
    Missed {
        /// How many, at most.
        count: u64,
        /// The first `seq` that is looked at again.
        next: u64,
    },
}

/// A follower.
#[derive(Debug)]
pub struct Follower {
    hub: Hub,
    index: Index,
    wanted: Wanted,
    changes: watch::Receiver<()>,
    /// Everything up to this was looked at.
    seen: u64,
    /// How many lines had been published then.
    count: u64,
    /// It resumes: it gets everything, however long ago, before what is new.
    resumes: bool,
    ready: VecDeque<Event>,
}

impl Wanted {
    /// Whether a line is wanted.
    #[must_use]
    pub fn takes(&self, line: &Line) -> bool {
        let InScope(scope) = InScope::of(&self.scope, &line.instance);
        scope && self.level.is_none_or(|level| line.level <= level) && self.query.matches(line)
    }
}

struct InScope(bool);

impl InScope {
    fn of(scope: &Scope, name: &InstanceName) -> Self {
        Self(match scope {
            Scope::All => true,
            Scope::Process(process) => name.process().as_str() == process,
            Scope::Instance(instance) => name == instance,
        })
    }
}

impl Follower {
    pub(super) fn new(hub: Hub, index: Index, wanted: Wanted, after: Option<u64>) -> Self {
        let changes = hub.changes();
        let (last, count) = hub.last();
        // A `seq` that was never given comes from before the index was deleted.
        let seen = after.map_or(last, |after| after.min(last));
        let (resumes, ready) = (after.is_some(), VecDeque::new());
        Self { hub, index, wanted, changes, seen, count, resumes, ready }
    }

    /// What comes next; `None` when there will be no more. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn next(&mut self) -> Result<Option<Event>, crate::index::Error> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            self.changes.mark_unchanged();
            match self.hub.after(self.seen, CHUNK) {
                View::Lines(lines, first) => {
                    self.resumes = false;
                    self.count = first + lines.len() as u64;
                    self.seen = lines.last().map_or(self.seen, |line| line.seq);
                    let lines = lines.iter().filter(|line| self.wanted.takes(line));
                    self.ready.extend(lines.map(|line| Event::Line(Line::clone(line))));
                    // What nobody wants must not keep the others of this thread waiting.
                    tokio::task::yield_now().await;
                }
                View::Behind(behind) if self.resumes => self.replay(behind).await?,
                View::Behind(behind) => self.catch_up(behind).await?,
                View::Closed => return Ok(None),
                View::Nothing => {
                    self.resumes = false;
                    if self.changes.changed().await.is_err() {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// One page of what the index has.
    async fn replay(&mut self, behind: Behind) -> Result<(), crate::index::Error> {
        let upto = behind.floor.min(behind.indexed);
        if self.seen < upto {
            let (lines, next) = self.search(upto, PAGE).await?;
            self.ready.extend(lines.into_iter().map(Event::Line));
            self.seen = next.unwrap_or(upto).max(self.seen + 1);
        } else if self.seen < behind.floor {
            // The rest is in the journal and not in the index yet.
            let _ = self.changes.changed().await;
        }
        Ok(())
    }

    /// For one who was up to date and fell behind: a little from the index, else told.
    async fn catch_up(&mut self, behind: Behind) -> Result<(), crate::index::Error> {
        if behind.indexed >= behind.floor {
            let (lines, next) = self.search(behind.floor, CATCH_UP).await?;
            if next.is_none() {
                self.ready.extend(lines.into_iter().map(Event::Line));
                (self.seen, self.count) = (behind.floor, behind.left);
                return Ok(());
            }
        }
        let count = behind.left.saturating_sub(self.count).max(1);
        self.ready.push_back(Event::Missed { count, next: behind.floor + 1 });
        (self.seen, self.count) = (behind.floor, behind.left);
        Ok(())
    }

    /// The oldest lines after what was seen, up to `upto`, and where to go on if those are not all.
    async fn search(
        &self,
        upto: u64,
        limit: usize,
    ) -> Result<(Vec<Line>, Option<u64>), crate::index::Error> {
        let search = Search {
            scope: self.wanted.scope.clone(),
            since_us: None,
            until_us: None,
            level: self.wanted.level,
            query: self.wanted.query.clone(),
            before: Some(upto + 1),
            after: Some(self.seen),
            oldest_first: true,
            limit,
            time: SEARCH_TIME,
        };
        let index = self.index.clone();
        let found = tokio::task::spawn_blocking(move || index.search(&search)).await;
        match found {
            Ok(found) => found.map(|found| (found.lines, found.next)),
            // The runtime ends, and the stream with it.
            Err(_) => Ok((Vec::new(), None)),
        }
    }
}
