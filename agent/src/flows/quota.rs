//! Limits that the agent enforces itself: requests in flight, requests per second, disk size. The proxy
//! asks once per request; where nothing is set that is one load of an atomic.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tenement_wire::{Limit, ResourceLimits};

use super::instance::mono_ms;

/// Why a request is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// As many requests as it may have are in flight.
    InFlight,
    /// It had as many requests as it may have in this time.
    Rate(Duration),
    /// Its data directory is as large as it may be.
    DiskFull,
}

/// The limits of one instance and how far they are used.
#[derive(Debug, Default)]
pub struct Quota {
    /// Whether anything below can refuse a request.
    any: AtomicBool,
    requests_max: AtomicU32,
    request_rate: AtomicU32,
    /// When the bucket is full again, in microseconds of the clock of [`mono_ms`] (the "generic cell
    /// rate algorithm": a token bucket in one word).
    full_at_us: AtomicU64,
    disk_max: AtomicU64,
    disk_used: AtomicU64,
    disk_full: AtomicBool,
    /// Whether it ran since its data was last measured.
    disk_due: AtomicBool,
}

impl Quota {
    /// Takes new limits.
    pub fn set(&self, limits: &ResourceLimits) {
        let small = |limit| u32::try_from(limits.get(limit).unwrap_or(0)).unwrap_or(u32::MAX);
        self.requests_max.store(small(Limit::RequestsMax), Ordering::Relaxed);
        self.request_rate.store(small(Limit::RequestRate), Ordering::Relaxed);
        self.disk_max.store(limits.get(Limit::DiskMax).unwrap_or(0), Ordering::Relaxed);
        // What was measured holds against the new limit as well.
        self.judge();
    }

    /// The largest size of its data, if there is a limit.
    #[must_use]
    pub fn disk_max(&self) -> Option<u64> {
        Some(self.disk_max.load(Ordering::Relaxed)).filter(|max| *max > 0)
    }

    /// The size of its data when it was last measured.
    #[must_use]
    pub fn disk_used(&self) -> Option<u64> {
        Some(self.disk_used.load(Ordering::Relaxed)).filter(|used| *used > 0)
    }

    /// Notes the size of its data and says whether it has reached its limit.
    pub fn measured(&self, used: u64) -> bool {
        self.disk_used.store(used, Ordering::Relaxed);
        self.judge()
    }

    /// Notes that it stops: what it wrote last is yet to be measured.
    pub fn slept(&self) {
        self.disk_due.store(true, Ordering::Relaxed);
    }

    /// Whether it stopped since this was last asked.
    pub fn take_due(&self) -> bool {
        self.disk_due.swap(false, Ordering::Relaxed)
    }

    fn judge(&self) -> bool {
        let used = self.disk_used.load(Ordering::Relaxed);
        let full = self.disk_max().is_some_and(|max| used >= max);
        self.disk_full.store(full, Ordering::Relaxed);
        let counts = self.requests_max.load(Ordering::Relaxed) > 0
            || self.request_rate.load(Ordering::Relaxed) > 0;
        self.any.store(full || counts, Ordering::Release);
        full
    }

    /// Whether its data has reached its limit.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        self.disk_full.load(Ordering::Relaxed)
    }

    /// Whether one more request may come while `in_flight` others are open.
    ///
    /// # Errors
    /// Why not.
    #[inline]
    pub fn admit(&self, in_flight: u32) -> Result<(), Refusal> {
        if !self.any.load(Ordering::Acquire) {
            return Ok(());
        }
        if self.is_disk_full() {
            return Err(Refusal::DiskFull);
        }
        self.room(in_flight.saturating_add(1))?;
        match self.request_rate.load(Ordering::Relaxed) {
            0 => Ok(()),
            rate => self.take_token(u64::from(rate), mono_ms() * 1_000),
        }
    }

    /// Whether `in_flight` requests may be open.
    ///
    /// # Errors
    /// [`Refusal::InFlight`].
    #[inline]
    pub fn room(&self, in_flight: u32) -> Result<(), Refusal> {
        let max = self.requests_max.load(Ordering::Relaxed);
        if max > 0 && in_flight > max { Err(Refusal::InFlight) } else { Ok(()) }
    }

    /// Takes one of the tokens, of which `rate` come per second and at most `rate` are kept.
    fn take_token(&self, rate: u64, now_us: u64) -> Result<(), Refusal> {
        let (each, burst) = (1_000_000 / rate, 1_000_000);
        let mut full_at = self.full_at_us.load(Ordering::Relaxed);
        loop {
            let next = full_at.max(now_us) + each.max(1);
            if next > now_us + burst {
                return Err(Refusal::Rate(Duration::from_micros(next - now_us - burst)));
            }
            match self.full_at_us.compare_exchange_weak(
                full_at,
                next,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(()),
                Err(now) => full_at = now,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(pairs: &[(&'static str, u64)]) -> Quota {
        let quota = Quota::default();
        quota.set(&ResourceLimits::from_pairs(pairs.iter().copied()).unwrap());
        quota
    }

    #[test]
    fn a_bucket_lets_a_burst_through_and_then_the_rate() {
        let quota = quota(&[("request_rate", 10)]);
        let taken = |at: u64| (0..100).take_while(|_| quota.take_token(10, at).is_ok()).count();
        assert_eq!(taken(5_000_000), 10);
        assert_eq!(taken(5_300_000), 3);
        assert_eq!(taken(5_350_000), 0);
        let Err(Refusal::Rate(after)) = quota.take_token(10, 5_350_000) else { panic!("taken") };
        assert_eq!(after, Duration::from_millis(50));
        assert_eq!(taken(60_000_000), 10, "tokens beyond one second's are not kept");
    }

    #[test]
    fn requests_in_flight_are_counted_with_the_new_one() {
        let quota = quota(&[("requests_max", 2)]);
        assert_eq!((quota.admit(0), quota.admit(1)), (Ok(()), Ok(())));
        assert_eq!(quota.admit(2), Err(Refusal::InFlight));
        quota.set(&ResourceLimits::new());
        assert_eq!(quota.admit(1_000_000), Ok(()));
    }

    #[test]
    fn full_data_refuses_until_the_limit_is_raised_or_data_deleted() {
        let quota = quota(&[("disk_max", 1 << 20)]);
        assert!(!quota.measured((1 << 20) - 1));
        assert_eq!(quota.admit(0), Ok(()));
        assert!(quota.measured(1 << 20));
        assert_eq!(quota.admit(0), Err(Refusal::DiskFull));
        let more = ResourceLimits::from_pairs([("disk_max", 2 << 20)]).unwrap();
        quota.set(&more);
        assert_eq!(quota.admit(0), Ok(()));
        assert!(quota.measured(3 << 20));
        assert!(!quota.measured(1));
        assert_eq!(quota.admit(0), Ok(()));
    }
}
