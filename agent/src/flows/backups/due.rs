//! When the next backup is due. Pure: told the time and the time zone.

use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use crate::config::{BackupPlan, Calendar, When};

/// The pause after the first failure, which doubles with each, and the longest.
const RETRY: Duration = Duration::from_secs(300);
const RETRY_MAX: Duration = Duration::from_secs(6 * 3600);
/// What backups are spread over at most unless the config says otherwise.
const JITTER_MAX: Duration = Duration::from_secs(3600);
/// Days that are looked at for the next time of the clock: a month has one of each.
const DAYS: i32 = 62;

/// What is known of an instance's backups.
#[derive(Debug, Clone, Copy)]
pub struct Past {
    /// When the last good one was begun or, without one, when the instance was registered; Unix milliseconds.
    pub since_ms: u64,
    /// When the last try failed, if none was good since.
    pub failed_ms: Option<u64>,
    /// Tries that failed since.
    pub failures: u32,
    /// Where in the jitter it is: from 0 to 1, always the same for an instance.
    pub place: f64,
}

/// When the next backup is due, in Unix milliseconds; `None` without a schedule. One that is in the past is due now,
/// once, however many were missed.
#[must_use]
pub fn due(plan: &BackupPlan, past: Past, zone: &TimeZone) -> Option<u64> {
    let scheduled = match plan.when.as_ref()? {
        When::Every(pause) => {
            // Spread once is spread for good: each begins so long after its own last one.
            past.since_ms + ms(*pause)
        }
        When::At(calendar) => {
            next(calendar, past.since_ms, zone)? + spread(plan, past.place, calendar)
        }
    };
    let again = past.failed_ms.map(|at| at + ms(pause(past.failures)));
    Some(again.map_or(scheduled, |again| scheduled.max(again)))
}

fn pause(failures: u32) -> Duration {
    let doubled = 1_u32 << failures.saturating_sub(1).min(16);
    RETRY.saturating_mul(doubled).min(RETRY_MAX)
}

/// How long after its time an instance's turn is.
fn spread(plan: &BackupPlan, place: f64, calendar: &Calendar) -> u64 {
    let between = Duration::from_secs(if calendar.hour.is_none() { 3600 } else { 86_400 });
    let over = plan.jitter.unwrap_or((between / 10).min(JITTER_MAX));
    ms(over.mul_f64(place.clamp(0.0, 1.0)))
}

/// The first time of `calendar` after `after_ms`.
fn next(calendar: &Calendar, after_ms: u64, zone: &TimeZone) -> Option<u64> {
    let after = Timestamp::from_millisecond(i64::try_from(after_ms).ok()?).ok()?;
    let mut day = after.to_zoned(zone.clone()).date();
    for _ in 0..DAYS {
        if calendar.has_day(day.weekday().to_monday_zero_offset(), day.day())
            && let Some(found) = on(calendar, day, after, zone)
        {
            return u64::try_from(found.as_millisecond()).ok();
        }
        day = day.checked_add(1.day()).ok()?;
    }
    None
}

fn on(calendar: &Calendar, day: Date, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let hours = match calendar.hour {
        Some(hour) => hour..=hour,
        None => 0..=23,
    };
    // A time that a change of the clock skips is an hour later that day.
    let times = hours.filter_map(|hour| {
        let time = day.at(hour, calendar.minute, 0, 0);
        Some(time.to_zoned(zone.clone()).ok()?.timestamp())
    });
    times.filter(|time| *time > after).min()
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    fn unix(text: &str) -> u64 {
        u64::try_from(text.parse::<Timestamp>().unwrap().as_millisecond()).unwrap()
    }

    fn past(since: &str, place: f64) -> Past {
        Past { since_ms: unix(since), failed_ms: None, failures: 0, place }
    }

    fn plan(schedule: &str) -> BackupPlan {
        BackupPlan { when: Some(When::At(schedule.parse().unwrap())), ..BackupPlan::default() }
    }

    #[test]
    fn the_next_one_is_the_first_time_after_the_last_one() {
        let zone = TimeZone::UTC;
        for (schedule, since, next) in [
            ("03:30", "2026-11-21T03:00:00Z", "2026-11-21T03:30:00Z"),
            ("03:30", "2026-11-21T03:30:00Z", "2026-11-22T03:30:00Z"),
            ("hourly", "2026-11-21T03:00:01Z", "2026-11-21T04:00:00Z"),
            ("weekly", "2026-11-21T03:00:00Z", "2026-11-23T00:00:00Z"),
            ("Sat 12:00", "2026-11-21T03:00:00Z", "2026-11-21T12:00:00Z"),
            ("monthly", "2026-11-21T03:00:00Z", "2026-12-01T00:00:00Z"),
            ("*-*-21 04:00", "2026-11-21T05:00:00Z", "2026-12-21T04:00:00Z"),
        ] {
            let due = due(&plan(schedule), past(since, 0.0), &zone);
            assert_eq!(due, Some(unix(next)), "{schedule} after {since}");
        }
        assert_eq!(due(&BackupPlan::default(), past("2026-11-21T03:00:00Z", 0.0), &zone), None);
    }

    #[test]
    fn instances_are_spread_and_what_was_missed_is_made_up_for_once() {
        let zone = TimeZone::UTC;
        let since = "2026-11-21T00:00:00Z";
        let daily = plan("daily");
        let times: Vec<u64> = (0..1000)
            .map(|n| due(&daily, past(since, f64::from(n) / 1000.0), &zone).unwrap())
            .collect();
        let first = unix("2026-11-22T00:00:00Z");
        assert!(times.iter().all(|time| (first..=first + HOUR).contains(time)));
        let busiest = (0..60).map(|minute| {
            let (from, to) = (first + minute * 60_000, first + (minute + 1) * 60_000);
            times.iter().filter(|time| (from..to).contains(time)).count()
        });
        assert!(busiest.max().unwrap() <= 20, "they begin together");
        // After a week without the agent: one time in the past, so one backup, and then the next day's.
        let late = due(&daily, past(since, 0.0), &zone).unwrap();
        assert!(late < unix("2026-11-28T12:00:00Z"));
        let then = due(&daily, past("2026-11-28T12:00:00Z", 0.0), &zone).unwrap();
        assert_eq!(then, unix("2026-11-29T00:00:00Z"));
    }

    #[test]
    fn a_failure_is_tried_again_ever_more_seldom() {
        let zone = TimeZone::UTC;
        let since = "2026-11-21T00:00:00Z";
        let at = unix("2026-11-22T00:00:00Z");
        let failed = |failures| {
            let past = Past { failed_ms: Some(at), failures, ..past(since, 0.0) };
            due(&plan("daily"), past, &zone).unwrap() - at
        };
        assert_eq!([failed(1), failed(2), failed(3)].map(|ms| ms / 60_000), [5, 10, 20]);
        assert_eq!(failed(40), 6 * HOUR);
    }

    #[test]
    fn a_change_of_the_clock_skips_no_day() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        // 02:30 does not exist on 29 March 2026.
        let due = due(&plan("02:30"), past("2026-03-28T12:00:00Z", 0.0), &zone).unwrap();
        assert_eq!(due, unix("2026-03-29T01:30:00Z"));
    }
}
