//! The one writer: takes lines, seals blocks, writes them with the journal's cursor in one transaction.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use rusqlite::{Connection, TransactionBehavior};
use tenement_wire::InstanceName;

use super::block::{LINES_MAX, TEXT_MAX};
use super::day::{DAY_US, Day, Extent};
use super::error::{Error, Result};
use super::seal::{Sealed, Sealer, instance_number};
use super::{Shared, files};
use crate::line::Line;

/// How far below a file's day a line's time must be for the clock to count as set back. Less is the usual
/// disorder around midnight.
const SET_BACK_US: u64 = 3_600_000_000;

/// Where to go on reading the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// After this entry; from the beginning if there is none.
    pub cursor: Option<String>,
    /// The `seq` of the next line.
    pub next_seq: u64,
}

/// Writes the index. There is one, and it belongs to the thread that indexes.
#[derive(Debug)]
pub struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) sealer: Sealer,
    pub(super) current: Option<Current>,
    resume: Resume,
    open: HashMap<Arc<InstanceName>, Open>,
    segments: VecDeque<Segment>,
    lines: usize,
    bytes: usize,
}

/// The file being written.
#[derive(Debug)]
pub(super) struct Current {
    pub day: Arc<Day>,
    pub conn: Connection,
    numbers: HashMap<Arc<InstanceName>, i64>,
}

impl Drop for Current {
    /// Folds the write-ahead log into the file, which gets no more lines for now. If that is not possible,
    /// SQLite does it when the file is next opened.
    fn drop(&mut self) {
        let result =
            self.conn.pragma_update_and_check(None, "wal_checkpoint", "TRUNCATE", |_| Ok(()));
        if let Err(error) = result {
            log::debug!(file:% = self.day.path.display(), reason:% = error; "a finished file of the log index keeps its write-ahead log for now");
        }
        self.day.close_readers();
    }
}

/// An instance's lines that are not sealed yet.
#[derive(Debug, Default)]
struct Open {
    lines: Vec<Arc<Line>>,
    bytes: usize,
}

