//! Meter: what is counted of one instance's requests.
//!
//! Only atomics, in the instance itself: a request takes no lock and allocates nothing to be counted. Nothing
//! orders the counts among each other, so that a reader may see a request in one of them and not yet in another.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Bounds of a histogram's buckets beside the last one, which has none.
pub const BOUNDS: usize = 19;
/// Buckets of a histogram.
pub const BUCKETS: usize = BOUNDS + 1;
/// The first bound is 2^-12 s, a quarter of a millisecond; each further one is twice the one before, and the
/// last 64 s. They are bounds of Prometheus's native histograms too (schema 0), so that both can be merged.
const FIRST: u32 = 12;

/// Statuses that are counted one by one; what else an instance answers with counts by its class.
const SLOTS: usize = 16;

/// What nginx made the status of a request whose client went away before it was answered.
pub const CLIENT_GONE: u16 = 499;

/// The upper bound of a bucket, in seconds; none of the last.
#[must_use]
pub fn bound(bucket: usize) -> Option<f64> {
    (bucket < BOUNDS).then(|| 2f64.powi(bucket as i32 - FIRST as i32))
}

/// The bucket that a time falls into: the first whose bound it doesn't exceed.
#[must_use]
pub fn bucket(took: Duration) -> usize {
    // In units of the first bound, rounded up. No more than the last bound matters.
    let whole = took.as_secs().min(1 << 10) << FIRST;
    let rest = (u64::from(took.subsec_nanos()) << FIRST).div_ceil(1_000_000_000);
    match (whole + rest).saturating_sub(1) {
        0 => 0,
        less => (less.ilog2() as usize + 1).min(BOUNDS),
    }
}

/// A histogram of times.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_ns: AtomicU64,
}

impl Histogram {
    /// Counts one.
    pub fn record(&self, took: Duration) {
        self.buckets[bucket(took)].fetch_add(1, Relaxed);
        let ns = took.as_secs().saturating_mul(1_000_000_000) + u64::from(took.subsec_nanos());
        self.sum_ns.fetch_add(ns, Relaxed);
    }

    /// What was counted so far.
    #[must_use]
    pub fn read(&self) -> Spread {
        Spread {
            buckets: std::array::from_fn(|at| self.buckets[at].load(Relaxed)),
            sum_ns: self.sum_ns.load(Relaxed),
        }
    }
}

/// What a histogram has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spread {
    /// How many fell into each bucket.
    pub buckets: [u64; BUCKETS],
    /// All times together, in nanoseconds.
    pub sum_ns: u64,
}

impl Spread {
    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// What was counted since `before` was read.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            buckets: std::array::from_fn(|at| self.buckets[at].saturating_sub(before.buckets[at])),
            sum_ns: self.sum_ns.saturating_sub(before.sum_ns),
        }
    }

    /// Both together.
    pub fn add(&mut self, other: &Self) {
        for (own, more) in self.buckets.iter_mut().zip(other.buckets) {
            *own += more;
        }
        self.sum_ns += other.sum_ns;
    }
}

/// The time, in seconds, that `share` of those counted in `buckets` took at most: within a bucket they are taken
/// to lie evenly. None if there were none. What exceeds the last bound is as long as that.
#[must_use]
pub fn quantile(buckets: &[u64], share: f64) -> Option<f64> {
    let count: u64 = buckets.iter().sum();
    let rank = share * count as f64;
    let mut below = 0;
    for (at, here) in buckets.iter().enumerate().filter(|(_, here)| **here > 0) {
        if (below + here) as f64 >= rank {
            let low = at.checked_sub(1).and_then(bound).unwrap_or(0.0);
            let high = bound(at).unwrap_or(low);
            return Some(low + (high - low) * (rank - below as f64) / *here as f64);
        }
        below += here;
    }
    None
}

/// The counts of one instance.
#[derive(Debug, Default)]
pub struct Meter {
    statuses: [AtomicU16; SLOTS],
    counts: [AtomicU64; SLOTS],
    /// By first digit, of statuses that found no slot.
    classes: [AtomicU64; 10],
    took: Histogram,
    received: Arc<AtomicU64>,
    sent: AtomicU64,
}

impl Meter {
    /// Counts a request that was answered with `status`, `took` after it came.
    pub fn answered(&self, status: u16, took: Duration) {
        self.slot(status).fetch_add(1, Relaxed);
        self.took.record(took);
    }

    /// Where `status` is counted. An instance that always answers with the same finds it first.
    fn slot(&self, status: u16) -> &AtomicU64 {
        for (slot, count) in self.statuses.iter().zip(&self.counts) {
            let known = slot.load(Relaxed);
            if known == status {
                return count;
            }
            if known == 0 {
                match slot.compare_exchange(0, status, Relaxed, Relaxed) {
                    Ok(_) => return count,
                    // Somebody else took it just now, perhaps for the same.
                    Err(other) if other == status => return count,
                    Err(_) => {}
                }
            }
        }
        &self.classes[usize::from(status / 100).min(9)]
    }

