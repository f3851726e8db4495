//! Keeping house, off the hot path: merging the small blocks of quiet instances, moving damaged files aside.

use std::sync::Arc;

use rusqlite::Connection;

use super::Writer;
use super::block::{LINES_MAX, TEXT_MAX};
use super::day::Day;
use super::error::{Error, Result};
use super::seal::Sealer;
use super::unpacker::{Names, Unpacker};

/// Fewer lines make a block small, as the index `small_blocks` has it: they take half as much again.
const SMALL: usize = 32;
/// Small blocks in a row that are worth merging.
const WORTH: usize = 16;
/// The same in a file that gets no more lines.
const WORTH_AT_REST: usize = 2;

/// A row of small blocks of one instance, without a larger one in between.
struct Run {
    instance: i64,
    ids: Vec<u64>,
}

impl Writer {
    /// Merges the small blocks of quiet instances, `budget` blocks at most, and says how many went. Zero
    /// means there is nothing to do. Searches go on undisturbed.
    ///
    /// # Errors
    /// Nothing was changed in the file that could not be written.
    pub fn compact(&mut self, budget: usize) -> Result<usize> {
        self.set_damaged_aside()?;
        let mut merged = 0;
        for day in self.shared.days().iter().rev() {
            let newest = self.current.as_ref().is_some_and(|current| current.day.path == day.path);
            if day.is_at_rest() {
                continue;
            }
            let worth = if newest { WORTH } else { WORTH_AT_REST };
            let left = budget - merged;
            merged +=
                self.with_file(day, |conn, sealer| compact_file(day, conn, sealer, worth, left))?;
            if merged >= budget {
                return Ok(merged);
            }
            if !newest {
                day.set_at_rest();
            }
        }
        Ok(merged)
    }

    /// Calls `work` with a connection that may write to `day`.
    pub(super) fn with_file<T>(
        &mut self,
        day: &Day,
        work: impl FnOnce(&Connection, &mut Sealer) -> Result<T>,
    ) -> Result<T> {
        match &self.current {
            Some(current) if current.day.path == day.path => work(&current.conn, &mut self.sealer),
            _ => work(&day.open_writer()?, &mut self.sealer),
        }
    }

    /// Forgets files that somebody has deleted, and moves aside what searches found to be damaged, except for the file being written: that one shows
    /// itself at the next commit, or is read around.
    fn set_damaged_aside(&mut self) -> Result<()> {
        for day in self.shared.days().iter().filter(|day| day.is_there().is_err()) {
            self.shared.forget(&day.path);
        }
        for day in self.shared.days().iter().filter(|day| day.is_damaged()) {
            if self.current.as_ref().is_none_or(|current| current.day.path != day.path) {
                let aside = self.shared.set_aside(&day.path)?;
                log::error!(file:% = day.path.display(), aside:% = aside.display(); "a damaged file of the log index was moved aside");
            }
        }
        Ok(())
    }
}

fn compact_file(
    day: &Day,
    conn: &Connection,
    sealer: &mut Sealer,
    worth: usize,
    budget: usize,
) -> Result<usize> {
    let mut merged = 0;
    let mut unpacker = Unpacker::default();
    let mut names = Names::default();
    while merged < budget {
        let runs = runs(day, conn, worth, budget - merged).map_err(Error::sqlite(&day.path))?;
        if runs.is_empty() {
            break;
        }
        let transaction = conn.unchecked_transaction().map_err(Error::sqlite(&day.path))?;
        for run in &runs {
            merge(day, &transaction, sealer, &mut unpacker, &mut names, run)?;
            merged += run.ids.len();
        }
        transaction.commit().map_err(Error::sqlite(&day.path))?;
    }
    if merged > 0 && merged < budget {
        conn.execute_batch("PRAGMA incremental_vacuum").map_err(Error::sqlite(&day.path))?;
    }
    Ok(merged)
}

