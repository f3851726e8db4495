//! How often a CA is asked: nobody outside may make us reach its limits.

use std::time::Duration;

/// The longest pause after failures.
const PAUSE_MAX: Duration = Duration::from_secs(86_400);

/// Orders for custom domains in an hour, as a bucket that fills again evenly.
#[derive(Debug)]
pub(super) struct Bucket {
    left: f64,
    at: u64,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(per_hour: u32, now: u64) -> Self {
        Self { left: f64::from(per_hour), at: now }
    }

    /// Takes one, if there is one. `now` in seconds.
    pub(super) fn take(&mut self, per_hour: u32, now: u64) -> bool {
        let filled = now.saturating_sub(self.at) as f64 / 3600.0 * f64::from(per_hour);
        self.left = (self.left + filled).min(f64::from(per_hour));
        self.at = now;
        let is_there = self.left >= 1.0;
        if is_there {
            self.left -= 1.0;
        }
        is_there
    }
}

/// The pause after so many failures of one name: doubled each time, and spread by a quarter, by `chance` from 0 to 1.
pub(super) fn pause(first: Duration, failures: u32, chance: f64) -> Duration {
    let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(PAUSE_MAX);
    doubled.mul_f64(0.75 + 0.5 * chance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_gives_no_more_than_it_has_and_fills_again() {
        let mut bucket = Bucket::new(60, 0);
        assert_eq!((0..1000).filter(|_| bucket.take(60, 0)).count(), 60);
        assert_eq!((0..1000).filter(|_| bucket.take(60, 600)).count(), 10, "after ten minutes");
        assert_eq!(
            (0..1000).filter(|_| bucket.take(60, 1_000_000)).count(),
            60,
            "it never holds more"
        );
    }

    #[test]
    fn pauses_double_up_to_a_day() {
        let first = Duration::from_secs(300);
        assert_eq!(pause(first, 1, 0.5), first);
        assert_eq!(pause(first, 3, 0.5), first * 4);
        assert!(pause(first, 99, 1.0) <= PAUSE_MAX.mul_f64(1.25));
    }
}
