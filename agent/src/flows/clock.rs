//! The two clocks of the flows.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Now, in Unix milliseconds, for people.
#[must_use]
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

/// Milliseconds on a clock that never jumps, from 1 at the first call: idleness must not follow a
/// wall clock that is set.
#[must_use]
pub fn mono_ms() -> u64 {
    mono_us() / 1000 + 1
}

/// The same clock in microseconds.
#[must_use]
pub fn mono_us() -> u64 {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    ORIGIN.get_or_init(Instant::now).elapsed().as_micros() as u64
}
