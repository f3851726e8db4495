//! What the agent remembers of an instance's health: small, since a host may hold 10,000 of them.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard};

use tokio::sync::Notify;

use super::health::{Health, Restarts, Verdict};
use super::instance::mono_ms;
use crate::config::Supervision;
use crate::store::GaveUp;
use crate::upstream::Outcome;

/// Health of one instance.
#[derive(Debug, Default)]
pub struct Care {
    health: AtomicU8,
    /// Whether a task checks it.
    pub(super) watched: AtomicBool,
    /// Whether it ran before this agent did: it is taken for ready, and checked in its turn.
    pub(super) adopted: AtomicBool,
    /// Ends a check that is under way: a stop waits for it.
    pub(super) hush: Notify,
    given_up: AtomicBool,
    rare: Mutex<Option<Box<Rare>>>,
}

/// What most instances never have.
#[derive(Debug, Default)]
struct Rare {
    last: Option<Outcome>,
    restarts: Restarts,
    /// Starts in a row that did not get healthy.
    unready: u32,
    gave_up: Option<GaveUp>,
}

impl Care {
    fn rare(&self) -> MutexGuard<'_, Option<Box<Rare>>> {
        self.rare.lock().expect("no panic while held")
    }

    fn with<T>(&self, act: impl FnOnce(&mut Rare) -> T) -> T {
        act(self.rare().get_or_insert_default())
    }

    /// How it is.
    #[must_use]
    pub fn health(&self) -> Health {
        Health::from_u8(self.health.load(Ordering::Relaxed))
    }

    /// Whether its last check was bad.
    pub(super) fn is_unwell(&self) -> bool {
        matches!(self.health(), Health::Degraded | Health::Unhealthy)
    }

    pub(super) fn set_health(&self, health: Health) {
        self.health.store(health as u8, Ordering::Relaxed);
    }

    /// Notes what a check found.
    pub(super) fn note(&self, outcome: Outcome) {
        if outcome.is_good() && self.rare().is_none() {
            return;
        }
        self.with(|rare| rare.last = Some(outcome));
    }

    /// What the last check found, unless all were good.
    #[must_use]
    pub fn last(&self) -> Option<Outcome> {
        self.rare().as_ref().and_then(|rare| rare.last)
    }

    /// What one more crash or restart means, which is counted if it may happen.
    pub(super) fn strike(&self, rules: &Supervision) -> Verdict {
        self.with(|rare| {
            let now = mono_ms();
            let verdict = rare.restarts.verdict(now, rules);
            if verdict != Verdict::GiveUp {
                rare.restarts.add(now);
            }
            verdict
        })
    }

    /// The same without counting it.
    pub(super) fn verdict(&self, rules: &Supervision) -> Verdict {
        self.with(|rare| rare.restarts.verdict(mono_ms(), rules))
    }

    /// Crashes and restarts that count now.
    pub(super) fn strikes(&self) -> usize {
        self.rare().as_ref().map_or(0, |rare| rare.restarts.count())
    }

    /// Counts a start that did not get healthy, and says how many came in a row.
    pub(super) fn unready(&self) -> u32 {
        self.with(|rare| {
            rare.unready = rare.unready.saturating_add(1);
            rare.unready
        })
    }

    /// A start got healthy.
    pub(super) fn got_healthy(&self) {
        self.set_health(Health::Healthy);
        if let Some(rare) = self.rare().as_mut() {
            rare.unready = 0;
        }
    }

    /// Whether it has failed for good.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    /// Why and since when.
    #[must_use]
    pub fn failed(&self) -> Option<GaveUp> {
        self.has_failed().then(|| self.rare().as_ref()?.gave_up.clone()).flatten()
    }

    /// Notes that it has failed for good.
    pub fn set_failed(&self, gave_up: GaveUp) {
        self.with(|rare| rare.gave_up = Some(gave_up));
        self.given_up.store(true, Ordering::Release);
    }

    /// Forgets everything: an operator gives it a new chance. Says whether it had failed.
    pub(super) fn absolve(&self) -> bool {
        *self.rare() = None;
        self.given_up.swap(false, Ordering::AcqRel)
    }
}
