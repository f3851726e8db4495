//! Reads the journal through libsystemd, and only what concerns our instances.
//!
//! Which entries those are is decided twice. Matches choose what is read at all: entries with `TENEMENT=1`,
//! which systemd adds to all that our units log (`LogExtraFields=`), and what systemd and journald say
//! themselves. That is one match whatever the number of instances, and it proves nothing: whoever may write
//! to the journal's socket can add such a field. Whose line it is follows from the fields that journald
//! alone sets (systemd.journal-fields(7), those with an underscore): see [`fields`].
//!
//! Fields are enumerated where they lie, without a map of them: a field may come twice, and one may be large.
//! It does not index, and knows no files but the journal's.

pub mod cursor;
mod fields;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use systemd::journal::{Journal, JournalWaitResult, OpenOptions};
use tenement_wire::InstanceName;

use crate::line::{Line, Source};
use crate::shape;
use cursor::Cursor;
use fields::{Fields, Owner};

/// Fields longer than this may be cut by libsystemd while it unpacks them. A little above what is kept, so
/// that a cut is seen.
const THRESHOLD: usize = shape::TEXT_MAX + 256;

/// Unit names whose instance is remembered. When there are more they are worked out again.
const NAMES_MAX: usize = 20_000;

/// Whose journal is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The system's instances.
    System,
    /// Those of a user's own systemd, by user id.
    User(u32),
}

/// What the journal answers. `Display` names what was done when it failed.
#[derive(Debug, thiserror::Error)]
#[error("the journal: {doing}")]
pub struct Error {
    doing: &'static str,
    #[source]
    source: systemd::Error,
}

type Result<T> = std::result::Result<T, Error>;

fn doing(doing: &'static str) -> impl Fn(systemd::Error) -> Error {
    move |source| Error { doing, source }
}

/// One entry that was read.
#[derive(Debug)]
pub struct Entry {
    /// Where it stands.
    pub cursor: Cursor,
    /// The line it makes, its `seq` not yet set, and the number of the stream it came by. None if it
    /// concerns no instance.
    pub line: Option<(Line, u64)>,
}

/// Where a reader stands after [`Reader::resume`].
#[derive(Debug, PartialEq, Eq)]
pub enum Resumed {
    /// Right behind the entry.
    Behind,
    /// The entry is gone from the journal.
    Gone {
        /// How many behind it went too; `None`: nobody can know.
        lost: Option<u64>,
        /// The entry of others that comes next. None if ours comes next, or nothing.
        next: Option<Cursor>,
    },
}

/// A reader. It belongs to the thread that made it.
pub struct Reader {
    journal: Journal,
    scope: Scope,
    names: HashMap<Box<str>, Option<Arc<InstanceName>>>,
    fields: Fields,
    /// The journal stands on an entry that was not given out yet.
    pending: bool,
}

impl Reader {
    /// Opens the journal at its beginning.
    ///
    /// # Errors
    /// As sd_journal_open(3).
    pub fn open(scope: Scope) -> Result<Self> {
        let mut journal = open(scope)?;
        match scope {
            Scope::System => {
                add(&mut journal, "TENEMENT", "1")?;
                or(&mut journal)?;
                add(&mut journal, "_PID", "1")?;
            }
            Scope::User(uid) => {
                add(&mut journal, "_SYSTEMD_UNIT", &format!("user@{uid}.service"))?;
            }
        }
        or(&mut journal)?;
        add(&mut journal, "_TRANSPORT", "driver")?;
        journal.seek_head().map_err(doing("going to its beginning"))?;
        let fields = Fields::default();
        Ok(Self { journal, scope, names: HashMap::new(), fields, pending: false })
    }

    /// Goes behind the entry of `cursor`.
    ///
    /// # Errors
    /// As sd_journal_seek_cursor(3).
    pub fn resume(&mut self, cursor: &Cursor) -> Result<Resumed> {
        self.journal.seek_cursor(cursor.as_str()).map_err(doing("going to a cursor"))?;
        self.pending = self.journal.next().map_err(doing("reading at a cursor"))? > 0;
        if self.pending && self.here()?.same_entry(cursor) {
            self.pending = false;
            return Ok(Resumed::Behind);
        }
        // Among all entries, not only ours: between the last that was read and the first that is
        // left there may be none of ours at all.
        let mut all = open(self.scope)?;
        all.seek_cursor(cursor.as_str()).map_err(doing("going to a cursor"))?;
        if all.next().map_err(doing("reading at a cursor"))? == 0 {
            return Ok(Resumed::Gone { lost: Some(0), next: None });
        }
        let first = here(&all)?;
        if first.same_entry(cursor) {
            return Ok(Resumed::Behind);
        }
        let lost = first.entries_since(cursor);
        let ours = self.pending && self.here()?.same_entry(&first);
        Ok(Resumed::Gone { lost, next: (!ours).then_some(first) })
    }

