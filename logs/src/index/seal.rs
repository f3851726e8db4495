//! Sealing: from lines to what is written of a block.

use std::collections::HashSet;
use std::sync::Arc;

use rusqlite::Connection;
use tenement_wire::InstanceName;

use super::block;
use super::need::{ESCAPED, instance_token, process_token};
use crate::line::Line;
use crate::token::{KEY_MAX, fold_into, words};

/// How hard zstd tries. 3 is its own default: a third of the text at 400 MB/s.
const ZSTD_LEVEL: i32 = 3;

/// A block, ready to be written.
#[derive(Debug)]
pub struct Sealed {
    /// Whose lines.
    pub instance: Arc<InstanceName>,
    /// The `seq` of its last line, by which it goes.
    pub id: u64,
    min_seq: u64,
    /// The earliest time in it.
    pub min_time: u64,
    /// The latest time in it.
    pub max_time: u64,
    levels: u8,
    lines: usize,
    bytes: usize,
    raw: usize,
    data: Vec<u8>,
    tokens: String,
}

/// What sealing needs again and again.
pub struct Sealer {
    zstd: zstd::bulk::Compressor<'static>,
    raw: Vec<u8>,
    word: String,
    seen: HashSet<Box<str>>,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").finish_non_exhaustive()
    }
}

impl Sealer {
    /// A new one.
    ///
    /// # Errors
    /// zstd has no memory.
    pub fn new() -> std::io::Result<Self> {
        let zstd = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
        Ok(Self { zstd, raw: Vec::new(), word: String::new(), seen: HashSet::new() })
    }

    /// Seals `lines`: of one instance, by `seq`, at least one.
    ///
    /// # Errors
    /// zstd has no memory.
    pub fn seal(
        &mut self,
        instance: &Arc<InstanceName>,
        lines: &[Arc<Line>],
    ) -> std::io::Result<Sealed> {
        block::pack(lines, &mut self.raw);
        let data = self.zstd.compress(&self.raw)?;
        let times = || lines.iter().map(|line| line.time_us);
        Ok(Sealed {
            instance: Arc::clone(instance),
            id: lines.last().map_or(0, |line| line.seq),
            min_seq: lines.first().map_or(0, |line| line.seq),
            min_time: times().min().unwrap_or(0),
            max_time: times().max().unwrap_or(0),
            levels: lines.iter().fold(0, |all, line| all | 1 << line.level.priority()),
            lines: lines.len(),
            bytes: lines.iter().map(|line| line.text.len()).sum(),
            raw: self.raw.len(),
            data,
            tokens: self.tokens(instance, lines),
        })
    }

    /// The distinct tokens of `lines`, separated by blanks.
    fn tokens(&mut self, instance: &InstanceName, lines: &[Arc<Line>]) -> String {
        let mut tokens =
            format!("{} {}", process_token(instance.process().as_str()), instance_token(instance));
        if lines.iter().any(|line| memchr::memmem::find(line.text.as_bytes(), b"\\u").is_some()) {
            tokens.push(' ');
            tokens.push_str(ESCAPED);
        }
        self.seen.clear();
        for line in lines {
            for word in words(&line.text) {
                self.word.clear();
                fold_into(word, &mut self.word);
                let mut end = self.word.len().min(KEY_MAX);
                while !self.word.is_char_boundary(end) {
                    end -= 1;
                }
                let key = &self.word[..end];
                if !self.seen.contains(key) {
                    self.seen.insert(key.into());
                    tokens.push(' ');
                    tokens.push_str(key);
                }
            }
        }
        tokens
    }
}

impl Sealed {
    /// Writes it, within the caller's transaction.
    pub fn write(&self, conn: &Connection, instance: i64) -> rusqlite::Result<()> {
        let id = self.id.cast_signed();
        conn.prepare_cached("INSERT INTO blocks VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?
            .execute((
                id,
                instance,
                self.min_seq.cast_signed(),
                self.min_time.cast_signed(),
                self.max_time.cast_signed(),
                self.levels,
                self.lines.cast_signed() as i64,
                self.bytes.cast_signed() as i64,
                self.data.len().cast_signed() as i64,
            ))?;
        let raw = self.raw.cast_signed() as i64;
        conn.prepare_cached("INSERT INTO texts VALUES (?1, ?2, ?3)")?
            .execute((id, raw, &self.data))?;
        conn.prepare_cached("INSERT INTO words (rowid, tokens) VALUES (?1, ?2)")?
            .execute((id, &self.tokens))?;
        Ok(())
    }
}

/// The number of an instance in a file; it gets one if it has none.
pub fn instance_number(conn: &Connection, name: &InstanceName) -> rusqlite::Result<i64> {
    let names = (name.process().as_str(), name.id().as_str());
    conn.prepare_cached("INSERT OR IGNORE INTO instances (process, instance) VALUES (?1, ?2)")?
        .execute(names)?;
    conn.prepare_cached("SELECT id FROM instances WHERE process = ?1 AND instance = ?2")?
        .query_row(names, |row| row.get(0))
}
