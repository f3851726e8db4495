//! How long lines are kept, and how much of them: retention, removal of an instance, and what there is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use tenement_wire::InstanceName;

use super::day::{DAY_US, Day, date};
use super::error::{Error, Result};
use super::maintain::delete;
use super::unpacker::number_of;
use super::{Index, Shared, Writer, files};

/// Blocks deleted in one transaction.
const BATCH: usize = 2000;

/// How much is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keep {
    /// Lines older than this go.
    pub age: Option<Duration>,
    /// The oldest lines go until no more than this is left, bytes on disk.
    pub bytes: Option<u64>,
}

/// What is kept of everything, and of single processes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// `age` is for the processes that say nothing themselves, `bytes` for all files together.
    pub all: Keep,
    /// By process. `bytes` counts the compressed lines of all its instances together.
    pub processes: BTreeMap<String, Keep>,
}

/// What went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gone {
    /// Whole files.
    pub files: usize,
    /// Blocks out of files that stay.
    pub blocks: usize,
}

/// What there is of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Whose.
    pub instance: InstanceName,
    /// How many lines.
    pub lines: u64,
    /// What they take compressed, bytes, without the words they are found by.
    pub bytes: u64,
    /// What they were as text, bytes.
    pub text_bytes: u64,
    /// The days (UTC, `2026-11-21`) on which there are lines, by the file they are in.
    pub days: BTreeSet<String>,
    /// When its oldest line was written, Unix microseconds.
    pub oldest_us: u64,
    /// When its newest line was written.
    pub newest_us: u64,
}

/// What there is of a day: of the files that bear its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayUsage {
    /// `2026-11-21`, in UTC.
    pub day: String,
    /// Size on disk.
    pub bytes: u64,
    /// Lines.
    pub lines: u64,
}

impl Index {
    /// What there is, per instance; lines that wait for a commit are not counted.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn usage(&self) -> Result<Vec<Usage>> {
        let mut all: BTreeMap<InstanceName, Usage> = BTreeMap::new();
        for day in self.shared.days().iter() {
            for part in day.read(|conn| usage_of(day, conn))? {
                match all.get_mut(&part.instance) {
                    Some(usage) => {
                        usage.lines += part.lines;
                        usage.bytes += part.bytes;
                        usage.text_bytes += part.text_bytes;
                        usage.days.extend(part.days);
                        usage.oldest_us = usage.oldest_us.min(part.oldest_us);
                        usage.newest_us = usage.newest_us.max(part.newest_us);
                    }
                    None => drop(all.insert(part.instance.clone(), part)),
                }
            }
        }
        Ok(all.into_values().collect())
    }

    /// What there is, per day, the oldest first.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn days(&self) -> Result<Vec<DayUsage>> {
        let mut all: BTreeMap<String, DayUsage> = BTreeMap::new();
        for day in self.shared.days().iter() {
            let count = |conn: &Connection| {
                let sum = "SELECT coalesce(sum(lines), 0) FROM blocks";
                let lines = conn.query_row(sum, [], |row| row.get::<_, i64>(0));
                lines.map(i64::cast_unsigned).map_err(Error::sqlite(&day.path))
            };
            let (name, lines) = (date(day.day), day.read(count)?);
            let empty = DayUsage { day: name.clone(), bytes: 0, lines: 0 };
            let usage = all.entry(name).or_insert(empty);
            usage.lines += lines;
            usage.bytes += disk_bytes(day);
        }
        Ok(all.into_values().collect())
    }

    /// The size of all files on disk, bytes.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        self.shared.days().iter().map(|day| disk_bytes(day)).sum()
    }
}

fn usage_of(day: &Day, conn: &Connection) -> Result<Vec<Usage>> {
    let read = || {
        let mut statement = conn.prepare_cached(
            "SELECT process, i.instance, sum(lines), sum(size), sum(bytes), min(min_time), max(max_time) \
             FROM blocks b JOIN instances i ON i.id = b.instance GROUP BY b.instance",
        )?;
        let rows = statement.query_map([], |row| {
            let (process, instance) = (row.get::<_, String>(0)?, row.get::<_, String>(1)?);
            let number = |at| row.get::<_, i64>(at).map(i64::cast_unsigned);
            let times = (number(5)?, number(6)?);
            Ok((format!("{process}:{instance}"), number(2)?, number(3)?, number(4)?, times))
        })?;
        rows.collect::<rusqlite::Result<Vec<_>>>()
    };
    let rows = read().map_err(Error::sqlite(&day.path))?;
    let usage = rows.into_iter().filter_map(|(name, lines, bytes, text_bytes, times)| {
        let instance = name.parse().ok()?;
        let days = BTreeSet::from([date(day.day)]);
        let (oldest_us, newest_us) = times;
        Some(Usage { instance, lines, bytes, text_bytes, days, oldest_us, newest_us })
    });
    Ok(usage.collect())
}

