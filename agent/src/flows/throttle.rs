//! Throttle: requests in flight and requests per second of one instance.
//!
//! Both are off unless `requests_max` or `request_rate` is set, and cost one look at the setup then. It
//! refuses before anything is woken, so that a flood of requests keeps nothing busy but the proxy.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tenement_wire::{Limit, ResourceLimits};

use super::Instance;
use super::instance::mono_us;

/// What an instance's limits say of its requests; 0 = no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestLimits {
    /// In flight.
    pub max: u32,
    /// Per second, in bursts of as many.
    pub rate: u32,
}

impl RequestLimits {
    /// Those of an instance whose limits in force are `limits`.
    #[must_use]
    pub fn of(limits: &ResourceLimits) -> Self {
        let number = |limit| limits.get(limit).map_or(0, |n| u32::try_from(n).unwrap_or(u32::MAX));
        Self { max: number(Limit::RequestsMax), rate: number(Limit::RequestRate) }
    }

    fn is_off(self) -> bool {
        self == Self::default()
    }
}

/// Why a request may not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// As many as `requests_max` are in flight.
    Busy,
    /// More came than `request_rate`; one more is let in after this time.
    TooFast(Duration),
    /// Its data has reached `disk_max`.
    DiskFull,
}

/// The counts of one instance.
#[derive(Debug, Default)]
pub struct Throttle {
    in_flight: AtomicU32,
    /// Generic cell rate algorithm (ITU-T I.371, Annex A): when the next request is due if all come
    /// evenly, in microseconds of [`mono_us`]. One word is the whole token bucket.
    due_us: AtomicU64,
}

impl Throttle {
    fn pass(&self, now_us: u64, rate: u32) -> Result<(), Refusal> {
        let gap = 1_000_000 / u64::from(rate.max(1));
        // A full bucket holds one second's worth of requests.
        let slack = gap * u64::from(rate.saturating_sub(1));
        let mut due = self.due_us.load(Ordering::Relaxed);
        loop {
            let early = due.saturating_sub(now_us);
            if early > slack {
                return Err(Refusal::TooFast(Duration::from_micros(early - slack)));
            }
            let next = due.max(now_us) + gap;
            match self.due_us.compare_exchange_weak(due, next, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return Ok(()),
                Err(now) => due = now,
            }
        }
    }

    fn enter(&self, max: u32) -> Result<(), Refusal> {
        if self.in_flight.fetch_add(1, Ordering::AcqRel) < max {
            return Ok(());
        }
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
        Err(Refusal::Busy)
    }
}

/// One admitted request, until dropped.
#[derive(Debug)]
pub struct Turn(Option<Arc<Instance>>);

impl Turn {
    /// Admits a request to `instance`.
    ///
    /// # Errors
    /// [`Refusal`] if a limit of its requests is reached.
    pub fn take(instance: &Arc<Instance>) -> Result<Self, Refusal> {
        if instance.disk.is_full() {
            return Err(Refusal::DiskFull);
        }
        let limits = instance.setup().requests;
        if limits.is_off() {
            return Ok(Self(None));
        }
        if limits.max > 0 {
            instance.throttle.enter(limits.max)?;
        }
        // Made before the rate is looked at: dropping it takes back what was counted.
        let turn = Self((limits.max > 0).then(|| instance.clone()));
        if limits.rate > 0 {
            instance.throttle.pass(mono_us(), limits.rate)?;
        }
        Ok(turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(instance) = &self.0 {
            instance.throttle.in_flight.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_one_by_one() {
        let throttle = Throttle::default();
        let start = 5_000_000;
        for n in 0..10 {
            assert_eq!(throttle.pass(start, 10), Ok(()), "request {n} of the burst");
        }
        let Err(Refusal::TooFast(wait)) = throttle.pass(start, 10) else {
            panic!("an 11th passed")
        };
        assert_eq!(wait, Duration::from_millis(100));
        assert_eq!(throttle.pass(start + 100_000, 10), Ok(()));
        assert!(throttle.pass(start + 150_000, 10).is_err());
        // A second of rest fills the bucket, and no more than that.
        for n in 0..10 {
            assert_eq!(throttle.pass(start + 9_000_000, 10), Ok(()), "request {n} after a rest");
        }
        assert!(throttle.pass(start + 9_000_000, 10).is_err());
    }

    #[test]
    fn as_many_as_allowed_are_in_flight() {
        let throttle = Throttle::default();
        assert_eq!((throttle.enter(2), throttle.enter(2)), (Ok(()), Ok(())));
        assert_eq!(throttle.enter(2), Err(Refusal::Busy));
        throttle.in_flight.fetch_sub(1, Ordering::AcqRel);
        assert_eq!(throttle.enter(2), Ok(()));
    }
}
