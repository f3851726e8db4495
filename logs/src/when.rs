//! Points in time as people write them. Pure: the present is passed in, and its time zone is the one in
//! which times without a zone are read.

use jiff::civil::{Date, DateTime, Time};
use jiff::{Timestamp, ToSpan as _, Zoned};

/// Why a time can't be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a time such as 10m ago, yesterday, 12:30, 2026-01-31 12:00 or 2026-01-31T12:00:00Z{why}"
)]
pub struct WhenError {
    why: String,
}

/// Longest text that is read, in bytes.
const TEXT_MAX: usize = 100;

/// Reads a time, as Unix microseconds. It takes `now`, `today`, `yesterday` and `tomorrow` (their midnight),
/// `10m ago`, `-10m` and `10m` (all the same), `1h30m`, `12:30` (today), a date, a date and time with or without
/// seconds, fractions and zone (ISO 8601), and Unix seconds (`1700000000`, `@1700000000.5`).
///
/// # Errors
/// Names the forms.
pub fn parse_when(text: &str, now: &Zoned) -> Result<u64, WhenError> {
    let found = if text.len() > TEXT_MAX { None } else { read(text.trim(), now) };
    let found = found.ok_or(WhenError { why: String::new() })?;
    u64::try_from(found.as_microsecond())
        .map_err(|_| WhenError { why: "; this one is before 1970".to_owned() })
}

fn read(text: &str, now: &Zoned) -> Option<Timestamp> {
    let lower = text.to_ascii_lowercase();
    let day = |days: i64| {
        let date = now.date().checked_add(days.days()).ok()?;
        local(date.to_datetime(Time::midnight()), now)
    };
    match lower.as_str() {
        "now" => return Some(now.timestamp()),
        "today" => return day(0),
        "yesterday" => return day(-1),
        "tomorrow" => return day(1),
        _ => {}
    }
    let number = lower.strip_prefix('@').unwrap_or(&lower);
    if lower.starts_with('@') || (number.len() >= 9 && number.bytes().all(|b| b.is_ascii_digit())) {
        return seconds(number);
    }
    ago(&lower, now).or_else(|| moment(text, now))
}

/// Unix seconds, with up to six digits behind the point.
fn seconds(text: &str) -> Option<Timestamp> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 6 {
        return None;
    }
    let micros: i64 = format!("{part:0<6}").parse().ok()?;
    let whole: i64 = whole.parse().ok()?;
    Timestamp::from_microsecond(whole.checked_mul(1_000_000)?.checked_add(micros)?).ok()
}

/// `10m`, `-10m`, `10 min ago`, `1h 30m ago`: that long before now.
fn ago(text: &str, now: &Zoned) -> Option<Timestamp> {
    let text = text.strip_suffix("ago").unwrap_or(text).trim();
    let mut rest = text.strip_prefix('-').unwrap_or(text).trim_start();
    if rest.is_empty() {
        return None;
    }
    let mut at = now.clone();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: i64 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].trim_start();
        let end = unit.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(unit.len());
        // A checked span: its units have limits, such as 19,998 years.
        let span = jiff::Span::new();
        let span = match &unit[..end] {
            "ms" | "msec" => span.try_milliseconds(count),
            "s" | "sec" | "secs" | "second" | "seconds" => span.try_seconds(count),
            "m" | "min" | "mins" | "minute" | "minutes" => span.try_minutes(count),
            "h" | "hr" | "hour" | "hours" => span.try_hours(count),
            "d" | "day" | "days" => span.try_days(count),
            "w" | "week" | "weeks" => span.try_weeks(count),
            "month" | "months" => span.try_months(count),
            "y" | "year" | "years" => span.try_years(count),
            _ => return None,
        };
        at = at.checked_sub(span.ok()?).ok()?;
        rest = unit[end..].trim_start_matches([' ', ',']);
    }
    Some(at.timestamp())
}

/// ISO 8601 with a zone, or a date, a time of today, or both as the clock of `now`'s zone shows it.
fn moment(text: &str, now: &Zoned) -> Option<Timestamp> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    if let Some(plain) = text.strip_suffix("UTC") {
        return format!("{}Z", plain.trim_end()).parse().ok();
    }
    // Without a zone: what a clock on the wall shows.
    if text.contains(':')
        && let Ok(time) = text.parse::<Time>()
    {
        return local(now.date().to_datetime(time), now);
    }
    if let Ok(at) = text.parse::<DateTime>() {
        return local(at, now);
    }
    let date: Date = text.parse().ok()?;
    local(date.to_datetime(Time::midnight()), now)
}

fn local(at: DateTime, now: &Zoned) -> Option<Timestamp> {
    Some(at.to_zoned(now.time_zone().clone()).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use jiff::tz::{Offset, TimeZone};
    use proptest::prelude::*;

    use super::*;

    /// 2026-11-21 12:00:00 at two hours east of UTC.
    fn now() -> Zoned {
        let zone = TimeZone::fixed(Offset::constant(2));
        "2026-11-21T10:00:00Z".parse::<Timestamp>().unwrap().to_zoned(zone)
    }

    fn utc(text: &str) -> String {
        let at = parse_when(text, &now()).unwrap_or_else(|error| panic!("{text}: {error}"));
        Timestamp::from_microsecond(at as i64).unwrap().to_string()
    }

    #[test]
    fn times_are_read_in_the_forms_that_people_write() {
        for (text, wanted) in [
            ("now", "2026-11-21T10:00:00Z"),
            ("10m ago", "2026-11-21T09:50:00Z"),
            ("10 min ago", "2026-11-21T09:50:00Z"),
            ("-1h", "2026-11-21T09:00:00Z"),
            ("1h30m", "2026-11-21T08:30:00Z"),
            ("1 hour 30 minutes ago", "2026-11-21T08:30:00Z"),
            ("2d", "2026-11-19T10:00:00Z"),
            ("1 week ago", "2026-11-14T10:00:00Z"),
            ("today", "2026-11-20T22:00:00Z"),
            ("Yesterday", "2026-11-19T22:00:00Z"),
            ("2026-11-21", "2026-11-20T22:00:00Z"),
            ("2026-11-21 12:00", "2026-11-21T10:00:00Z"),
            ("2026-11-21T12:00:01.5", "2026-11-21T10:00:01.5Z"),
            ("2026-11-21T12:00:00Z", "2026-11-21T12:00:00Z"),
            ("2026-11-21 12:00:00 UTC", "2026-11-21T12:00:00Z"),
            ("2026-11-21T12:00:00+05:00", "2026-11-21T07:00:00Z"),
            ("11:30", "2026-11-21T09:30:00Z"),
            ("1700000000", "2023-11-14T22:13:20Z"),
            ("@1700000000.25", "2023-11-14T22:13:20.25Z"),
        ] {
            assert_eq!(utc(text), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_the_forms() {
        for text in
            ["", "soon", "10", "10 parsecs ago", "2026-13-01", "-", "ago", "@", "@x", "1800-01-01"]
        {
            let error = parse_when(text, &now()).expect_err(text).to_string();
            assert!(error.contains("10m ago"), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<String>(), marks in "[-0-9@.:TZ hmdywago]{0,30}") {
            let _ = parse_when(&text, &now());
            let _ = parse_when(&marks, &now());
        }
    }
}