    /// Goes behind the last entry of ours.
    ///
    /// # Errors
    /// As sd_journal_seek_tail(3).
    pub fn to_end(&mut self) -> Result<Option<Cursor>> {
        self.journal.seek_tail().map_err(doing("going to its end"))?;
        self.pending = false;
        // Without a step back the next step forward is undefined on systemd 252.
        match self.journal.previous().map_err(doing("reading its end"))? {
            0 => Ok(None),
            _ => self.here().map(Some),
        }
    }

    /// The next entry; `None` at the end.
    ///
    /// # Errors
    /// As sd_journal_next(3). A damaged file ends there for libsystemd, a damaged entry is passed over
    /// by asking again.
    pub fn read(&mut self) -> Result<Option<Entry>> {
        let there = self.pending || self.journal.next().map_err(doing("going on"))? > 0;
        self.pending = false;
        if !there {
            return Ok(None);
        }
        let cursor = self.here()?;
        self.fields.clear();
        self.journal.restart_data();
        while let Some(field) = self.journal.enumerate_data().map_err(doing("reading an entry"))? {
            self.fields.take(field.data());
        }
        let line = self.line(cursor.time_us());
        Ok(Some(Entry { cursor, line }))
    }

    /// Waits until the journal changes, at most this long. Whether files of it went away meanwhile.
    ///
    /// # Errors
    /// As sd_journal_wait(3).
    pub fn wait(&mut self, bound: Duration) -> Result<bool> {
        let change = self.journal.wait(Some(bound)).map_err(doing("waiting"))?;
        Ok(matches!(change, JournalWaitResult::Invalidate))
    }

    fn here(&self) -> Result<Cursor> {
        here(&self.journal)
    }

    fn line(&mut self, time_us: u64) -> Option<(Line, u64)> {
        let owner = self.fields.owner(self.scope)?;
        let instance = match self.names.get(owner.unit()) {
            Some(known) => known.clone()?,
            None => {
                let name = InstanceName::from_unit(owner.unit()).or_else(|| job(owner.unit()));
                let name = name.filter(|(_, kind)| *kind == "service" || owner.speaks_of_socket());
                let name = name.map(|(name, _)| Arc::new(name));
                if self.names.len() >= NAMES_MAX {
                    self.names.clear();
                }
                self.names.insert(owner.unit().into(), name.clone());
                name?
            }
        };
        let (source, text) = match owner {
            Owner::Instance(_) => (Source::Instance, shape::text(&self.fields.message)),
            Owner::Systemd(_) => (Source::Systemd, shape::text(&self.fields.message)),
            Owner::Dropped(_, count) => (Source::Marker, dropped(count)),
        };
        let level = match source {
            Source::Instance => shape::level(self.fields.priority, &text),
            Source::Systemd => crate::line::Level::from_priority(self.fields.priority.unwrap_or(6)),
            Source::Marker => crate::line::Level::Warn,
        };
        let line = Line { seq: 0, time_us, instance, level, source, text };
        Some((line, self.fields.stream()))
    }
}

/// Whose scheduled job a unit is. What it prints is its instance's; what a command of `ten run` prints is not.
fn job(unit: &str) -> Option<(InstanceName, &str)> {
    let (name, tag, kind) = InstanceName::from_task_unit(unit)?;
    (kind == "service" && tag.job().is_some()).then_some((name, kind))
}

/// The last entry of all, of whomever it is.
///
/// # Errors
/// As sd_journal_seek_tail(3).
pub fn end(scope: Scope) -> Result<Option<Cursor>> {
    let mut journal = open(scope)?;
    journal.seek_tail().map_err(doing("going to its end"))?;
    match journal.previous().map_err(doing("reading its end"))? {
        0 => Ok(None),
        _ => here(&journal).map(Some),
    }
}

fn dropped(count: &str) -> Box<str> {
    let text = "lines are missing here: the instance printed faster than journald takes \
                (RateLimitBurst= in journald.conf)";
    format!("{count} {text}").into()
}

fn open(scope: Scope) -> Result<Journal> {
    // All files: the entries of a user other than root's and the system's may lie in a file of that user.
    let _ = scope;
    let mut options = OpenOptions::default();
    let mut journal = options.local_only(true).open().map_err(doing("opening it"))?;
    journal.set_data_threshold(THRESHOLD).map_err(doing("limiting the size of fields"))?;
    Ok(journal)
}

fn add(journal: &mut Journal, field: &str, value: &str) -> Result<()> {
    journal.match_add(field, value).map(drop).map_err(doing("choosing entries"))
}

fn or(journal: &mut Journal) -> Result<()> {
    journal.match_or().map(drop).map_err(doing("choosing entries"))
}

fn here(journal: &Journal) -> Result<Cursor> {
    let text = journal.cursor().map_err(doing("asking for a cursor"))?;
    Ok(Cursor::new(text))
}
