//! How many HTTP/2 frames that demand an answer a client may send.

use std::time::Duration;

use tokio::time::Instant;

use crate::framing::FrameMeter;

/// At once. A client that measures its bandwidth pings once per round trip, some hundred times in a row.
const BURST: u32 = 10_000;
/// What it gets back with each second. So many cost less than a thousandth of a core.
const A_SECOND: u32 = 1_000;

/// Counts the frames of one connection.
#[derive(Debug, Default)]
pub(super) struct Flood {
    meter: FrameMeter,
    spent: u32,
    /// Up to when frames were taken off `spent` again.
    since: Option<Instant>,
}

impl Flood {
    /// Takes in what the client sent; says whether it was too much.
    pub(super) fn is_one(&mut self, bytes: &[u8], now: Instant) -> bool {
        let frames = self.meter.feed(bytes);
        if frames == 0 {
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let forgiven =
            now.saturating_duration_since(since).as_millis() * u128::from(A_SECOND) / 1000;
        let forgiven = u32::try_from(forgiven).unwrap_or(u32::MAX);
        // In steps of whole frames, so that frequent small reads don't round the time away.
        self.since = Some(since + Duration::from_millis(1000 / u64::from(A_SECOND)) * forgiven);
        self.spent = self.spent.saturating_sub(forgiven).saturating_add(frames);
        self.spent > BURST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_pace_is_no_flood_and_a_burst_is_one() {
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let begin = Instant::now();
        let mut steady = Flood::default();
        steady.is_one(preface, begin);
        for n in 0..100_000 {
            assert!(!steady.is_one(&ping, begin + Duration::from_millis(n)), "the {n}th ping");
        }
        let mut burst = Flood::default();
        burst.is_one(preface, begin);
        let first = (0..20_000).find(|_| burst.is_one(&ping, begin));
        assert_eq!(first, Some(BURST as i32));
    }
}
