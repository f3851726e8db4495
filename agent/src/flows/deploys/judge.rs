//! Judging a canary, pure: two shares of the requests side by side, and how a step goes.
//!
//! ```text
//! each second: what was counted since the step began, and of the last half minute ─► judge ─► go on · take back
//! the time of the step is over ─► enough requests? ─► next step · twice the time ─► next step
//! ```
//! The last half minute is judged too, for after hours of good answers a break would change the sum too late.

use std::collections::VecDeque;
use std::time::Duration;

use tenement_wire::deploys::ShareView;

use crate::config::Deploy;
use crate::flows::metrics::meter::{BUCKETS, Reading, Spread, bound, bucket, quantile};

/// So many requests are enough when all of them failed.
const OBVIOUS: u64 = 5;
/// Latencies that differ by less say nothing.
const NOISE: Duration = Duration::from_millis(5);
/// So many requests at least must have been slow: one may have woken the instance.
const SLOW: u64 = 3;
/// Seconds that are judged apart from the whole step.
const RECENT: usize = 30;

/// What was counted of requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    /// Requests.
    pub requests: u64,
    /// Those with a status of 500 or more, or that were not answered.
    pub errors: u64,
    /// How long they took.
    pub took: Spread,
}

impl Share {
    /// Takes in what an instance's meter says.
    pub fn add(&mut self, reading: &Reading) {
        self.requests += reading.requests();
        self.errors += reading.errors();
        self.took.add(&reading.took);
    }

    /// What was counted since `before`. A meter may have begun anew.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(before.requests),
            errors: self.errors.saturating_sub(before.errors),
            took: self.took.since(&before.took),
        }
    }

    fn percent(&self) -> f64 {
        self.errors as f64 * 100.0 / self.requests.max(1) as f64
    }

    /// What 95 of 100 took at most, in milliseconds.
    fn p95_ms(&self) -> Option<f64> {
        quantile(&self.took.buckets, 0.95).map(|seconds| seconds * 1e3)
    }

    /// How many took longer than `limit`, to the next bound of a bucket.
    fn slower_than(&self, limit: Duration) -> u64 {
        let at = bucket(limit).min(BUCKETS - 1);
        // Those of its own bucket count if most of it lies above.
        let low = at.checked_sub(1).and_then(bound).unwrap_or(0.0);
        let high = bound(at).unwrap_or(low * 2.0);
        let own = limit.as_secs_f64() <= low + (high - low) / 2.0;
        self.took.buckets[at + usize::from(!own && at + 1 < BUCKETS)..].iter().sum()
    }

    /// As the API tells it.
    #[must_use]
    pub fn view(&self) -> ShareView {
        let round = |number: f64| (number * 100.0).round() / 100.0;
        ShareView {
            requests: self.requests,
            errors: self.errors,
            error_percent: round(self.percent()),
            p95_ms: self.p95_ms().map(round),
        }
    }
}

/// The canary's share and that of the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Of the instance of the new release.
    pub canary: Share,
    /// Of all others of the process.
    pub others: Share,
}

impl Numbers {
    /// What was counted since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            canary: self.canary.since(&before.canary),
            others: self.others.since(&before.others),
        }
    }
}

/// What they say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing against the canary.
    Good,
    /// Too few requests to say.
    Unclear,
    /// It is worse than the others: how.
    Bad(String),
}

/// What the config says of judging.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Requests to the canary before it is judged.
    pub requests: u64,
    /// Percentage points that its share of errors may be above that of the others.
    pub errors: u32,
    /// Per cent of the others' p95 that its own may reach.
    pub latency: u32,
}

impl From<&Deploy> for Rules {
    fn from(deploy: &Deploy) -> Self {
        Self {
            requests: deploy.canary_requests.into(),
            errors: deploy.canary_errors,
            latency: deploy.canary_latency,
        }
    }
}

/// Whether the canary does worse than the others.
#[must_use]
pub fn judge(numbers: &Numbers, rules: &Rules) -> Verdict {
    let Numbers { canary, others } = numbers;
    let (own, theirs) = (canary.percent(), others.percent());
    let all_failed = canary.requests >= OBVIOUS && canary.errors == canary.requests;
    let enough = canary.requests >= rules.requests;
    if (enough || all_failed) && own > theirs + f64::from(rules.errors) {
        return Verdict::Bad(format!(
            "{own:.1} % errors ({} of {} requests), the others {theirs:.1} % ({} of {})",
            canary.errors, canary.requests, others.errors, others.requests
        ));
    }
    if !enough {
        return Verdict::Unclear;
    }
    if others.requests >= rules.requests
        && let (Some(own), Some(theirs)) = (canary.p95_ms(), others.p95_ms())
    {
        let limit =
            (theirs * f64::from(rules.latency) / 100.0).max(theirs + NOISE.as_secs_f64() * 1e3);
        let slow = canary.slower_than(Duration::from_secs_f64(limit / 1e3));
        if own > limit && slow >= SLOW {
            return Verdict::Bad(format!(
                "95 % of its requests took up to {own:.1} ms, those of the others {theirs:.1} ms"
            ));
        }
    }
    Verdict::Good
}

/// What happens after a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The step goes on.
    On,
    /// It is over, in these words.
    Over(String),
    /// The canary is taken back: why.
    Back(String),
}

/// One step of a canary.
#[derive(Debug)]
pub struct Step {
    rules: Rules,
    lasts: Duration,
    elapsed: Duration,
    before: Numbers,
    recent: VecDeque<Numbers>,
}

impl Step {
    /// A step that lasts so long, of which some may be over: what was counted in it `before`.
    #[must_use]
    pub fn new(rules: Rules, lasts: Duration, elapsed: Duration, before: Numbers) -> Self {
        Self { rules, lasts, elapsed, before, recent: VecDeque::new() }
    }

    /// How long it has lasted.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// A look after `passed` more time; `now`: all that was counted so far. Also tells what was counted within
    /// the step.
    pub fn look(&mut self, passed: Duration, now: Numbers) -> (Numbers, Next) {
        self.elapsed += passed;
        let whole = now.since(&self.before);
        let oldest = self.recent.front().copied().unwrap_or(self.before);
        self.recent.push_back(now);
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        let verdict = judge(&whole, &self.rules);
        for verdict in [&verdict, &judge(&now.since(&oldest), &self.rules)] {
            if let Verdict::Bad(why) = verdict {
                return (whole, Next::Back(why.clone()));
            }
        }
        let next = match verdict {
            _ if self.elapsed < self.lasts => Next::On,
            Verdict::Unclear if self.elapsed < self.lasts * 2 => Next::On,
            Verdict::Unclear => Next::Over(format!(
                "passed with {} requests, too few to judge, after twice its time",
                whole.canary.requests
            )),
            _ => Next::Over("passed".into()),
        };
        (whole, next)
    }
}

#[cfg(test)]
mod tests;
