//! Waiting for a condition, with a bound, and the pace of a load: the only place where a test sleeps.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Looks until `look` finds what it wants (`Ok`), and fails with the last thing it saw (`Err`).
///
/// # Panics
/// When `bound` passes; the message names what was waited for and the last state seen.
pub fn until<T, E: Debug>(
    what: &str,
    bound: Duration,
    mut look: impl FnMut() -> Result<T, E>,
) -> T {
    let deadline = Instant::now() + bound;
    let mut pause = Duration::from_millis(2);
    loop {
        match look() {
            Ok(found) => return found,
            Err(last) if Instant::now() >= deadline => {
                panic!("not within {bound:?}: {what}; last seen: {last:?}")
            }
            Err(_) => std::thread::sleep(pause),
        }
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// Waits until `due`: the pace of a load is part of what is tested, not a wait for it.
pub fn pace_until(due: Instant) {
    std::thread::sleep(due.saturating_duration_since(Instant::now()));
}
