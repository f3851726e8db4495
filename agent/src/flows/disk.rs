//! The size of an instance's data, and its limit.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What was measured of one instance's data; all in bytes on disk.
#[derive(Debug, Default)]
pub struct Disk {
    max: AtomicU64,
    used: AtomicU64,
    full: AtomicBool,
    /// Whether it ran since its data was last measured.
    due: AtomicBool,
}

impl Disk {
    /// Takes a new limit. What was measured holds against it as well.
    pub fn limit(&self, max: Option<u64>) {
        self.max.store(max.unwrap_or(0), Ordering::Relaxed);
        self.judge();
    }

    /// The largest size of its data, if there is a limit.
    #[must_use]
    pub fn max(&self) -> Option<u64> {
        Some(self.max.load(Ordering::Relaxed)).filter(|max| *max > 0)
    }

    /// The size of its data when it was last measured.
    #[must_use]
    pub fn used(&self) -> Option<u64> {
        Some(self.used.load(Ordering::Relaxed)).filter(|used| *used > 0)
    }

    /// Notes the size of its data and says whether it has reached its limit.
    pub fn measured(&self, used: u64) -> bool {
        self.used.store(used, Ordering::Relaxed);
        self.judge()
    }

    /// Notes that it stops: what it wrote last is yet to be measured.
    pub fn slept(&self) {
        self.due.store(true, Ordering::Relaxed);
    }

    /// Whether it stopped since this was last asked.
    pub fn take_due(&self) -> bool {
        self.due.swap(false, Ordering::Relaxed)
    }

    /// Whether its data has reached its limit.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    fn judge(&self) -> bool {
        let used = self.used.load(Ordering::Relaxed);
        let full = self.max().is_some_and(|max| used >= max);
        self.full.store(full, Ordering::Relaxed);
        full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_full_until_the_limit_is_raised_or_data_deleted() {
        let disk = Disk::default();
        disk.limit(Some(1 << 20));
        assert!(!disk.measured((1 << 20) - 1) && !disk.is_full());
        assert!(disk.measured(1 << 20) && disk.is_full());
        disk.limit(Some(2 << 20));
        assert!(!disk.is_full());
        assert!(disk.measured(3 << 20));
        assert!(!disk.measured(1) && !disk.is_full());
        disk.limit(None);
        assert!(!disk.measured(1 << 40), "there is no limit");
    }
}
