//! `--timeout`.

use std::str::FromStr;
use std::time::Duration;

/// The longest: as long as a command may run.
const MAX_S: u64 = tenement_wire::tasks::TIMEOUT_MAX_S;

/// A time in seconds, or with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience(pub u64);

impl Patience {
    /// For the agent's answer, where nothing was said.
    pub const DEFAULT: Self = Self(180);

    /// As a duration.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl FromStr for Patience {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "write seconds, or a number and s, m, h or d: 30, 90s, 1h; 7d at most";
        let digits = text.trim_end_matches(|c: char| c.is_ascii_lowercase());
        let unit = match &text[digits.len()..] {
            "" | "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return Err(WRONG),
        };
        // A sign is no part of a number here.
        let whole = digits.bytes().all(|byte| byte.is_ascii_digit());
        let number: Option<u64> = digits.parse().ok().filter(|_| whole);
        let seconds = number.and_then(|number| number.checked_mul(unit));
        seconds.filter(|s| (1..=MAX_S).contains(s)).map(Self).ok_or(WRONG)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_seconds_or_has_a_unit_and_an_end() {
        let seconds = |text: &str| text.parse::<Patience>().map(|patience| patience.0).ok();
        assert_eq!(seconds("30"), Some(30));
        assert_eq!(
            (seconds("90s"), seconds("1h"), seconds("7d")),
            (Some(90), Some(3600), Some(604_800))
        );
        for bad in ["", "0", "-1", "+1", "1x", "h", "8d", "1h30m", "99999999999999999999"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }
}
