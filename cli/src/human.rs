//! Times and sizes as people read them.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now, in Unix milliseconds.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

/// `3m ago`, as seen from `now`. A time in the future (two clocks) counts as now.
pub fn ago(now: u64, then: u64) -> String {
    match now.saturating_sub(then) / 1000 {
        0 => "just now".to_owned(),
        s => format!("{} ago", span(s)),
    }
}

/// `2026-01-31 12:00:05Z`.
pub fn utc(ms: u64) -> String {
    let seconds = ms / 1000;
    let (days, rest) = ((seconds / 86_400) as i64, seconds % 86_400);
    // Days since 0000-03-01 in eras of 400 years: leap days fall at the end of such a year.
    let z = days + 719_468;
    let (era, day_of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let (month, day) = ((shifted + 2) % 12 + 1, day_of_year - (153 * shifted + 2) / 5 + 1);
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}Z")
}

/// Seconds in their largest fitting unit, rounded down: `45s`, `3m`, `5h`, `12d`.
pub fn span(seconds: u64) -> String {
    match seconds {
        s if s < 60 => format!("{s}s"),
        s if s < 3600 => format!("{}m", s / 60),
        s if s < 86_400 => format!("{}h", s / 3600),
        s => format!("{}d", s / 86_400),
    }
}

/// Seconds exactly, as the config writes them: `90s`, `5m`, `never` for 0.
pub fn setting(seconds: u64) -> String {
    match seconds {
        0 => "never".to_owned(),
        s if s % 3600 == 0 => format!("{}h", s / 3600),
        s if s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

/// Bytes in binary units, with one decimal below ten: `512 B`, `9.5 MiB`, `210 MiB`.
pub fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = 0;
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = usize::from(unit > 0 && value < 10.0);
    format!("{value:.decimals$} {}", UNITS[unit])
}

/// Milliseconds with the digits that matter: `0.8 ms`, `42 ms`, `3.2 s`.
pub fn millis(ms: f64) -> String {
    match ms {
        ms if ms >= 1000.0 => format!("{:.1} s", ms / 1000.0),
        ms if ms >= 10.0 => format!("{ms:.0} ms"),
        ms => format!("{ms:.1} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_the_largest_unit_that_fits() {
        assert_eq!(ago(10_000, 9_500), "just now");
        assert_eq!(ago(200_000, 20_000), "3m ago");
        assert_eq!(ago(5, 50), "just now");
        assert_eq!(span(7200), "2h");
        assert_eq!(span(200_000), "2d");
        assert_eq!(setting(0), "never");
        assert_eq!(setting(90), "90s");
        assert_eq!(setting(300), "5m");
    }

    #[test]
    fn dates_are_right_over_leap_years_and_centuries() {
        assert_eq!(utc(0), "1970-01-01 00:00:00Z");
        assert_eq!(utc(951_782_400_000), "2000-02-29 00:00:00Z");
        assert_eq!(utc(1_709_251_199_000), "2024-02-29 23:59:59Z");
        assert_eq!(utc(4_107_542_400_000), "2100-03-01 00:00:00Z");
    }

    #[test]
    fn sizes_keep_two_digits() {
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(10_000_000), "9.5 MiB");
        assert_eq!(bytes(220_000_000), "210 MiB");
        assert_eq!(millis(0.84), "0.8 ms");
        assert_eq!(millis(41.7), "42 ms");
        assert_eq!(millis(3210.0), "3.2 s");
    }
}
