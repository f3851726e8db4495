//! Wakes: how many, from which tier, how they ended and how long they took, of all instances together.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tenement_wire::dto::Tier;
use tokio::time::Instant;

use super::meter::{Histogram, Spread};
use crate::flows::WakeError;
use crate::flows::instance::{Instance, Phase};

/// The tiers that a wake begins in, from warm to cold.
pub const TIERS: [Tier; 4] = [Tier::Frozen, Tier::Parked, Tier::Stopped, Tier::Dormant];

/// How a wake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The request that it was for had its first byte.
    Ok,
    /// The instance did not start.
    Failed,
    /// It did not get ready in time.
    TimedOut,
    /// It was refused before anything was started: it had failed for good, its disk is full, a back-off runs.
    Refused,
    /// Whoever had asked went away before its end, or got an error from the instance.
    Abandoned,
}

/// All of them, in the order of their places in [`Wakes`].
pub const OUTCOMES: [Outcome; 5] =
    [Outcome::Ok, Outcome::Failed, Outcome::TimedOut, Outcome::Refused, Outcome::Abandoned];

impl Outcome {
    /// Its word in the metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Refused => "refused",
            Self::Abandoned => "abandoned",
        }
    }

    /// How a wake ended that ended so.
    #[must_use]
    pub fn of(error: &WakeError) -> Self {
        match error {
            WakeError::Failed { .. } | WakeError::NotStarted { .. } | WakeError::Gone { .. } => {
                Self::Failed
            }
            WakeError::TimedOut { .. } => Self::TimedOut,
            WakeError::GaveUp { .. } | WakeError::DiskFull { .. } => Self::Refused,
        }
    }
}

/// Counts of wakes since the agent started.
#[derive(Debug, Default)]
pub struct Wakes {
    counts: [[AtomicU64; OUTCOMES.len()]; TIERS.len()],
    took: [Histogram; TIERS.len()],
}

impl Wakes {
    fn count(&self, tier: usize, outcome: Outcome) {
        if let Some(counts) = self.counts.get(tier) {
            counts[outcome as usize].fetch_add(1, Relaxed);
        }
    }

    /// How many from each tier had each outcome.
    #[must_use]
    pub fn counts(&self) -> [[u64; OUTCOMES.len()]; TIERS.len()] {
        self.counts.each_ref().map(|tier| tier.each_ref().map(|count| count.load(Relaxed)))
    }

    /// How long those took that went well, from the request's head to its answer's, by tier.
    #[must_use]
    pub fn took(&self) -> [Spread; TIERS.len()] {
        self.took.each_ref().map(Histogram::read)
    }

    /// All wakes that went well.
    #[must_use]
    pub fn good(&self) -> u64 {
        self.counts().iter().map(|tier| tier[Outcome::Ok as usize]).sum()
    }
}

/// The wake of one instance that is under way.
#[derive(Debug, Default)]
pub struct Waking {
    /// A place in [`TIERS`] plus one; 0 = none.
    from: AtomicU8,
    all: OnceLock<Arc<Wakes>>,
}

impl Waking {
    fn end(&self) -> Option<usize> {
        usize::from(self.from.swap(0, Relaxed)).checked_sub(1)
    }
}

impl Instance {
    /// Has its wakes counted in `wakes`.
    pub(in crate::flows) fn count_wakes(&self, wakes: &Arc<Wakes>) {
        // Once is enough.
        let _ = self.being_woken.all.set(wakes.clone());
    }

    /// A request has found it asleep, as `phase` says. Those that join the wake change nothing.
    pub(in crate::flows) fn wake_begins(&self, phase: Phase) {
        let tier = match phase {
            Phase::Frozen => Tier::Frozen,
            Phase::Parked => Tier::Parked,
            // A stop by somebody else, as by `systemctl stop`, is waited for.
            Phase::Asleep | Phase::Failed | Phase::Stopping => Tier::Stopped,
            Phase::Dormant => Tier::Dormant,
            // Somebody else has begun it.
            Phase::Starting | Phase::Running => return,
        };
        let place = TIERS.iter().position(|one| *one == tier).map_or(0, |at| at as u8 + 1);
        let _ = self.being_woken.from.compare_exchange(0, place, Relaxed, Relaxed);
    }

    /// The wake went well: the answer to the request that it was for begins.
    pub(in crate::flows) fn wake_went_well(&self, took: Duration) {
        if let (Some(tier), Some(all)) = (self.being_woken.end(), self.being_woken.all.get()) {
            all.count(tier, Outcome::Ok);
            all.took[tier].record(took);
        }
    }

    /// Nothing is started: a back-off runs, or it has failed for good.
    pub(in crate::flows) fn wake_refused(&self) {
        self.wake_ended(Outcome::Refused);
    }

    /// The wake ended with an error.
    pub(in crate::flows) fn wake_failed(&self, error: &WakeError) {
        self.wake_ended(Outcome::of(error));
    }

    /// Nobody waits for the wake any more. Most instances that are let go are not being woken.
    pub(in crate::flows) fn wake_abandoned(&self) {
        if self.being_woken.from.load(Relaxed) != 0 {
            self.wake_ended(Outcome::Abandoned);
        }
    }

    /// The wake went well, of a request that found it asleep.
    pub(in crate::flows) fn was_woken(&self, took: Duration) {
        self.wake_went_well(took);
        if self.waking.swap(false, Relaxed) {
            self.wakes.fetch_add(1, Relaxed);
            let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
            self.last_wake_us.store(us, Relaxed);
        }
    }

    /// Returns true when it runs, and false when it has failed since `began`.
    pub(in crate::flows) async fn until_it_runs(&self, began: Instant) -> bool {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.phase() == Phase::Running {
                return true;
            }
            if self.failure().is_some_and(|failure| failure.at >= began) {
                return false;
            }
            changed.await;
        }
    }

    /// The wake that is under way, if one is, ended so.
    pub(in crate::flows) fn wake_ended(&self, outcome: Outcome) {
        if let (Some(tier), Some(all)) = (self.being_woken.end(), self.being_woken.all.get()) {
            all.count(tier, outcome);
        }
    }
}
