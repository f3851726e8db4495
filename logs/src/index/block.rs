//! A block: up to [`LINES_MAX`] lines of one instance, compressed together.
//!
//! Inside, before zstd, columns and then the texts: how many lines (varint); `seq`, each as the distance
//! from the one before (varint); time likewise (zigzag varint, clocks go back); one byte each of
//! level + 8 × source; the texts' lengths (varint); the texts, one right after the other.

use std::ops::Range;
use std::sync::Arc;

use tenement_wire::InstanceName;

use crate::line::{Level, Line, Source};

/// Lines in a block at most.
pub const LINES_MAX: usize = 512;
/// Text in a block at most, bytes, unless its last line alone exceeds it.
pub const TEXT_MAX: usize = 128 << 10;
/// What a block may unpack to; more is damage, not data.
pub const RAW_MAX: usize = 256 << 20;

/// A line in a block, without its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// See [`Line::seq`].
    pub seq: u64,
    /// See [`Line::time_us`].
    pub time_us: u64,
    /// See [`Line::level`].
    pub level: Level,
    /// See [`Line::source`].
    pub source: Source,
    /// Where its text is in [`Block::text`].
    pub text: Range<usize>,
}

/// An unpacked block.
#[derive(Debug, Default)]
pub struct Block {
    /// Its lines, by `seq`.
    pub entries: Vec<Entry>,
    /// All texts.
    pub text: String,
}

impl Block {
    /// The text of one of its lines.
    #[must_use]
    pub fn text_of(&self, entry: &Entry) -> &str {
        &self.text[entry.text.clone()]
    }

    /// One of its lines.
    #[must_use]
    pub fn line(&self, entry: &Entry, instance: &Arc<InstanceName>) -> Line {
        Line {
            seq: entry.seq,
            time_us: entry.time_us,
            instance: Arc::clone(instance),
            level: entry.level,
            source: entry.source,
            text: self.text_of(entry).into(),
        }
    }
}

/// The columns and texts of `lines`, to be compressed.
pub fn pack(lines: &[Arc<Line>], out: &mut Vec<u8>) {
    out.clear();
    put(out, lines.len() as u64);
    let mut seq = 0;
    for line in lines {
        put(out, line.seq.wrapping_sub(seq));
        seq = line.seq;
    }
    let mut time = 0u64;
    for line in lines {
        let step = line.time_us.wrapping_sub(time).cast_signed();
        put(out, (step.wrapping_shl(1) ^ (step >> 63)).cast_unsigned());
        time = line.time_us;
    }
    out.extend(lines.iter().map(|line| line.level.priority() | (source_number(line.source) << 3)));
    for line in lines {
        put(out, line.text.len() as u64);
    }
    for line in lines {
        out.extend_from_slice(line.text.as_bytes());
    }
}

/// Reads what [`pack`] wrote into `block`.
///
/// # Errors
/// What is wrong with it.
pub fn unpack(raw: &[u8], block: &mut Block) -> Result<(), &'static str> {
    let mut rest = raw;
    block.entries.clear();
    let count = usize::try_from(take(&mut rest)?).map_err(|_| "too many lines")?;
    if count > raw.len() {
        return Err("more lines than bytes");
    }
    let mut seq = 0u64;
    for _ in 0..count {
        seq = seq.wrapping_add(take(&mut rest)?);
        block.entries.push(Entry {
            seq,
            time_us: 0,
            level: Level::Info,
            source: Source::Instance,
            text: 0..0,
        });
    }
    let mut time = 0u64;
    for entry in &mut block.entries {
        let step = take(&mut rest)?;
        time = time.wrapping_add((step >> 1) ^ (step & 1).wrapping_neg());
        entry.time_us = time;
    }
    let (flags, mut rest) = rest.split_at_checked(count).ok_or("it ends early")?;
    for (entry, flags) in block.entries.iter_mut().zip(flags) {
        entry.level = Level::from_priority(flags & 7);
        entry.source = source_of(flags >> 3).ok_or("an unknown source")?;
    }
    let mut end = 0usize;
    for entry in &mut block.entries {
        let length = usize::try_from(take(&mut rest)?).map_err(|_| "a text too long")?;
        let start = end;
        end = end.checked_add(length).ok_or("a text too long")?;
        entry.text = start..end;
    }
    if end != rest.len() {
        return Err("its texts are not as long as it says");
    }
    let text = std::str::from_utf8(rest).map_err(|_| "its texts are not UTF-8")?;
    block.text.clear();
    block.text.push_str(text);
    if block.entries.iter().any(|entry| !block.text.is_char_boundary(entry.text.end)) {
        return Err("a text ends within a character");
    }
    Ok(())
}

fn source_number(source: Source) -> u8 {
    match source {
        Source::Instance => 0,
        Source::Systemd => 1,
        Source::Marker => 2,
    }
}

fn source_of(number: u8) -> Option<Source> {
    [Source::Instance, Source::Systemd, Source::Marker].get(usize::from(number)).copied()
}

/// LEB128.
fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take(rest: &mut &[u8]) -> Result<u64, &'static str> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first().ok_or("it ends early")?;
        *rest = after;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err("a number too long")
}
