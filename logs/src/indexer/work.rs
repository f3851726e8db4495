//! The indexer's thread.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, mpsc};
use std::time::{Duration, Instant};

use super::ahead::Ahead;
use super::hub::Hub;
use super::place::Place;
use super::{REOPEN, Request, Shared, now_us};
use crate::index::{self, Index, Writer};
use crate::journal::cursor::Cursor;
use crate::journal::{self, Reader, Resumed, Scope};
use crate::line::{Level, Line, Source};
use crate::shape::group::Grouper;

/// Entries read before it looks at anything else.
const BATCH: usize = 512;
const BATCH_BYTES: usize = 4 << 20;
/// A commit is made after this long without a new line …
const QUIET: Duration = Duration::from_secs(1);
/// … or this long after the first line that waits, so that blocks of busy instances fill …
const OLDEST: Duration = Duration::from_secs(10);
/// … or when so many lines, or bytes of them, wait.
const LINES: usize = 100_000;
const BYTES: usize = 12 << 20;
/// Beyond this nothing more is read until a commit works: it is less than the index takes.
const FULL: usize = 24 << 20;
/// Waits at the journal's end: while somebody follows, and while nobody does. journald's own notification
/// comes up to 250 ms late, so a follower is better served by looking.
const FOLLOWED: Duration = Duration::from_millis(40);
const ALONE: Duration = Duration::from_millis(250);
/// While a trace is held.
const HOLD: Duration = Duration::from_millis(20);
/// Between two tries after something failed.
const RETRY: Duration = Duration::from_millis(500);

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error(transparent)]
    Journal(#[from] journal::Error),
    #[error(transparent)]
    Index(#[from] index::Error),
}

/// The thread's own things.
pub(super) struct Work {
    pub(super) scope: Scope,
    pub(super) writer: Writer,
    pub(super) index: Index,
    pub(super) hub: Hub,
    pub(super) shared: Arc<Shared>,
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) place: Place,
    pub(super) grouper: Grouper,
    /// When the first and the last of the lines that wait for a commit came.
    pub(super) waits: Option<(Instant, Instant)>,
    /// When the journal's end was seen.
    pub(super) at_end: Instant,
    pub(super) ahead: Option<Ahead>,
    /// A line that the index did not take yet.
    pub(super) held: Option<Arc<Line>>,
    /// Not before this is a failed commit tried again.
    pub(super) retry_at: Option<Instant>,
    /// Where the journal ended, before everything up to there was read.
    pub(super) anchor: Option<Cursor>,
    pub(super) anchored: Instant,
    /// When the entry that was read last was written.
    pub(super) newest_us: u64,
    pub(super) retained: Option<Instant>,
    pub(super) compacted: Instant,
    pub(super) compact_pause: Duration,
    pub(super) failing: bool,
    pub(super) lines: u64,
}

impl Work {
    pub(super) fn new(
        scope: Scope,
        writer: Writer,
        index: Index,
        hub: Hub,
        shared: Arc<Shared>,
        requests: mpsc::Receiver<Request>,
    ) -> Self {
        let mut work = Self {
            scope,
            writer,
            index,
            hub,
            shared,
            requests,
            place: Place::default(),
            grouper: Grouper::default(),
            waits: None,
            at_end: Instant::now(),
            ahead: None,
            held: None,
            retry_at: None,
            anchor: None,
            anchored: Instant::now(),
            newest_us: 0,
            retained: None,
            compacted: Instant::now(),
            compact_pause: Duration::from_secs(1),
            failing: false,
            lines: 0,
        };
        work.begin();
        work
    }

    /// Goes back to what is stored.
    fn begin(&mut self) {
        let resume = self.writer.resume();
        self.place = Place::stored(resume.cursor.as_deref(), resume.next_seq);
        self.grouper = Grouper::default();
        (self.waits, self.held, self.anchor) = (None, None, None);
        self.hub.begin(self.place.numbering.last);
    }

    /// Reads and writes until it is told to stop.
    pub(super) fn run(mut self) {
        while !self.stopped() {
            match self.read_on() {
                Ok(()) => {}
                Err(error) => {
                    if let Failed::Index(index::Error::StartAgain { .. }) = &error {
                        self.begin();
                    }
                    self.tell(&error);
                    self.answer_within(RETRY);
                }
            }
        }
        self.ahead = None;
        if let Err(error) = self.take_all().and_then(|()| self.write()) {
            log::warn!("lines that are not indexed yet will be read again: {error}");
        }
    }