/// Blocks that belong into one file.
#[derive(Debug)]
struct Segment {
    day: u64,
    first_seq: u64,
    next_seq: u64,
    sealed: Vec<Sealed>,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        current: Option<(Arc<Day>, Connection)>,
        resume: Resume,
    ) -> Result<Self> {
        let sealer = Sealer::new().map_err(Error::io("compress for", &shared.dir))?;
        shared.tail.reset(resume.next_seq);
        let current = current.map(|(day, conn)| Current { day, conn, numbers: HashMap::new() });
        let (open, segments) = (HashMap::new(), VecDeque::new());
        Ok(Self { shared, sealer, current, resume, open, segments, lines: 0, bytes: 0 })
    }

    /// Where the index stands: what is before is in it for good, what is after is to be read again.
    #[must_use]
    pub fn resume(&self) -> Resume {
        self.resume.clone()
    }

    /// How many lines wait for [`Self::commit`], and how many bytes of text.
    #[must_use]
    pub fn pending(&self) -> (usize, usize) {
        (self.lines, self.bytes)
    }

    /// Takes a line. It is found by searches from now on. Its `seq` is above all before it.
    ///
    /// # Errors
    /// Too much waits for [`Self::commit`]: the line was not taken.
    pub fn append(&mut self, line: impl Into<Arc<Line>>) -> Result<()> {
        let line = line.into();
        if self.bytes >= self.shared.settings.tail_bytes {
            return Err(Error::TailFull { bytes: self.bytes });
        }
        self.turn_to(&line)?;
        let open = match self.open.get_mut(&line.instance) {
            Some(open) => open,
            None => self.open.entry(Arc::clone(&line.instance)).or_default(),
        };
        open.bytes += line.text.len();
        open.lines.push(Arc::clone(&line));
        self.lines += 1;
        self.bytes += line.text.len();
        if let Some(segment) = self.segments.back_mut() {
            segment.next_seq = line.seq + 1;
            if open.lines.len() >= LINES_MAX || open.bytes >= TEXT_MAX {
                let sealed = self.sealer.seal(&line.instance, &open.lines);
                segment.sealed.push(sealed.map_err(Error::io("compress for", &self.shared.dir))?);
                open.lines.clear();
                open.bytes = 0;
            }
        }
        self.shared.tail.push(line);
        Ok(())
    }

    /// Sees to it that the last segment is the one for `line`.
    fn turn_to(&mut self, line: &Line) -> Result<()> {
        let day = line.time_us / DAY_US;
        let current = self.segments.back().map(|segment| segment.day);
        match current.or_else(|| self.current.as_ref().map(|current| current.day.day)) {
            Some(now) if day == now => {}
            Some(now) if day < now && line.time_us + SET_BACK_US >= now * DAY_US => {
                if current.is_none() {
                    self.begin(now, line.seq);
                }
                return Ok(());
            }
            _ => {
                self.seal_all()?;
                self.begin(day, line.seq);
                return Ok(());
            }
        }
        if current.is_none() {
            self.begin(day, line.seq);
        }
        Ok(())
    }

    fn begin(&mut self, day: u64, first_seq: u64) {
        self.segments.push_back(Segment {
            day,
            first_seq,
            next_seq: first_seq,
            sealed: Vec::new(),
        });
    }

    /// Seals what is open, into the last segment.
    fn seal_all(&mut self) -> Result<()> {
        let Some(segment) = self.segments.back_mut() else { return Ok(()) };
        for (instance, open) in &mut self.open {
            if !open.lines.is_empty() {
                let sealed = self.sealer.seal(instance, &open.lines);
                segment.sealed.push(sealed.map_err(Error::io("compress for", &self.shared.dir))?);
                open.lines.clear();
                open.bytes = 0;
            }
        }
        self.open.clear();
        segment.sealed.sort_unstable_by_key(|sealed| sealed.id);
        Ok(())
    }

    /// Writes everything that was appended, together with `cursor`: the journal entry of the last line.
    ///
    /// # Errors
    /// Nothing is lost: what could not be written still waits, and another call tries again. Only
    /// [`Error::StartAgain`] asks for more.
    pub fn commit(&mut self, cursor: &str) -> Result<()> {
        if let Some(Err(error)) = self.current.as_ref().map(|current| current.day.is_there()) {
            return Err(self.failed(error));
        }
        self.seal_all()?;
        while let Some(segment) = self.segments.pop_front() {
            let last = self.segments.is_empty();
            if let Err(error) = self.write(&segment, last.then_some(cursor)) {
                self.segments.push_front(segment);
                return Err(self.failed(error));
            }
            self.shared.tail.flushed(segment.next_seq);
            if last {
                self.resume =
                    Resume { cursor: Some(cursor.to_owned()), next_seq: segment.next_seq };
                (self.lines, self.bytes) = (0, 0);
                return Ok(());
            }
        }
        self.write_cursor(cursor).map_err(|error| self.failed(error))
    }

    /// Forgets an instance's lines that are not in a file yet.
    pub(super) fn drop_pending(&mut self, instance: &InstanceName) {
        self.shared.tail.purge(instance);
        self.open.remove(instance);
        for segment in &mut self.segments {
            segment.sealed.retain(|sealed| *sealed.instance != *instance);
        }
    }

    /// Writes a segment, and the cursor with the last one. If the agent dies between two segments, the lines
    /// of the first have no cursor yet, and [`files::open`] removes them.
    fn write(&mut self, segment: &Segment, cursor: Option<&str>) -> Result<()> {
        if self.current.as_ref().is_none_or(|current| current.day.day != segment.day) {
            self.current = Some(self.create(segment)?);
        }
        let Some(current) = &mut self.current else { return Ok(()) };
        let (Current { day, conn, numbers }, mut extent) = (current, None::<Extent>);
        let mut write = || {
            let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for sealed in &segment.sealed {
                let number = match numbers.get(&sealed.instance) {
                    Some(number) => *number,
                    None => instance_number(&transaction, &sealed.instance)?,
                };
                numbers.insert(Arc::clone(&sealed.instance), number);
                sealed.write(&transaction, number)?;
                let one =
                    extent.get_or_insert(Extent { min_time: u64::MAX, max_time: 0, next_seq: 0 });
                one.min_time = one.min_time.min(sealed.min_time);
                one.max_time = one.max_time.max(sealed.max_time);
            }
            if let Some(cursor) = cursor {
                files::write_cursor(&transaction, cursor, segment.next_seq)?;
            }
            transaction.commit()
        };
        let result = write().map_err(Error::sqlite(&day.path));
        if result.is_err() {
            // A number given within a transaction that was rolled back is nobody's.
            numbers.clear();
        }
        result?;
        let mut known = day.extent();
        if let Some(extent) = extent {
            known.min_time = known.min_time.min(extent.min_time);
            known.max_time = known.max_time.max(extent.max_time);
        }
        known.next_seq = segment.next_seq;
        day.set_extent(known);
        Ok(())
    }

    fn create(&self, segment: &Segment) -> Result<Current> {
        let extent = Extent { min_time: u64::MAX, max_time: 0, next_seq: segment.first_seq };
        self.shared.make_dir()?;
        let day = Arc::new(Day::new(&self.shared.dir, segment.day, segment.first_seq, extent));
        let conn = day.open_writer()?;
        self.shared.add(Arc::clone(&day));
        Ok(Current { day, conn, numbers: HashMap::new() })
    }

    fn write_cursor(&mut self, cursor: &str) -> Result<()> {
        let Some(current) = &self.current else { return Ok(()) };
        files::write_cursor(&current.conn, cursor, self.resume.next_seq)
            .map_err(Error::sqlite(&current.day.path))?;
        self.resume.cursor = Some(cursor.to_owned());
        Ok(())
    }

    /// What to make of an error: damage means the file goes, and everything begins at an older cursor.
    fn failed(&mut self, error: Error) -> Error {
        if !error.is_damage() {
            return error;
        }
        let Some(current) = self.current.take() else { return error };
        let path = current.day.path.clone();
        drop(current);
        match self.start_again(&path) {
            Ok(aside) => Error::StartAgain { path, aside },
            Err(error) => error,
        }
    }

    fn start_again(&mut self, path: &std::path::Path) -> Result<Option<std::path::PathBuf>> {
        self.shared.make_dir()?;
        for day in self.shared.days().iter().filter(|day| day.is_there().is_err()) {
            self.shared.forget(&day.path);
        }
        let aside = if path.exists() { Some(self.shared.set_aside(path)?) } else { None };
        let (current, resume) = files::newest_sound(&self.shared)?;
        self.open.clear();
        self.segments.clear();
        (self.lines, self.bytes) = (0, 0);
        self.shared.tail.reset(resume.next_seq);
        self.current = current.map(|(day, conn)| Current { day, conn, numbers: HashMap::new() });
        self.resume = resume;
        Ok(aside)
    }
}
