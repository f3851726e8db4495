//! The idle decision, pure.

use std::time::Duration;

/// What to do with a running instance now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It has been idle long enough.
    Sleep,
    /// It may be idle long enough after this time.
    Wait(Duration),
    /// Something holds it awake; its end will be told.
    InUse,
    /// It never sleeps.
    Never,
}

/// Decides from the time now and of the last use (milliseconds of one clock), the leases, and
/// `idle_timeout` (`None` = never).
#[must_use]
pub fn decide(now_ms: u64, last_used_ms: u64, leases: u32, timeout: Option<Duration>) -> Verdict {
    let Some(timeout) = timeout else { return Verdict::Never };
    if leases > 0 {
        return Verdict::InUse;
    }
    let idle = Duration::from_millis(now_ms.saturating_sub(last_used_ms));
    match timeout.checked_sub(idle) {
        None | Some(Duration::ZERO) => Verdict::Sleep,
        Some(left) => Verdict::Wait(left),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_unused_sleep_and_only_after_their_time() {
        let five = Some(Duration::from_secs(5));
        assert_eq!(decide(10_000, 5_000, 0, five), Verdict::Sleep);
        assert_eq!(decide(9_999, 5_000, 0, five), Verdict::Wait(Duration::from_millis(1)));
        assert_eq!(decide(99_000, 5_000, 1, five), Verdict::InUse);
        assert_eq!(decide(99_000, 5_000, 0, None), Verdict::Never);
        assert_eq!(decide(5_000, 9_000, 0, five), Verdict::Wait(Duration::from_secs(5)));
    }
}
