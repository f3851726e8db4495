//! What health checks and crashes mean, pure: thresholds to states, restarts to a verdict.
//!
//! ```text
//! starting ─ good ─► healthy ─ bad ─► degraded ─ bad × unhealthy_threshold ─► unhealthy ─ restart ─► starting
//!                       ▲──────────────── good × healthy_threshold ───────────────┘
//! any crash or restart beyond max_restarts within restart_window ─► failed, until `ten reset`
//! ```

use std::time::Duration;

use crate::config::Supervision;

/// How an instance is, by its health checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Health {
    /// It has not been healthy since its service came up.
    Starting = 0,
    /// Its last checks were good.
    Healthy = 1,
    /// Its last check was bad, but it is not unhealthy yet.
    Degraded = 2,
    /// It is to be restarted.
    Unhealthy = 3,
}

impl Health {
    pub(super) fn from_u8(value: u8) -> Self {
        match value {
            1 => Self::Healthy,
            2 => Self::Degraded,
            3 => Self::Unhealthy,
            _ => Self::Starting,
        }
    }
}

/// One instance's way through the states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Track {
    /// Where it is.
    pub health: Health,
    good: u32,
    bad: u32,
}

impl Track {
    /// A service that has just come up, or that this agent has not checked yet.
    #[must_use]
    pub fn new(health: Health) -> Self {
        Self { health, good: 0, bad: 0 }
    }

    /// Takes in one check.
    pub fn take(&mut self, good: bool, rules: &Supervision) -> Health {
        if good {
            (self.good, self.bad) = (self.good.saturating_add(1), 0);
        } else {
            (self.good, self.bad) = (0, self.bad.saturating_add(1));
        }
        self.health = match self.health {
            _ if self.bad >= rules.unhealthy_threshold => Health::Unhealthy,
            _ if self.good >= rules.healthy_threshold => Health::Healthy,
            Health::Healthy if self.bad > 0 => Health::Degraded,
            same => same,
        };
        self.health
    }
}

/// What to do with an instance that has just crashed or become unhealthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Start it again after this long.
    Restart(Duration),
    /// It has failed for good.
    GiveUp,
}

/// Crashes and restarts of the last `restart_window`, in milliseconds of one clock.
#[derive(Debug, Clone, Default)]
pub struct Restarts(Vec<u64>);

/// The longest pause before a restart.
const PAUSE_MAX: Duration = Duration::from_secs(60);

impl Restarts {
    /// What one more means.
    pub fn verdict(&mut self, now_ms: u64, rules: &Supervision) -> Verdict {
        let window = u64::try_from(rules.restart_window.as_millis()).unwrap_or(u64::MAX);
        self.0.retain(|at| now_ms.saturating_sub(*at) < window);
        if self.0.len() >= rules.max_restarts as usize {
            return Verdict::GiveUp;
        }
        let doubled = 1_u64 << self.0.len().min(6);
        Verdict::Restart(Duration::from_secs(doubled).min(PAUSE_MAX))
    }

    /// Counts one. The list is short: [`Self::verdict`] gives up at `max_restarts`.
    pub fn add(&mut self, now_ms: u64) {
        self.0.push(now_ms);
    }

    /// How many there were within the window when it was last looked at.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// When instances are checked: each at its own place within the interval, so that many that began
/// together are not checked together, and off by up to a tenth each time, so that they don't fall
/// into step later.
#[derive(Debug, Clone)]
pub struct Beat(u64);

impl Beat {
    /// The beat of one instance; `seed` is its own, `salt` differs from start to start.
    #[must_use]
    pub fn new(seed: u128, salt: u64) -> (Self, u64) {
        let place = mix((seed >> 64) as u64 ^ seed as u64);
        (Self(mix(place ^ salt) | 1), place)
    }

    /// Time to the first check: `place` is that of [`Self::new`].
    #[must_use]
    pub fn first(place: u64, interval: Duration) -> Duration {
        interval.mul_f64(fraction(place)).max(Duration::from_millis(1))
    }

    /// Time to the next one.
    pub fn next(&mut self, interval: Duration) -> Duration {
        // xorshift64 (Marsaglia 2003).
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        interval.mul_f64(0.9 + 0.2 * fraction(self.0))
    }
}

/// From 0 up to 1.
fn fraction(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// The finalizer of SplitMix64: every bit of the result depends on every bit of `x`.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Supervision {
        Supervision { healthy_threshold: 2, ..Supervision::default() }
    }

    fn walk(from: Health, checks: &str) -> Health {
        let mut track = Track::new(from);
        for check in checks.chars() {
            track.take(check == '+', &rules());
        }
        track.health
    }

    #[test]
    fn thresholds_lead_from_state_to_state() {
        for (from, checks, to) in [
            (Health::Starting, "+", Health::Starting),
            (Health::Starting, "-+", Health::Starting),
            (Health::Starting, "++", Health::Healthy),
            (Health::Starting, "---", Health::Unhealthy),
            (Health::Healthy, "-", Health::Degraded),
            (Health::Healthy, "--", Health::Degraded),
            (Health::Healthy, "-+", Health::Degraded),
            (Health::Healthy, "-++", Health::Healthy),
            (Health::Healthy, "--+--+--", Health::Degraded),
            (Health::Healthy, "---", Health::Unhealthy),
            (Health::Healthy, "---+", Health::Unhealthy),
            (Health::Healthy, "---++", Health::Healthy),
        ] {
            assert_eq!(walk(from, checks), to, "{from:?} {checks}");
        }
    }

    #[test]
    fn the_pause_doubles_up_to_a_minute_and_the_cap_ends_it() {
        let rules = Supervision { max_restarts: 8, ..Supervision::default() };
        let mut restarts = Restarts::default();
        let mut pauses = Vec::new();
        while let Verdict::Restart(pause) = restarts.verdict(1_000, &rules) {
            pauses.push(pause.as_secs());
            restarts.add(1_000);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn what_lies_beyond_the_window_is_forgotten() {
        let rules = Supervision { max_restarts: 1, ..Supervision::default() };
        let mut restarts = Restarts::default();
        restarts.add(0);
        assert_eq!(restarts.verdict(299_999, &rules), Verdict::GiveUp);
        assert_eq!(restarts.verdict(300_000, &rules), Verdict::Restart(Duration::from_secs(1)));
        let never = Supervision { max_restarts: 0, ..rules };
        assert_eq!(Restarts::default().verdict(0, &never), Verdict::GiveUp);
    }

    #[test]
    fn a_thousand_instances_that_began_together_are_checked_evenly_over_the_interval() {
        let interval = Duration::from_secs(10);
        let mut slots = [0_u32; 100];
        let mut check = |at: Duration| slots[(at.as_millis() / 100 % 100) as usize] += 1;
        for n in 0..1_000_u128 {
            // UUIDs of version 4 are random; these are the worst case.
            let (mut beat, place) = Beat::new(n, 7);
            let mut at = Beat::first(place, interval);
            assert!(at <= interval);
            for _ in 0..10 {
                check(at);
                let pause = beat.next(interval);
                assert!((9..=11).contains(&pause.as_secs()) && pause <= interval.mul_f64(1.1));
                at += pause;
            }
        }
        // 10 of 1,000 in each tenth of a second on average, so 100 over the ten rounds.
        assert!(slots.iter().all(|n| (50..150).contains(n)), "{slots:?}");
    }
}
