//! Reads the journal's end while the indexer is still busy with a backlog.
//!
//! What it reads goes to those who follow and is found by searches; the index takes it later, when the
//! indexer gets there, under the same numbers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::hub::Hub;
use super::{REOPEN, now_us};
use crate::journal::cursor::{Cursor, Numbering};
use crate::journal::{Error, Reader, Resumed, Scope};
use crate::shape::group::Grouper;

/// How long it waits for new entries before it looks whether it is still needed.
const WAIT: Duration = Duration::from_millis(50);
/// If it does not reach the end for so long, it goes there and leaves out what is between.
const LATE: Duration = Duration::from_millis(1500);
/// Entries read at once.
const BATCH: usize = 256;

/// The thread; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Ahead {
    stop: Arc<AtomicBool>,
}

impl Ahead {
    /// Starts to read at the end. `numbering` is how the indexer numbers what it reads now.
    pub(super) fn start(scope: Scope, hub: Hub, numbering: Numbering) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        std::thread::Builder::new().name("log-ahead".into()).spawn(move || {
            if let Err(error) = run(scope, &hub, numbering, &stopped) {
                log::warn!("new lines come late until the backlog is read: {error}");
            }
        })?;
        Ok(Self { stop })
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn run(scope: Scope, hub: &Hub, numbering: Numbering, stop: &AtomicBool) -> Result<(), Error> {
    let mut reader = Reader::open(scope)?;
    let mut lines = Vec::new();
    let (mut read, mut last) = (0, None);
    let Some(mut numbering) = to_end(&mut reader, hub, numbering)? else { return Ok(()) };
    let mut grouper = Grouper::default();
    let mut at_end = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let mut end = false;
        for _ in 0..BATCH {
            let Some(entry) = reader.read()? else {
                end = true;
                break;
            };
            let seq = numbering.of(&entry.cursor);
            (read, last) = (read + 1, Some(entry.cursor));
            if let Some((mut line, stream)) = entry.line {
                line.seq = seq;
                grouper.push(line, stream);
            }
        }
        lines.extend(std::iter::from_fn(|| grouper.pop(end.then(now_us)).map(Arc::new)));
        hub.publish(&lines);
        lines.clear();
        let mut lost = false;
        if read >= REOPEN {
            read = 0;
            lost = !reopened(&mut reader, scope, last.as_ref())?;
        }
        if end && !lost {
            reader.wait(WAIT)?;
            at_end = Instant::now();
        } else if lost || at_end.elapsed() > LATE {
            grouper = Grouper::default();
            let Some(further) = to_end(&mut reader, hub, numbering)? else { return Ok(()) };
            numbering = further;
            at_end = Instant::now();
        }
    }
    Ok(())
}

/// Opens the journal anew at the same place. Whether that place is still there.
fn reopened(reader: &mut Reader, scope: Scope, last: Option<&Cursor>) -> Result<bool, Error> {
    *reader = Reader::open(scope)?;
    let Some(last) = last else { return Ok(false) };
    Ok(reader.resume(last)? == Resumed::Behind)
}

/// Goes to the end. None if numbers from there could not be those that the indexer will give.
fn to_end(
    reader: &mut Reader,
    hub: &Hub,
    mut numbering: Numbering,
) -> Result<Option<Numbering>, Error> {
    let Some(cursor) = reader.to_end()? else { return Ok(None) };
    if !numbering.counts_on(&cursor) {
        return Ok(None);
    }
    hub.leap(numbering.of(&cursor));
    Ok(Some(numbering))
}
