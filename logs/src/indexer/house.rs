//! What the indexer's thread does beside reading and writing: keep up with the journal's end, keep house,
//! and what it is asked to do.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tenement_wire::InstanceName;

use super::ahead::Ahead;
use super::work::{Failed, Work};
use super::{Request, now_us};
use crate::journal;

/// If the end was not reached for so long, a second reader goes there.
const BEHIND: Duration = Duration::from_millis(1000);
/// How often it is looked what is too old.
const RETAIN: Duration = Duration::from_secs(60);
/// Blocks merged at once, and the pauses after some and after none.
const COMPACT: usize = 256;
const COMPACT_PAUSE: Duration = Duration::from_secs(1);
const COMPACT_IDLE: Duration = Duration::from_secs(30);
/// How often the place follows the journal's end while nobody logs.
const ANCHOR: Duration = Duration::from_secs(600);

impl Work {
    /// Has a second reader at the journal's end for as long as this one is behind.
    pub(super) fn keep_up(&mut self, end: bool) {
        let behind_us = if end { 0 } else { now_us().saturating_sub(self.newest_us) };
        let lines = self.lines;
        self.status(|status| (status.behind_us, status.lines) = (behind_us, lines));
        if end {
            self.at_end = Instant::now();
            self.ahead = None;
        } else if self.ahead.is_none() && self.at_end.elapsed() > BEHIND {
            match Ahead::start(self.scope, self.hub.clone(), self.place.numbering) {
                Ok(ahead) => self.ahead = Some(ahead),
                Err(error) => log::warn!("new lines come late until the backlog is read: {error}"),
            }
        }
    }

    /// Now and then removes what is too old or too much, and merges small blocks while there is nothing else.
    pub(super) fn keep_house(&mut self, end: bool) -> Result<(), Failed> {
        if self.retained.is_none_or(|at| at.elapsed() > RETAIN)
            || self.shared.retain.swap(false, Ordering::Relaxed)
        {
            self.retained = Some(Instant::now());
            let policy = self.shared.policy.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let gone = self.writer.retain(&policy, now_us())?;
            if gone.files > 0 || gone.blocks > 0 {
                log::info!(files = gone.files, blocks = gone.blocks; "old logs were removed");
            }
        }
        // Only after a commit, and in small steps: lines must not wait for it.
        if end && self.waits.is_none() && self.compacted.elapsed() > self.compact_pause {
            let merged = self.writer.compact(COMPACT)?;
            self.compacted = Instant::now();
            self.compact_pause = if merged == 0 { COMPACT_IDLE } else { COMPACT_PAUSE };
        }
        Ok(())
    }

    /// On a quiet host, moves the place on to the journal's end from time to time, past the entries of
    /// others: or their loss, one day, would look like a loss of ours.
    pub(super) fn anchor(&mut self, end: bool) -> Result<(), Failed> {
        if !end || !self.grouper.is_empty() {
            return Ok(());
        }
        if let Some(anchor) = self.anchor.take() {
            // It was taken before everything up to it was read: that is so now.
            if anchor.time_us() > self.newest_us && self.waits.is_none() {
                self.place.cursor = Some(anchor.into());
                self.write()?;
            }
        } else if self.anchored.elapsed() > ANCHOR {
            self.anchored = Instant::now();
            self.anchor = journal::end(self.scope)?;
        }
        Ok(())
    }

    /// Does what was asked for meanwhile; waits for it at most this long.
    pub(super) fn answer_within(&mut self, bound: Duration) {
        let mut request = match bound.is_zero() {
            true => self.requests.try_recv().ok(),
            false => self.requests.recv_timeout(bound).ok(),
        };
        while let Some(Request::Purge(instance, answer)) = request {
            let purged = self.purge(&instance).map_err(|error| error.to_string());
            // Whoever asked may have stopped waiting.
            let _ = answer.try_send(purged);
            request = self.requests.try_recv().ok();
        }
    }

    fn purge(&mut self, instance: &InstanceName) -> Result<(), Failed> {
        self.place.purge(instance, now_us());
        self.take_all()?;
        self.hub.purge(instance);
        self.writer.purge(instance)?;
        // With the place, which knows of the purge: or a crash would bring back what is in the journal.
        self.write()
    }
}