fn disk_bytes(day: &Day) -> u64 {
    let [wal, _] = files::companions(&day.path);
    [&day.path, &wal].iter().filter_map(|path| path.metadata().ok()).map(|meta| meta.len()).sum()
}

impl Writer {
    /// Removes what is not to be kept at the time `now_us` (Unix microseconds). Whole files where possible;
    /// the newest one stays, as it says where the journal stands.
    ///
    /// # Errors
    /// A file cannot be written; the others were done.
    pub fn retain(&mut self, policy: &Policy, now_us: u64) -> Result<Gone> {
        let mut gone = Gone::default();
        let mut failed = None;
        for day in self.shared.days().iter() {
            if let Err(error) = self.retain_age(day, policy, now_us, &mut gone) {
                failed = Some(error);
            }
        }
        for (process, keep) in &policy.processes {
            if let Some(bytes) = keep.bytes {
                gone.blocks += self.retain_process(process, bytes)?;
            }
        }
        if let Some(bytes) = policy.all.bytes {
            self.retain_size(bytes, &mut gone)?;
        }
        failed.map_or(Ok(gone), Err)
    }

    /// Removes all lines of an instance: those in files, and those not there yet. What SQLite frees is
    /// overwritten with zeros; the words alone may stay in the word lists until these are merged.
    ///
    /// # Errors
    /// A file cannot be written; call it again.
    pub fn purge(&mut self, instance: &InstanceName) -> Result<usize> {
        self.drop_pending(instance);
        let mut blocks = 0;
        for day in self.shared.days().iter() {
            let of_file = |conn: &Connection| match number_of(conn, instance)? {
                Some(number) => ids(conn, "instance = ?1", [number]),
                None => Ok(Vec::new()),
            };
            let ids = day.read(|conn| of_file(conn).map_err(Error::sqlite(&day.path)))?;
            blocks += self.delete_blocks(day, &ids)?;
        }
        Ok(blocks)
    }

    fn is_newest(&self, day: &Arc<Day>) -> bool {
        self.shared.days().last().is_some_and(|last| last.path == day.path)
    }

    fn retain_age(
        &mut self,
        day: &Arc<Day>,
        policy: &Policy,
        now_us: u64,
        gone: &mut Gone,
    ) -> Result<()> {
        let edge = |age: Duration| {
            now_us.saturating_sub(u64::try_from(age.as_micros()).unwrap_or(u64::MAX))
        };
        let ages = policy.processes.values().map(|keep| keep.age).chain([policy.all.age]);
        let Some(youngest) = ages.flatten().min().map(edge) else { return Ok(()) };
        if day.extent().min_time >= youngest {
            return Ok(());
        }
        let list = || {
            day.read(|conn| {
                let list = || {
                    conn.prepare_cached("SELECT DISTINCT process FROM instances")?
                        .query_map([], |row| row.get(0))?
                        .collect::<rusqlite::Result<Vec<String>>>()
                };
                list().map_err(Error::sqlite(&day.path))
            })
        };
        let edges: Vec<(String, Option<u64>)> = list()?
            .into_iter()
            .map(|process| {
                let own = policy.processes.get(&process).and_then(|keep| keep.age);
                (process, own.or(policy.all.age).map(edge))
            })
            .collect();
        let latest = day.extent().max_time;
        if !self.is_newest(day)
            && edges.iter().all(|(_, edge)| edge.is_some_and(|edge| latest < edge))
        {
            self.shared.unlink(day)?;
            gone.files += 1;
            return Ok(());
        }
        for (process, edge) in edges {
            let Some(edge) = edge else { continue };
            let filter =
                "max_time < ?1 AND instance IN (SELECT id FROM instances WHERE process = ?2)";
            let old = day.read(|conn| {
                ids(conn, filter, (edge.cast_signed(), &process)).map_err(Error::sqlite(&day.path))
            })?;
            gone.blocks += self.delete_blocks(day, &old)?;
        }
        Ok(())
    }

