//! The virtual table behind `SELECT … FROM logs`: it turns comparisons into a [`Search`], and pages of what
//! is found into rows.

use std::borrow::Cow;
use std::ffi::{CStr, c_int};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Instant;

use rusqlite::types::ValueRef;
use rusqlite::vtab::{
    Context, Filters, IndexConstraintOp as Op, IndexInfo, Module, VTab, VTabConnection, VTabCursor,
};
use rusqlite::{Connection, Error, Result, ffi};
use tenement_wire::{InstanceId, InstanceName, ProcessName};

use super::{Shared, scan};
use crate::line::{Level, Line};
use crate::query::{Compare, Expr};
use crate::search::{Scope, Search, Stopped};

const NAME: &CStr = c"logs";
const SCHEMA: &CStr =
    c"CREATE TABLE logs (timestamp TEXT, level TEXT, process TEXT, instance_id TEXT, message TEXT)";
/// Lines of the first page; those after it are larger, as then someone means to read all.
const PAGE: usize = 1000;
const PAGE_MAX: usize = 64_000;

/// What the table reads from, and until when.
type Aux = (Arc<Shared>, Instant);

/// Makes the table `logs` known to `conn`.
pub fn register(conn: &Connection, shared: Arc<Shared>, deadline: Instant) -> Result<()> {
    const MODULE: Module<'static, Table> = Module::eponymous_only_module();
    conn.create_module(NAME, &MODULE, Some((shared, deadline)))
}

#[repr(C)]
struct Table {
    /// SQLite's own part, which must come first.
    base: ffi::sqlite3_vtab,
    shared: Arc<Shared>,
    deadline: Instant,
}

/// The comparisons that are understood, a letter each, in the order of their values.
fn letter(column: c_int, operator: Op) -> Option<char> {
    match (column, operator) {
        (0, Op::SQLITE_INDEX_CONSTRAINT_EQ) => Some('='),
        (0, Op::SQLITE_INDEX_CONSTRAINT_GE | Op::SQLITE_INDEX_CONSTRAINT_GT) => Some('>'),
        (0, Op::SQLITE_INDEX_CONSTRAINT_LE | Op::SQLITE_INDEX_CONSTRAINT_LT) => Some('<'),
        (1, Op::SQLITE_INDEX_CONSTRAINT_EQ) => Some('l'),
        (2, Op::SQLITE_INDEX_CONSTRAINT_EQ) => Some('p'),
        (3, Op::SQLITE_INDEX_CONSTRAINT_EQ) => Some('i'),
        _ => None,
    }
}

#[expect(
    unsafe_code,
    reason = "rusqlite asks the implementer to vouch for `repr(C)` with SQLite's part first"
)]
unsafe impl<'vtab> VTab<'vtab> for Table {
    type Aux = Aux;
    type Cursor = Cursor<'vtab>;

    fn connect(
        _db: &mut VTabConnection,
        aux: Option<&Aux>,
        _module_name: &[u8],
        _database_name: &[u8],
        _table_name: &[u8],
        _args: &[&[u8]],
    ) -> Result<(Cow<'static, CStr>, Self)> {
        let (shared, deadline) =
            aux.cloned().ok_or_else(|| Error::ModuleError("no index".to_owned()))?;
        Ok((Cow::Borrowed(SCHEMA), Self { base: ffi::sqlite3_vtab::default(), shared, deadline }))
    }

    fn best_index(&self, info: &mut IndexInfo) -> Result<bool> {
        let known: Vec<_> = info
            .constraints()
            .enumerate()
            .filter(|(_, constraint)| constraint.is_usable())
            .filter_map(|(at, constraint)| {
                Some((at, letter(constraint.column(), constraint.operator())?))
            })
            .collect();
        let mut letters = String::new();
        let mut cost = 1e9;
        for (argument, (at, letter)) in known.into_iter().enumerate() {
            // SQLite compares once more itself, so that what is narrowed down here need not be exact.
            info.constraint_usage(at).set_argv_index(argument as c_int + 1);
            letters.push(letter);
            cost /= 10.0;
        }
        info.set_idx_str(&letters);
        info.set_estimated_cost(cost);
        let newest_first = info.num_of_order_by() == 1
            && info.order_bys().all(|order| order.column() == -1 && order.is_order_by_desc());
        info.set_order_by_consumed(newest_first);
        Ok(true)
    }

    fn open(&'vtab mut self) -> Result<Cursor<'vtab>> {
        Ok(Cursor {
            base: ffi::sqlite3_vtab_cursor::default(),
            shared: Arc::clone(&self.shared),
            deadline: self.deadline,
            search: None,
            page: Vec::new().into_iter(),
            line: None,
            table: PhantomData,
        })
    }
}

#[repr(C)]
struct Cursor<'vtab> {
    /// SQLite's own part, which must come first.
    base: ffi::sqlite3_vtab_cursor,
    shared: Arc<Shared>,
    deadline: Instant,
    /// The next page, if there is one.
    search: Option<Search>,
    page: std::vec::IntoIter<Line>,
    line: Option<Line>,
    table: PhantomData<&'vtab Table>,
}

