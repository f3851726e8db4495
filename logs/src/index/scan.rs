//! A search: the tail and the files in order, block by block, until there is enough.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use tenement_wire::ProcessName;

use super::Shared;
use super::day::Day;
use super::error::{Error, Result};
use super::need::{self, Need};
use super::sieve::Sieve;
use super::unpacker::{Names, Unpacker, number_of};
use crate::line::Line;
use crate::query::Expr;
use crate::search::{Counts, Found, Scope, Search, Stopped};

/// Searches.
pub fn search(shared: &Shared, search: &Search) -> Result<Found> {
    if matches!(&search.scope, Scope::Process(process) if ProcessName::new(process).is_err()) {
        // No process is called so, and what is no name must not come near a query.
        return Ok(Found { lines: Vec::new(), next: None, stopped: None });
    }
    let mut hunt = Hunt::new(shared, search);
    let tail = shared.tail.snapshot(&search.scope);
    let whole = hunt.below;
    let next = if search.oldest_first {
        hunt.below = whole.min(tail.first_seq);
        let next = hunt.files(shared)?;
        hunt.below = whole;
        if next.is_none() {
            hunt.tail(&tail.lines);
        }
        next
    } else {
        hunt.tail(&tail.lines);
        // What is committed while this search runs was in the tail when it began.
        hunt.below = whole.min(tail.first_seq);
        hunt.files(shared)?
    };
    Ok(hunt.found(next))
}

/// Counts the lines that a search without a limit would find.
pub fn count(shared: &Shared, search: &Search, counts: Counts) -> Result<Counts> {
    if matches!(&search.scope, Scope::Process(process) if ProcessName::new(process).is_err()) {
        return Ok(counts);
    }
    let mut hunt = Hunt::new(shared, search);
    let tail = shared.tail.snapshot(&search.scope);
    hunt.counts = Some(counts);
    hunt.tail(&tail.lines);
    hunt.below = hunt.below.min(tail.first_seq);
    hunt.files(shared)?;
    let mut counts = hunt.counts.take().expect("it was put there");
    counts.stopped = hunt.stopped;
    Ok(counts)
}

/// A block as the `blocks` table describes it.
#[derive(Debug, Clone, Copy)]
struct Head {
    id: u64,
    instance: i64,
    min_seq: u64,
}

/// A search under way.
struct Hunt<'a> {
    search: &'a Search,
    fts: Option<String>,
    levels: u8,
    deadline: Instant,
    /// Lines are above this.
    above: u64,
    /// Lines are below this.
    below: u64,
    /// The best of the lines that had no room: it and all beyond it are for the next page.
    cut: Option<u64>,
    /// What was found, by `seq`: never more than the limit, and the best of all.
    lines: BTreeMap<u64, Line>,
    /// Set if lines are counted and not kept.
    counts: Option<Counts>,
    bytes: usize,
    bytes_max: usize,
    stopped: Option<Stopped>,
    /// Whether there may be lines beyond those found.
    more: bool,
    sieve: Arc<Sieve>,
    unpacker: Unpacker,
}

impl<'a> Hunt<'a> {
    fn new(shared: &Shared, search: &'a Search) -> Self {
        let wanted = search.level.map_or(u8::MAX, need::at_least);
        Self {
            search,
            fts: Need::of(&search.query).within(&search.scope).to_fts(),
            levels: wanted & need::levels(&search.query),
            deadline: Instant::now() + search.time,
            above: search.after.unwrap_or(0),
            below: search.before.unwrap_or(i64::MAX as u64),
            cut: None,
            lines: BTreeMap::new(),
            counts: None,
            bytes: 0,
            bytes_max: shared.settings.found_bytes,
            stopped: None,
            more: false,
            sieve: Arc::new(Sieve::of(&search.query)),
            unpacker: Unpacker::default(),
        }
    }

    /// Whether `seq`, and all that is further in the direction of the search, is for the next page.
    fn beyond(&self, seq: u64) -> bool {
        let further = |edge: u64| if self.search.oldest_first { seq >= edge } else { seq <= edge };
        let full = self.lines.len() >= self.search.limit;
        let worst = if self.search.oldest_first {
            self.lines.last_key_value()
        } else {
            self.lines.first_key_value()
        };
        self.cut.is_some_and(further) || (full && worst.is_none_or(|(worst, _)| further(*worst)))
    }