    /// Deletes the oldest blocks of a process until `bytes` are left.
    fn retain_process(&mut self, process: &str, bytes: u64) -> Result<usize> {
        let mut left = bytes;
        let mut gone = 0;
        for day in self.shared.days().iter().rev() {
            let read = |conn: &Connection| {
                let mut statement = conn.prepare_cached(
                    "SELECT id, size FROM blocks WHERE instance IN (SELECT id FROM instances WHERE process = ?1) \
                     ORDER BY id DESC",
                )?;
                let rows = statement.query_map([process], |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
                })?;
                rows.collect::<rusqlite::Result<Vec<_>>>()
            };
            let blocks = day.read(|conn| read(conn).map_err(Error::sqlite(&day.path)))?;
            let mut over = Vec::new();
            for (id, size) in blocks {
                match left.checked_sub(size.cast_unsigned()).filter(|_| over.is_empty()) {
                    Some(rest) => left = rest,
                    None => {
                        left = 0;
                        over.push(id.cast_unsigned());
                    }
                }
            }
            gone += self.delete_blocks(day, &over)?;
        }
        Ok(gone)
    }

    /// Unlinks the oldest files until `bytes` are left, then trims the last one.
    fn retain_size(&mut self, bytes: u64, gone: &mut Gone) -> Result<()> {
        let total = |shared: &Shared| shared.days().iter().map(|day| disk_bytes(day)).sum::<u64>();
        while total(&self.shared) > bytes {
            let days = self.shared.days();
            let (Some(oldest), true) = (days.first(), days.len() > 1) else { break };
            self.shared.unlink(oldest)?;
            gone.files += 1;
        }
        let Some(newest) = self.shared.days().last().cloned() else { return Ok(()) };
        let used =
            self.with_file(&newest, |conn, _| used(conn).map_err(Error::sqlite(&newest.path)))?;
        if used <= bytes {
            return Ok(());
        }
        // In proportion: blocks are of one size by and large. Next time it is looked at again.
        let all = newest.read(|conn| ids(conn, "1", ()).map_err(Error::sqlite(&newest.path)))?;
        let over = (u128::from(used - bytes) * all.len() as u128).div_ceil(u128::from(used.max(1)));
        let count = usize::try_from(over).unwrap_or(all.len()).min(all.len());
        gone.blocks += self.delete_blocks(&newest, &all[..count])?;
        Ok(())
    }

    fn delete_blocks(&mut self, day: &Arc<Day>, ids: &[u64]) -> Result<usize> {
        if ids.is_empty() {
            return Ok(0);
        }
        self.with_file(day, |conn, _| {
            let write = || {
                for batch in ids.chunks(BATCH) {
                    let transaction = conn.unchecked_transaction()?;
                    delete(&transaction, batch)?;
                    transaction.commit()?;
                }
                conn.execute_batch("INSERT INTO words(words, rank) VALUES ('merge', 500); PRAGMA incremental_vacuum;")
            };
            write().map_err(Error::sqlite(&day.path))
        })?;
        if !self.is_newest(day)
            && day
                .read(|conn| self::ids(conn, "1", ()).map_err(Error::sqlite(&day.path)))?
                .is_empty()
        {
            self.shared.unlink(day)?;
        }
        Ok(ids.len())
    }
}

/// The ids of blocks, oldest first.
fn ids(
    conn: &Connection,
    filter: &str,
    values: impl rusqlite::Params,
) -> rusqlite::Result<Vec<u64>> {
    let mut statement =
        conn.prepare_cached(&format!("SELECT id FROM blocks WHERE {filter} ORDER BY id"))?;
    let rows = statement.query_map(values, |row| row.get::<_, i64>(0).map(i64::cast_unsigned))?;
    rows.collect()
}

/// The pages in use, bytes.
fn used(conn: &Connection) -> rusqlite::Result<u64> {
    let pragma = |name| {
        conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
    };
    Ok((pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?)
}

/// The day of a time, Unix microseconds, as files are named after it.
#[must_use]
pub fn day_of(time_us: u64) -> String {
    date(time_us / DAY_US)
}
