//! How often a CA is asked: nobody outside may make us reach its limits.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The longest pause after failures.
const PAUSE_MAX: Duration = Duration::from_secs(86_400);

/// Of how many orders one is kept for renewals, and how many stored domains share what there is at least.
const PART: u32 = 4;

/// Orders for custom domains in an hour, as a bucket that fills again evenly.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Bucket {
    left: f64,
    at: u64,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(per_hour: u32, now: u64) -> Self {
        Self { left: f64::from(per_hour), at: now }
    }

    /// Fills it up to what it has by `now`, in seconds, and says what there is.
    fn fill(&mut self, per_hour: u32, now: u64) -> f64 {
        let filled = now.saturating_sub(self.at) as f64 / 3600.0 * f64::from(per_hour);
        self.left = (self.left + filled).min(f64::from(per_hour));
        self.at = now;
        self.left
    }
}

/// What is left of the orders for custom domains: of all together, and of each domain that somebody has added. A
/// wildcard is one such domain, whatever number of names below it is asked for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Allowance {
    all: Option<Bucket>,
    shares: BTreeMap<String, Bucket>,
}

impl Allowance {
    /// Takes an order for a name of `domain`, if there is one left. Renewals may have all; others leave a quarter to
    /// them, and one domain gets a quarter of all at most.
    pub(super) fn take(&mut self, per_hour: u32, domain: &str, renews: bool, now: u64) -> bool {
        let share = (per_hour / PART).max(1);
        let kept = if renews { 0 } else { per_hour / PART };
        let all = self.all.get_or_insert_with(|| Bucket::new(per_hour, now));
        if all.fill(per_hour, now) < 1.0 + f64::from(kept) {
            return false;
        }
        // Those that are full again are as good as new ones.
        self.shares.retain(|_, bucket| bucket.fill(share, now) < f64::from(share));
        let fresh = || Bucket::new(share, now);
        let own = self.shares.entry(domain.to_owned()).or_insert_with(fresh);
        if own.left < 1.0 {
            return false;
        }
        own.left -= 1.0;
        all.left -= 1.0;
        true
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

    fn taken(from: &mut Allowance, domain: &str, renews: bool, now: u64) -> usize {
        (0..1000).filter(|_| from.take(60, domain, renews, now)).count()
    }

    #[test]
    fn an_hour_gives_no_more_than_it_has_and_fills_again() {
        let mut all = Allowance::default();
        let mut of_all = |now| (0..9).map(|i| taken(&mut all, &format!("d{i}"), true, now)).sum();
        let sums: [usize; 3] = [of_all(0), of_all(600), of_all(1_000_000)];
        assert_eq!(sums, [60, 10, 60], "after ten minutes a sixth; it never holds more");
    }

    #[test]
    fn one_domain_gets_a_quarter_of_the_hour_and_renewals_have_a_quarter_to_themselves() {
        let mut all = Allowance::default();
        assert_eq!(taken(&mut all, "*.evil.com", false, 0), 15);
        assert_eq!(taken(&mut all, "*.evil.com", true, 0), 0, "by whatever way");
        let others: usize = (0..9).map(|i| taken(&mut all, &format!("d{i}"), false, 0)).sum();
        assert_eq!(others, 30);
        assert_eq!(taken(&mut all, "renewed.com", true, 0), 15);
        let text = serde_json::to_string(&all).unwrap();
        let mut again: Allowance = serde_json::from_str(&text).unwrap();
        assert_eq!(taken(&mut again, "new.com", true, 1), 0, "a restart fills nothing");
        assert!(all.take(1, "new.com", false, 1_000_000), "one an hour is one for any");
    }

    #[test]
    fn pauses_double_up_to_a_day() {
        let first = Duration::from_secs(300);
        assert_eq!(pause(first, 1, 0.5), first);
        assert_eq!(pause(first, 3, 0.5), first * 4);
        assert!(pause(first, 99, 1.0) <= PAUSE_MAX.mul_f64(1.25));
    }
}