/// One run each of the instances that have many small blocks. One whose small blocks stand apart is not
/// looked at again before it has many more.
fn runs(day: &Day, conn: &Connection, worth: usize, budget: usize) -> rusqlite::Result<Vec<Run>> {
    let mut crowded = conn.prepare_cached(
        "SELECT instance, count(*) FROM blocks WHERE lines < 32 GROUP BY instance HAVING count(*) >= ?1",
    )?;
    let worth_it = worth.cast_signed() as i64;
    let crowded = crowded.query_map([worth_it], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))?;
    let mut runs = Vec::new();
    let mut left = budget;
    let mut apart = day.apart();
    for row in crowded {
        let (instance, count) = row?;
        if apart.get(&instance).is_some_and(|known| count < known + worth_it) {
            continue;
        }
        let Some(run) = run_of(conn, instance, worth)? else {
            apart.insert(instance, count);
            continue;
        };
        apart.remove(&instance);
        left = left.saturating_sub(run.ids.len());
        runs.push(run);
        if left == 0 {
            break;
        }
    }
    Ok(runs)
}

/// The first run of an instance that is worth it. Its lines fit into one block.
fn run_of(conn: &Connection, instance: i64, worth: usize) -> rusqlite::Result<Option<Run>> {
    let mut blocks =
        conn.prepare_cached("SELECT id, lines, bytes FROM blocks WHERE instance = ?1 ORDER BY id")?;
    let mut blocks = blocks.query([instance])?;
    let (mut ids, mut lines, mut bytes) = (Vec::new(), 0, 0);
    while let Some(row) = blocks.next()? {
        let size =
            |at| row.get::<_, i64>(at).map(|size| usize::try_from(size).unwrap_or(usize::MAX));
        let (id, more_lines, more_bytes) =
            (row.get::<_, i64>(0)?.cast_unsigned(), size(1)?, size(2)?);
        let small = more_lines < SMALL && more_bytes <= TEXT_MAX;
        let fits = small && lines + more_lines <= LINES_MAX && bytes + more_bytes <= TEXT_MAX;
        if !fits {
            // A block that is full by now is worth it however few it is made of.
            if ids.len() >= worth || (ids.len() >= 2 && lines >= LINES_MAX / 2) {
                break;
            }
            (lines, bytes) = (0, 0);
            ids.clear();
            if !small {
                continue;
            }
        }
        ids.push(id);
        lines += more_lines;
        bytes += more_bytes;
    }
    let full = ids.len() >= worth || (ids.len() >= 2 && lines >= LINES_MAX / 2);
    Ok(full.then_some(Run { instance, ids }))
}

/// Replaces the blocks of a run with one, which goes by the id of the last.
fn merge(
    day: &Day,
    conn: &Connection,
    sealer: &mut Sealer,
    unpacker: &mut Unpacker,
    names: &mut Names,
    run: &Run,
) -> Result<()> {
    let name = names.get(day, conn, run.instance)?;
    let mut lines = Vec::new();
    for &id in &run.ids {
        let block = unpacker.load(day, conn, id)?;
        lines.extend(block.entries.iter().map(|entry| Arc::new(block.line(entry, &name))));
    }
    let sealed = sealer.seal(&name, &lines).map_err(Error::io("compress for", &day.path))?;
    delete(conn, &run.ids).map_err(Error::sqlite(&day.path))?;
    sealed.write(conn, run.instance).map_err(Error::sqlite(&day.path))
}

/// Deletes blocks, their texts and their words.
pub fn delete(conn: &Connection, ids: &[u64]) -> rusqlite::Result<()> {
    let mut words = conn.prepare_cached("DELETE FROM words WHERE rowid = ?1")?;
    let mut texts = conn.prepare_cached("DELETE FROM texts WHERE id = ?1")?;
    let mut blocks = conn.prepare_cached("DELETE FROM blocks WHERE id = ?1")?;
    for id in ids {
        let id = id.cast_signed();
        words.execute([id])?;
        texts.execute([id])?;
        blocks.execute([id])?;
    }
    Ok(())
}