    fn stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Relaxed)
    }

    /// Opens the journal at the place and reads until something fails, or for so long that its mapped
    /// files are many.
    fn read_on(&mut self) -> Result<(), Failed> {
        let mut reader = Reader::open(self.scope)?;
        self.resume(&mut reader)?;
        let mut read = 0;
        while !self.stopped() && read < REOPEN {
            self.answer_within(Duration::ZERO);
            if self.writer.pending().1 >= FULL {
                self.commit(true)?;
                if self.writer.pending().1 >= FULL {
                    self.answer_within(RETRY);
                    self.keep_up(false);
                    continue;
                }
            }
            let (count, end) = self.batch(&mut reader)?;
            read += count;
            self.append(end.then(now_us))?;
            self.commit(false)?;
            self.keep_up(end);
            self.keep_house(end)?;
            self.anchor(end)?;
            if reader.wait(self.pause(end))? {
                self.resume(&mut reader)?;
            }
        }
        Ok(())
    }

    /// Goes to the place, and marks what was lost before it got there.
    fn resume(&mut self, reader: &mut Reader) -> Result<(), Failed> {
        let Some(cursor) = self.place.cursor() else { return Ok(()) };
        let Resumed::Gone { lost, next } = reader.resume(&cursor)? else { return Ok(()) };
        if lost != Some(0) {
            self.mark_gap(lost, cursor.time_us());
        }
        if let Some(next) = next {
            self.place.cursor = Some(next.as_str().to_owned());
        }
        Ok(())
    }

    /// Whose lines are among those that were lost nobody knows: so everybody's log says that some may be.
    fn mark_gap(&mut self, lost: Option<u64>, time_us: u64) {
        let count = lost.map_or("an unknown number of".to_owned(), |lost| lost.to_string());
        log::warn!("the journal lost {count} entries before they were indexed");
        let text = format!(
            "the journal lost {count} entries here before they were indexed; lines of this instance may be among them"
        );
        let usage = self.index.usage().unwrap_or_default();
        for instance in usage.into_iter().map(|usage| Arc::new(usage.instance)) {
            let seq = self.place.numbering.beside();
            let (level, source, text) = (Level::Warn, Source::Marker, text.as_str().into());
            self.grouper.push(Line { seq, time_us, instance, level, source, text }, 0);
        }
    }

    /// Reads some entries. How many, and whether there are no more.
    fn batch(&mut self, reader: &mut Reader) -> Result<(usize, bool), Failed> {
        let mut bytes = 0;
        for count in 0..BATCH {
            if bytes > BATCH_BYTES {
                return Ok((count, false));
            }
            let Some(entry) = reader.read()? else { return Ok((count, true)) };
            let seq = self.place.numbering.of(&entry.cursor);
            self.newest_us = entry.cursor.time_us();
            self.place.cursor = Some(entry.cursor.into());
            let Some((mut line, stream)) = entry.line else { continue };
            if !self.place.is_purged(&line) {
                line.seq = seq;
                bytes += line.text.len();
                self.grouper.push(line, stream);
            }
        }
        Ok((BATCH, false))
    }

    /// Hands on the lines that are complete.
    fn append(&mut self, now_us: Option<u64>) -> Result<(), Failed> {
        let mut lines = Vec::new();
        let mut result = Ok(());
        while let Some(line) = self.held.take().or_else(|| self.grouper.pop(now_us).map(Arc::new)) {
            if let Err(error) = self.writer.append(line.clone()) {
                self.held = Some(line);
                result = Err(error.into());
                break;
            }
            lines.push(line);
        }
        self.publish(&lines);
        result
    }

    /// Hands on all lines, complete or not.
    pub(super) fn take_all(&mut self) -> Result<(), Failed> {
        let mut lines = Vec::new();
        while let Some(line) = self.held.take().or_else(|| self.grouper.take().map(Arc::new)) {
            if let Err(error) = self.writer.append(line.clone()) {
                self.held = Some(line);
                return Err(error.into());
            }
            lines.push(line);
        }
        self.publish(&lines);
        Ok(())
    }

    fn publish(&mut self, lines: &[Arc<Line>]) {
        if !lines.is_empty() {
            let now = Instant::now();
            self.waits = Some((self.waits.map_or(now, |(first, _)| first), now));
            self.lines += lines.len() as u64;
        }
        let all = self.grouper.is_empty() && self.held.is_none();
        let upto = if all { Some(self.place.numbering.last) } else { lines.last().map(|l| l.seq) };
        self.hub.publish(lines);
        if let Some(upto) = upto {
            self.hub.indexed(upto);
        }
    }

    /// Writes what waits, if it is time or `now`. A disk that is full is told and tried again: the lines stay
    /// in memory meanwhile, and in the journal.
    fn commit(&mut self, now: bool) -> Result<(), Failed> {
        let Some((first, last)) = self.waits else { return Ok(()) };
        let (lines, bytes) = self.writer.pending();
        let due = lines >= LINES
            || bytes >= BYTES
            || first.elapsed() >= OLDEST
            || last.elapsed() >= QUIET;
        if !(now || due) || self.retry_at.is_some_and(|at| Instant::now() < at) {
            return Ok(());
        }
        if !self.grouper.is_empty() {
            let overdue = now || bytes >= BYTES * 3 / 2 || first.elapsed() >= OLDEST * 2;
            if !overdue {
                return Ok(());
            }
            self.take_all()?;
        }
        match self.write() {
            Ok(()) => Ok(()),
            Err(error @ Failed::Index(index::Error::StartAgain { .. })) => Err(error),
            Err(error) => {
                self.tell(&error);
                self.retry_at = Some(Instant::now() + RETRY);
                Ok(())
            }
        }
    }

    pub(super) fn write(&mut self) -> Result<(), Failed> {
        self.place.forget_purges(self.newest_us);
        self.writer.commit(&self.place.text())?;
        (self.waits, self.retry_at) = (None, None);
        if self.failing {
            self.failing = false;
            log::info!("logs are indexed again");
            self.status(|status| status.error = None);
        }
        Ok(())
    }

    fn pause(&self, end: bool) -> Duration {
        match end {
            false => Duration::ZERO,
            true if !self.grouper.is_empty() => HOLD,
            true if self.hub.is_followed() => FOLLOWED,
            true => ALONE,
        }
    }

    fn tell(&mut self, error: &Failed) {
        let text = chain(error);
        if !self.failing {
            log::error!("logs can't be indexed, it is tried again: {text}");
        }
        self.failing = true;
        self.status(|status| status.error = Some(text));
    }

    pub(super) fn status(&self, change: impl FnOnce(&mut super::Status)) {
        change(&mut self.shared.status.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