    fn wants(&self, seq: u64, time: u64, level: crate::line::Level) -> bool {
        seq > self.above
            && seq < self.below
            && self.search.since_us.is_none_or(|since| time >= since)
            && self.search.until_us.is_none_or(|until| time < until)
            && self.levels & (1 << level.priority()) != 0
            && !self
                .cut
                .is_some_and(|cut| if self.search.oldest_first { seq >= cut } else { seq <= cut })
    }

    /// Keeps a line, and drops the worst if there are too many.
    fn keep(&mut self, line: Line) {
        if let Some(counts) = &mut self.counts {
            counts.add(line.time_us, line.level);
            return;
        }
        self.bytes += line.text.len() + size_of::<Line>();
        self.lines.insert(line.seq, line);
        while self.lines.len() > self.search.limit
            || (self.bytes > self.bytes_max && self.lines.len() > 1)
        {
            if self.lines.len() <= self.search.limit {
                self.stopped = Some(Stopped::Memory);
            }
            let dropped = if self.search.oldest_first {
                self.lines.pop_last()
            } else {
                self.lines.pop_first()
            };
            let Some((seq, line)) = dropped else { return };
            self.bytes -= line.text.len() + size_of::<Line>();
            self.cut = Some(seq);
            self.more = true;
        }
    }

    fn tail(&mut self, lines: &[Arc<Line>]) {
        for line in lines {
            if self.wants(line.seq, line.time_us, line.level) && self.search.query.matches(line) {
                self.keep(Line::clone(line));
            }
        }
    }

