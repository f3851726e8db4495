//! Which backups are kept. Pure.

use jiff::civil::{Date, DateTime};

use crate::config::Keep;

/// Of backups made at `times` (of the host's clock, newest first), which are kept.
///
/// Each rule walks from the newest back and takes the last backup of each of its periods until it has as many as it
/// wants, as restic and borg do. Periods without a backup don't count, so that a host that was off for a month keeps
/// what it has. The newest is always kept.
#[must_use]
pub fn kept(times: &[DateTime], keep: Keep) -> Vec<bool> {
    let mut kept = vec![false; times.len()];
    let mut rule = |most: u32, period: fn(usize, DateTime) -> Period| {
        let mut last = None;
        let mut left = most;
        for (at, time) in times.iter().enumerate() {
            let period = Some(period(at, *time));
            if left > 0 && period != last {
                (kept[at], left, last) = (true, left - 1, period);
            }
        }
    };
    rule(keep.last.max(1), |at, _| Period::Each(at));
    rule(keep.daily, |_, time| Period::Day(time.date()));
    rule(keep.weekly, |_, time| {
        let week = time.date().iso_week_date();
        Period::Week(week.year(), week.week())
    });
    rule(keep.monthly, |_, time| Period::Month(time.year(), time.month()));
    rule(keep.yearly, |_, time| Period::Month(time.year(), 0));
    kept
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Period {
    Each(usize),
    Day(Date),
    Week(i16, i8),
    Month(i16, i8),
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;
    use proptest::prelude::*;

    use super::*;

    const NONE: Keep = Keep { last: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0 };

    fn at(text: &str) -> DateTime {
        text.parse().unwrap()
    }

    #[test]
    fn each_rule_keeps_the_last_of_its_periods() {
        let times = [
            "2026-03-02T15:00",
            "2026-03-02T03:00",
            "2026-03-01T03:00",
            "2026-02-28T03:00",
            "2026-02-20T03:00",
            "2026-01-31T03:00",
            "2025-12-31T03:00",
            "2024-12-31T03:00",
        ]
        .map(at);
        let which = |keep: Keep| {
            let kept = kept(&times, keep);
            kept.iter().map(|kept| if *kept { '#' } else { '.' }).collect::<String>()
        };
        assert_eq!(which(NONE), "#.......", "the newest is kept whatever the rules are");
        assert_eq!(which(Keep { last: 3, ..NONE }), "###.....");
        assert_eq!(which(Keep { daily: 3, ..NONE }), "#.##....");
        // 1 March 2026 is a Sunday: the week of 2 March has two, that before has two.
        assert_eq!(which(Keep { weekly: 3, ..NONE }), "#.#.#...");
        assert_eq!(which(Keep { monthly: 3, ..NONE }), "#..#.#..");
        assert_eq!(which(Keep { yearly: 9, ..NONE }), "#.....##");
        assert_eq!(which(Keep { last: 2, monthly: 2, ..NONE }), "##.#....");
        assert_eq!(which(Keep::ALL), "########");
    }

    proptest! {
        #[test]
        fn at_least_as_many_are_kept_as_any_rule_wants_and_never_more_than_all_want(
            hours in prop::collection::vec(1_i64..2000, 0..120),
            last in 0_u32..9, daily in 0_u32..9, weekly in 0_u32..9, monthly in 0_u32..9,
        ) {
            let mut time = at("2026-11-21T23:00");
            let times: Vec<DateTime> = hours.iter().map(|hours| {
                time = time.checked_sub(hours.hours()).unwrap();
                time
            }).collect();
            let keep = Keep { last, daily, weekly, monthly, yearly: 0 };
            let result = kept(&times, keep);
            let count = result.iter().filter(|kept| **kept).count();
            let days: std::collections::BTreeSet<_> = times.iter().map(|t| t.date()).collect();
            prop_assert!(count >= (last as usize).min(times.len()));
            prop_assert!(count >= (daily as usize).min(days.len()));
            prop_assert!(count <= (last.max(1) + daily + weekly + monthly) as usize);
            prop_assert!(times.is_empty() || result[0]);
            // What was deleted once would be deleted again: to keep twice is to keep once.
            let left: Vec<_> = times.iter().zip(&result).filter(|(_, k)| **k).map(|(t, _)| *t).collect();
            prop_assert!(kept(&left, keep).iter().all(|kept| *kept));
        }
    }
}
