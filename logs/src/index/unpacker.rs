//! Reading blocks back.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};
use tenement_wire::{InstanceId, InstanceName, ProcessName};

use super::block::{self, Block, RAW_MAX};
use super::day::Day;
use super::error::{Error, Result};

/// Reads blocks of one file, with buffers that are used again.
#[derive(Default)]
pub struct Unpacker {
    zstd: Option<zstd::bulk::Decompressor<'static>>,
    raw: Vec<u8>,
    block: Block,
}

impl Unpacker {
    /// Reads and unpacks a block.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub fn load(&mut self, day: &Day, conn: &Connection, id: u64) -> Result<&Block> {
        let id = id.cast_signed();
        let damaged = |what| Error::Block { path: day.path.clone(), id, what };
        match self.fetch(conn, id).map_err(Error::sqlite(&day.path))? {
            Fetched::Raw => {}
            Fetched::Absent => return Err(damaged("it has no text")),
            Fetched::Damaged => return Err(damaged("zstd cannot unpack it")),
        }
        block::unpack(&self.raw, &mut self.block).map_err(damaged)?;
        Ok(&self.block)
    }

    fn fetch(&mut self, conn: &Connection, id: i64) -> rusqlite::Result<Fetched> {
        let mut statement = conn.prepare_cached("SELECT raw, data FROM texts WHERE id = ?1")?;
        let mut rows = statement.query([id])?;
        let Some(row) = rows.next()? else { return Ok(Fetched::Absent) };
        let size = usize::try_from(row.get::<_, i64>(0)?).unwrap_or(usize::MAX);
        let data = row.get_ref(1)?.as_blob()?;
        if self.zstd.is_none() {
            self.zstd = zstd::bulk::Decompressor::new().ok();
        }
        let Some(zstd) = self.zstd.as_mut().filter(|_| size <= RAW_MAX) else {
            return Ok(Fetched::Damaged);
        };
        self.raw.clear();
        self.raw.reserve(size);
        Ok(if zstd.decompress_to_buffer(data, &mut self.raw).is_ok() {
            Fetched::Raw
        } else {
            Fetched::Damaged
        })
    }
}

enum Fetched {
    Raw,
    Absent,
    Damaged,
}

/// The instances of one file, by number, as far as they were asked for.
#[derive(Debug, Default)]
pub struct Names {
    known: BTreeMap<i64, Arc<InstanceName>>,
}

impl Names {
    /// Whose number it is.
    ///
    /// # Errors
    /// Nobody's.
    pub fn get(&mut self, day: &Day, conn: &Connection, number: i64) -> Result<Arc<InstanceName>> {
        if let Some(name) = self.known.get(&number) {
            return Ok(Arc::clone(name));
        }
        let name = instance(conn, number).map_err(Error::sqlite(&day.path))?;
        let unknown =
            || Error::Block { path: day.path.clone(), id: number, what: "its instance is unknown" };
        let name = Arc::new(name.ok_or_else(unknown)?);
        self.known.insert(number, Arc::clone(&name));
        Ok(name)
    }
}

/// The number of an instance in a file.
pub fn number_of(conn: &Connection, name: &InstanceName) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT id FROM instances WHERE process = ?1 AND instance = ?2")?
        .query_row((name.process().as_str(), name.id().as_str()), |row| row.get(0))
        .optional()
}

fn instance(conn: &Connection, number: i64) -> rusqlite::Result<Option<InstanceName>> {
    let names = conn
        .prepare_cached("SELECT process, instance FROM instances WHERE id = ?1")?
        .query_row([number], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))
        .optional()?;
    Ok(names.and_then(|(process, id)| {
        Some(InstanceName::new(ProcessName::new(&process).ok()?, InstanceId::new(&id).ok()?))
    }))
}
