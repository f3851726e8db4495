//! The circuit breaker of an instance: after so many requests in a row that it did not answer,
//! requests fail at once, and a probe in the background finds out when it answers again.
//!
//! ```text
//! closed ─ breaker_threshold failures in a row ─► open ─ a probe is answered ─► half open
//!   ▲───────────────── a request is answered ───────────────────────────────────────┤
//!                           open again, with a longer pause ◄─ a request fails ─────┘
//! ```
//! Requests only load and add atomics. A new process begins with a closed breaker.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::instance::mono_ms;

/// Pause before the first probe; doubled with each that fails, and with each opening in a row.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// The breaker of one instance.
#[derive(Debug, Default)]
pub struct Breaker {
    /// Failures in a row.
    failures: AtomicU32,
    /// When the next probe is due, in [`mono_ms`]; 0 = it is not open.
    probe_at: AtomicU64,
    /// Pauses since a request was last answered.
    pauses: AtomicU32,
}

impl Breaker {
    /// How long requests are refused at least, if they are.
    #[must_use]
    pub fn refuses(&self) -> Option<Duration> {
        match self.probe_at.load(Ordering::Relaxed) {
            0 => None,
            at => Some(Duration::from_millis(at.saturating_sub(mono_ms()))),
        }
    }

    /// A request was answered.
    pub fn answered(&self) {
        // Only loads on the way that nearly every request goes.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.pauses.store(0, Ordering::Relaxed);
        }
    }

    /// A request was not answered. `true` if this opened the breaker: somebody has to probe now.
    pub fn failed(&self, threshold: u32) -> bool {
        if threshold == 0 {
            return false;
        }
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        failures >= threshold && self.open()
    }

    fn open(&self) -> bool {
        let at = mono_ms() + self.pause().as_millis() as u64;
        self.probe_at.compare_exchange(0, at, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn pause(&self) -> Duration {
        let pauses = self.pauses.fetch_add(1, Ordering::Relaxed).min(5);
        (PAUSE_MIN * (1 << pauses)).min(PAUSE_MAX)
    }

    /// A probe failed: the next one is due later.
    pub fn stay_open(&self) {
        self.probe_at.store(mono_ms() + self.pause().as_millis() as u64, Ordering::Relaxed);
    }

    /// A probe was answered: requests are let through, and the first that fails opens it again.
    pub fn half_open(&self, threshold: u32) {
        self.failures.store(threshold.saturating_sub(1).max(1), Ordering::Relaxed);
        self.probe_at.store(0, Ordering::Relaxed);
    }

    /// Forgets everything.
    pub fn reset(&self) {
        // All of them, whatever is set: an answer that came late may have cleared the failures of one that
        // is open, which nobody would ever close then.
        self.failures.store(0, Ordering::Relaxed);
        self.pauses.store(0, Ordering::Relaxed);
        self.probe_at.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_so_many_failures_in_a_row_and_only_one_is_told() {
        let breaker = Breaker::default();
        assert!(!breaker.failed(3) && !breaker.failed(3));
        breaker.answered();
        assert!(!breaker.failed(3) && !breaker.failed(3) && breaker.refuses().is_none());
        assert!(breaker.failed(3));
        assert!(!breaker.failed(3), "opened twice");
        assert!(breaker.refuses().unwrap() <= PAUSE_MIN);
        breaker.reset();
        assert!(breaker.refuses().is_none());
    }

    #[test]
    fn a_late_answer_does_not_keep_an_open_one_from_being_reset() {
        let breaker = Breaker::default();
        assert!((0..3).any(|_| breaker.failed(3)));
        breaker.answered();
        breaker.reset();
        assert!(breaker.refuses().is_none());
    }

    #[test]
    fn half_open_a_failure_opens_it_again_for_longer_and_an_answer_closes_it() {
        let breaker = Breaker::default();
        assert!((0..3).any(|_| breaker.failed(3)));
        breaker.stay_open();
        breaker.half_open(3);
        assert!(breaker.refuses().is_none());
        assert!(breaker.failed(3), "the first failure after a good probe");
        assert!(breaker.refuses().unwrap() > PAUSE_MIN * 3);
        breaker.half_open(3);
        breaker.answered();
        assert!(!breaker.failed(3), "it was closed");
    }

    #[test]
    fn with_threshold_0_it_never_opens_and_with_1_at_once() {
        let breaker = Breaker::default();
        assert!((0..100).all(|_| !breaker.failed(0)));
        assert!(breaker.failed(1));
        breaker.half_open(1);
        breaker.answered();
        assert!(breaker.failed(1));
    }
}