    /// Counts bytes of an answer's body.
    pub fn sent(&self, bytes: u64) {
        if bytes > 0 {
            self.sent.fetch_add(bytes, Relaxed);
        }
    }

    /// Counts bytes that a client sent.
    pub fn took_in(&self, bytes: u64) {
        self.received.fetch_add(bytes, Relaxed);
    }

    /// Where bytes of requests' bodies are counted.
    #[must_use]
    pub fn received(&self) -> Arc<AtomicU64> {
        self.received.clone()
    }

    /// What was counted so far.
    #[must_use]
    pub fn read(&self) -> Reading {
        let statuses = self.statuses.iter().zip(&self.counts);
        let statuses = statuses.map(|(status, count)| (status.load(Relaxed), count.load(Relaxed)));
        let classes = self.classes.iter().enumerate();
        let classes = classes.map(|(digit, count)| (digit as u16, count.load(Relaxed)));
        Reading {
            // One that was claimed and not counted yet comes with the next reading.
            statuses: statuses.chain(classes).filter(|(_, count)| *count > 0).collect(),
            took: self.took.read(),
            received: self.received.load(Relaxed),
            sent: self.sent.load(Relaxed),
        }
    }
}

/// What a [`Meter`] has counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// Requests by status; a number below 10 is the first digit of rare ones.
    pub statuses: Vec<(u16, u64)>,
    /// How long they took.
    pub took: Spread,
    /// Bytes of requests' bodies.
    pub received: u64,
    /// Bytes of answers' bodies.
    pub sent: u64,
}

/// The first digit of a status, or of what stands for several.
#[must_use]
pub fn class(status: u16) -> u16 {
    if status < 10 { status } else { (status / 100).min(9) }
}

impl Reading {
    /// All requests.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.statuses.iter().map(|(_, count)| count).sum()
    }

    /// Those answered with a status of 500 or more.
    #[must_use]
    pub fn errors(&self) -> u64 {
        let errors = self.statuses.iter().filter(|(status, _)| class(*status) >= 5);
        errors.map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_falls_into_the_first_bucket_whose_bound_it_does_not_exceed() {
        for at in 0..BOUNDS {
            let edge = Duration::from_nanos((bound(at).unwrap() * 1e9) as u64);
            assert_eq!(bucket(edge), at, "{edge:?}");
            assert_eq!(bucket(edge + Duration::from_micros(1)), at + 1, "above {edge:?}");
        }
        assert_eq!((bucket(Duration::ZERO), bucket(Duration::MAX)), (0, BOUNDS));
        assert_eq!((bound(BOUNDS - 1), bound(BOUNDS)), (Some(64.0), None));
    }

    #[test]
    fn quantiles_lie_within_their_bucket() {
        assert_eq!(quantile(&[0; BUCKETS], 0.5), None);
        let histogram = Histogram::default();
        (0..99).for_each(|_| histogram.record(Duration::from_millis(3)));
        histogram.record(Duration::from_secs(100));
        let spread = histogram.read();
        assert_eq!(spread.count(), 100);
        let half = quantile(&spread.buckets, 0.5).unwrap();
        assert!((1.0 / 512.0..=1.0 / 256.0).contains(&half), "{half}");
        assert_eq!(quantile(&spread.buckets, 0.999), Some(64.0));
    }

    #[test]
    fn statuses_are_counted_one_by_one_and_rare_ones_by_their_class() {
        let meter = Meter::default();
        for status in 400..440 {
            meter.answered(status, Duration::from_millis(1));
        }
        meter.answered(503, Duration::from_millis(1));
        let reading = meter.read();
        assert_eq!((reading.requests(), reading.errors(), reading.took.count()), (41, 1, 41));
        assert_eq!(reading.statuses.len(), SLOTS + 2);
        assert!(reading.statuses.contains(&(4, 40 - SLOTS as u64)));
    }

    #[test]
    fn no_request_is_lost_when_many_threads_claim_slots_at_once() {
        let meter = Meter::default();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let meter = &meter;
                scope.spawn(move || {
                    (0..3000u16).for_each(|n| {
                        meter.answered(200 + (n + thread) % 30, Duration::from_micros(300));
                    });
                });
            }
        });
        let reading = meter.read();
        assert_eq!((reading.requests(), reading.took.count()), (24_000, 24_000));
        let mut seen: Vec<_> = reading.statuses.iter().map(|(status, _)| *status).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), reading.statuses.len(), "a status has two slots");
    }
}