impl Cursor<'_> {
    /// Goes to the next line, and reads the next page when this one is over.
    fn advance(&mut self) -> Result<()> {
        loop {
            self.line = self.page.next();
            if self.line.is_some() {
                return Ok(());
            }
            let Some(search) = &mut self.search else { return Ok(()) };
            search.time = self.deadline.saturating_duration_since(Instant::now());
            let found = scan::search(&self.shared, search)
                .map_err(|error| Error::ModuleError(error.to_string()))?;
            if found.stopped == Some(Stopped::Time) {
                let over = ffi::Error::new(ffi::SQLITE_INTERRUPT);
                return Err(Error::SqliteFailure(over, Some("the query took too long".to_owned())));
            }
            self.page = found.lines.into_iter();
            search.limit = (search.limit * 8).min(PAGE_MAX);
            search.before = found.next;
            if found.next.is_none() {
                self.search = None;
            }
        }
    }
}

#[expect(
    unsafe_code,
    reason = "rusqlite asks the implementer to vouch for `repr(C)` with SQLite's part first"
)]
unsafe impl VTabCursor for Cursor<'_> {
    fn filter(&mut self, _idx_num: c_int, idx_str: Option<&str>, args: &Filters<'_>) -> Result<()> {
        let values = args.iter().map(|value| match value {
            ValueRef::Text(text) => std::str::from_utf8(text).ok().map(str::to_owned),
            _ => None,
        });
        let conditions: Vec<_> = idx_str.unwrap_or_default().chars().zip(values).collect();
        self.page = Vec::new().into_iter();
        self.search = Some(narrowed(&conditions));
        self.advance()
    }

    fn next(&mut self) -> Result<()> {
        self.advance()
    }

    fn eof(&self) -> bool {
        self.line.is_none()
    }

    fn column(&self, context: &mut Context, column: c_int) -> Result<()> {
        let Some(line) = &self.line else { return Ok(()) };
        match column {
            0 => context.set_result(&timestamp(line.time_us)),
            1 => context.set_result(&line.level.as_str()),
            2 => context.set_result(&line.instance.process().as_str()),
            3 => context.set_result(&line.instance.id().as_str()),
            _ => context.set_result(&&*line.text),
        }
    }

    fn rowid(&self) -> Result<i64> {
        Ok(self.line.as_ref().map_or(0, |line| line.seq.cast_signed()))
    }
}

/// The search for what the comparisons leave. A value that isn't understood narrows nothing down.
fn narrowed(conditions: &[(char, Option<String>)]) -> Search {
    let value = |wanted: char| {
        let mut known = conditions.iter().filter(|(letter, _)| *letter == wanted);
        known.find_map(|(_, value)| value.as_deref())
    };
    let since = [value('>'), value('=')].into_iter().flatten().filter_map(parse_timestamp).max();
    let until = [value('<'), value('=')].into_iter().flatten().filter_map(parse_timestamp).min();
    let process = value('p').and_then(|process| ProcessName::new(process).ok());
    let id = value('i').and_then(|id| InstanceId::new(id).ok());
    let level =
        value('l').and_then(|level| Level::ALL.into_iter().find(|known| known.as_str() == level));
    Search {
        scope: match (process, id) {
            (Some(process), Some(id)) => Scope::Instance(InstanceName::new(process, id)),
            (Some(process), None) => Scope::Process(process.as_str().to_owned()),
            _ => Scope::All,
        },
        since_us: since,
        until_us: until.map(|until| until + 1),
        level: None,
        query: level.map_or(Expr::All, |level| Expr::Level(Compare::Is, level)),
        before: None,
        after: None,
        oldest_first: false,
        limit: PAGE,
        time: std::time::Duration::ZERO,
    }
}

/// `2026-11-21 13:20:02.123456`, UTC, always as long.
fn timestamp(time_us: u64) -> String {
    let time =
        i64::try_from(time_us).ok().and_then(|time| jiff::Timestamp::from_microsecond(time).ok());
    let time = time.unwrap_or(jiff::Timestamp::MAX).to_zoned(jiff::tz::TimeZone::UTC);
    time.strftime("%Y-%m-%d %H:%M:%S.%6f").to_string()
}

/// The time of a timestamp or of its beginning (a date, say), the rest being zeros. As text a timestamp
/// that is not below the beginning is not below this time either, and the other way round.
fn parse_timestamp(text: &str) -> Option<u64> {
    const REST: &str = "0000-01-01 00:00:00.000000";
    if text.len() > REST.len() || !text.is_ascii() || text.len() < 10 {
        return None;
    }
    let whole = format!("{text}{}", &REST[text.len()..]);
    let time = jiff::civil::DateTime::strptime("%Y-%m-%d %H:%M:%S.%f", &whole).ok()?;
    if time.strftime("%Y-%m-%d %H:%M:%S.%6f").to_string() != whole {
        return None;
    }
    let time = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    u64::try_from(time.as_microsecond()).ok()
}