    /// Goes through the files. Some: its time was over, and asking with this goes on.
    fn files(&mut self, shared: &Shared) -> Result<Option<u64>> {
        let days = shared.days();
        let mut order: Vec<_> = days.iter().collect();
        if !self.search.oldest_first {
            order.reverse();
        }
        for day in order {
            let extent = day.extent();
            let in_time = self.search.since_us.is_none_or(|since| extent.max_time >= since)
                && self.search.until_us.is_none_or(|until| extent.min_time < until);
            if day.first_seq >= self.below || extent.next_seq <= self.above + 1 || !in_time {
                continue;
            }
            if self.beyond(if self.search.oldest_first {
                day.first_seq
            } else {
                extent.next_seq - 1
            }) {
                self.more = true;
                break;
            }
            if day.is_there().is_err() {
                shared.forget(&day.path);
                continue;
            }
            match day.read(|conn| self.file(day, conn)) {
                Ok(None) => {}
                Ok(next) => return Ok(next),
                Err(error) if error.is_damage() => {
                    log::error!(file:% = day.path.display(), reason:% = error; "a file of the log index is damaged: a search left out the rest of it");
                    day.set_damaged();
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Goes through one file.
    fn file(&mut self, day: &Day, conn: &Connection) -> Result<Option<u64>> {
        let snapshot = conn.unchecked_transaction().map_err(Error::sqlite(&day.path))?;
        let conn = &*snapshot;
        let sqlite = Error::sqlite(&day.path);
        let mut names = Names::default();
        let Some((sql, values)) = self.heads(conn).map_err(sqlite)? else { return Ok(None) };
        let sqlite = |error| Error::sqlite(&day.path)(error);
        let mut statement = conn.prepare_cached(&sql).map_err(sqlite)?;
        let rows = statement.query_map(params_from_iter(values), |row| {
            let id = row.get::<_, i64>(0)?.cast_unsigned();
            Ok(Head { id, instance: row.get(1)?, min_seq: row.get::<_, i64>(2)?.cast_unsigned() })
        });
        let rows = rows.map_err(sqlite)?;
        if self.search.oldest_first {
            let mut heads = rows.collect::<rusqlite::Result<Vec<_>>>().map_err(sqlite)?;
            heads.sort_unstable_by_key(|head| head.min_seq);
            return self.blocks(day, conn, heads.into_iter().map(Ok), &mut names);
        }
        self.blocks(day, conn, rows, &mut names)
    }

    fn blocks(
        &mut self,
        day: &Day,
        conn: &Connection,
        heads: impl Iterator<Item = rusqlite::Result<Head>>,
        names: &mut Names,
    ) -> Result<Option<u64>> {
        for head in heads {
            let head = head.map_err(Error::sqlite(&day.path))?;
            let edge = if self.search.oldest_first { head.min_seq } else { head.id };
            if self.beyond(edge) {
                self.more = true;
                return Ok(None);
            }
            if Instant::now() >= self.deadline {
                // Everything up to here was looked at. It must be further than where the search began.
                let next = if self.search.oldest_first { edge.saturating_sub(1) } else { edge + 1 };
                let further = match self.search.oldest_first {
                    true => next > self.search.after.unwrap_or(0),
                    false => self.search.before.is_none_or(|before| next < before),
                };
                if further {
                    self.stopped = Some(Stopped::Time);
                    return Ok(Some(next));
                }
            }
            if head.min_seq >= self.below || head.id <= self.above {
                continue;
            }
            self.one_block(day, conn, head, names)?;
        }
        Ok(None)
    }

    fn one_block(
        &mut self,
        day: &Day,
        conn: &Connection,
        head: Head,
        names: &mut Names,
    ) -> Result<()> {
        let name = names.get(day, conn, head.instance)?;
        let mut unpacker = std::mem::take(&mut self.unpacker);
        let block = unpacker.load(day, conn, head.id);
        let result = block.map(|block| {
            let sieve = Arc::clone(&self.sieve);
            sieve.pass(block, |entry| {
                if self.wants(entry.seq, entry.time_us, entry.level) {
                    if let (Some(counts), Expr::All) = (&mut self.counts, &self.search.query) {
                        return counts.add(entry.time_us, entry.level);
                    }
                    let line = block.line(entry, &name);
                    if self.search.query.matches(&line) {
                        self.keep(line);
                    }
                }
            });
        });
        self.unpacker = unpacker;
        result
    }

    /// The statement that gives the blocks to look at, in order. None if this file has none.
    fn heads(&self, conn: &Connection) -> rusqlite::Result<Option<(String, Vec<Value>)>> {
        let mut values: Vec<Value> = Vec::new();
        let mut bind = |value: Value| {
            values.push(value);
            format!("?{}", values.len())
        };
        let number = |number: u64| Value::Integer(i64::try_from(number).unwrap_or(i64::MAX));
        let mut sql = String::from("SELECT b.id, b.instance, b.min_seq FROM ");
        let key = match &self.fts {
            Some(fts) => {
                let fts = bind(Value::Text(fts.clone()));
                sql +=
                    &format!("words JOIN blocks b ON b.id = words.rowid WHERE words MATCH {fts}");
                "words.rowid"
            }
            None => {
                sql += "blocks b WHERE 1";
                "b.id"
            }
        };
        if let Scope::Instance(name) = &self.search.scope {
            let Some(instance) = number_of(conn, name)? else { return Ok(None) };
            if self.fts.is_none() {
                sql += &format!(" AND b.instance = {}", bind(Value::Integer(instance)));
            }
            // An instance's blocks do not overlap: the first that ends at `below` or later is the last of use.
            let mut last =
                conn.prepare_cached("SELECT min(id) FROM blocks WHERE instance = ?1 AND id >= ?2")?;
            let below = self.below.cast_signed();
            if let Some(last) =
                last.query_row((instance, below), |row| row.get::<_, Option<i64>>(0))?
            {
                sql += &format!(" AND {key} <= {}", bind(Value::Integer(last)));
            }
        }
        if self.above > 0 {
            sql += &format!(" AND {key} > {}", bind(number(self.above)));
        }
        sql += &format!(" AND b.min_seq < {}", bind(number(self.below)));
        if let Some(since) = self.search.since_us {
            sql += &format!(" AND b.max_time >= {}", bind(number(since)));
        }
        if let Some(until) = self.search.until_us {
            sql += &format!(" AND b.min_time < {}", bind(number(until)));
        }
        if self.levels != u8::MAX {
            sql += &format!(" AND b.levels & {} != 0", bind(number(self.levels.into())));
        }
        sql +=
            &format!(" ORDER BY {key} {}", if self.search.oldest_first { "ASC" } else { "DESC" });
        Ok(Some((sql, values)))
    }

    fn found(mut self, next: Option<u64>) -> Found {
        if let Some(next) = next {
            // Beyond the place where it stopped the lines are not complete.
            let oldest_first = self.search.oldest_first;
            self.lines.retain(|seq, _| if oldest_first { *seq <= next } else { *seq >= next });
        }
        let lines: Vec<Line> = match self.search.oldest_first {
            true => self.lines.into_values().collect(),
            false => self.lines.into_values().rev().collect(),
        };
        let next = next.or_else(|| lines.last().filter(|_| self.more).map(|line| line.seq));
        Found { lines, next, stopped: self.stopped }
    }
}
