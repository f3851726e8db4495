//! Memory pressure (PSI: Documentation/accounting/psi.rst of the kernel).
//!
//! Triggers (poll(2) on the file) need write access to it, which the unprivileged agent lacks; the
//! file's running total of stalled time, read once in a while, says the same.

use std::time::Duration;

/// Microseconds in which some task waited for memory, since the boot: `total=` of the line `some`.
#[must_use]
pub fn stalled_us(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with("some "))?;
    line.split_ascii_whitespace().find_map(|word| word.strip_prefix("total="))?.parse().ok()
}

/// Share of the time, in percent, that makes a stall pressure.
const PRESSURE_PERCENT: u64 = 15;

/// Tells from two readings whether there is pressure.
#[derive(Debug, Default)]
pub struct Gauge(Option<u64>);

impl Gauge {
    /// Takes a reading of [`stalled_us`], `since` the one before, and says whether some task waited
    /// for memory for at least 15 % of that time.
    pub fn read(&mut self, stalled_us: u64, since: Duration) -> bool {
        let before = self.0.replace(stalled_us);
        let window = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        let Some(stalled) = before.and_then(|before| stalled_us.checked_sub(before)) else {
            return false;
        };
        window > 0 && stalled.saturating_mul(100) >= window.saturating_mul(PRESSURE_PERCENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_some_is_read_and_nothing_else() {
        let text = "some avg10=1.50 avg60=0.00 avg300=0.00 total=12345\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!(stalled_us(text), Some(12345));
        assert_eq!(stalled_us("full avg10=0.00 total=7\n"), None);
        assert_eq!(stalled_us(""), None);
    }

    #[test]
    fn a_seventh_of_the_time_is_pressure_and_the_first_reading_is_none() {
        let (mut gauge, second) = (Gauge::default(), Duration::from_secs(1));
        assert!(!gauge.read(9_000_000, second), "a total since the boot says nothing of now");
        assert!(!gauge.read(9_149_999, second));
        assert!(gauge.read(9_299_999, second));
        assert!(!gauge.read(9_299_999, second), "it ended");
        assert!(!gauge.read(0, second), "the file is another one");
    }
}
