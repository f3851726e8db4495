//! How instances of a process cool down while nobody uses them.

use std::time::Duration;

use super::node::{Fields, Node};
use super::problems::Problems;
use super::quantity;
use super::settings::set;

/// The keys of a process and of `[settings.defaults]`.
pub(super) const KEYS: [&str; 7] = [
    "reclaim_after",
    "freeze_after",
    "park",
    "stop_after",
    "dormant_after",
    "min_running",
    "keep_warm",
];

/// How many instances of a process are parked rather than stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Park {
    /// As many as the host's memory bears; see `flows`.
    Auto,
    /// The N most recently used; 0 = none.
    Most(u32),
}

/// A time of the week in which instances are kept running, in the host's local time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarmWindow {
    /// Days, Monday first.
    pub days: [bool; 7],
    /// Minute of the day at which it begins.
    pub from: u16,
    /// Minute of the day at which it ends; smaller than `from` if it ends on the next day.
    pub to: u16,
}

/// The tiers of a process. `idle_timeout` (running to stopped, or parked) is beside it in the
/// definition, for it is older.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tiers {
    /// Idleness until its memory is reclaimed; `None` = never.
    pub reclaim_after: Option<Duration>,
    /// Idleness until it is frozen; `None` = never.
    pub freeze_after: Option<Duration>,
    /// How many are parked when they sleep.
    pub park: Park,
    /// Idleness until one that is parked is stopped; `None` = when others are parked in its place.
    pub stop_after: Option<Duration>,
    /// Time asleep until its units are unloaded; `None` = only when `loaded_max` is exceeded.
    pub dormant_after: Option<Duration>,
    /// How many of its instances, the most recently used, never go below running.
    pub min_running: u32,
    /// When all of its instances are kept running.
    pub keep_warm: Vec<WarmWindow>,
}

impl Default for Tiers {
    fn default() -> Self {
        Self {
            reclaim_after: None,
            freeze_after: None,
            park: Park::Auto,
            stop_after: None,
            dormant_after: None,
            min_running: 0,
            keep_warm: Vec::new(),
        }
    }
}

impl Tiers {
    /// These, with what `fields` says instead.
    pub(super) fn overridden(mut self, fields: &Fields, problems: &mut Problems) -> Self {
        for (key, slot) in [
            ("reclaim_after", &mut self.reclaim_after),
            ("freeze_after", &mut self.freeze_after),
            ("stop_after", &mut self.stop_after),
            ("dormant_after", &mut self.dormant_after),
        ] {
            let read = |node: &Node, problems: &mut Problems| {
                quantity::duration(node, Duration::ZERO, problems)
                    .map(|after| (!after.is_zero()).then_some(after))
            };
            set(fields, key, slot, problems, read);
        }
        set(fields, "park", &mut self.park, problems, park);
        set(fields, "min_running", &mut self.min_running, problems, |node, problems| {
            node.integer(0, 10_000, problems).and_then(|n| u32::try_from(n).ok())
        });
        set(fields, "keep_warm", &mut self.keep_warm, problems, keep_warm);
        self
    }
}

fn park(node: &Node, problems: &mut Problems) -> Option<Park> {
    if let toml::de::DeValue::String(text) = node.value {
        if *text == "auto" {
            return Some(Park::Auto);
        }
        let fix = "write \"auto\", or how many: park = 20";
        problems.add(&node.at, format!("`park` can't be `{text}`"), fix);
        return None;
    }
    node.integer(0, 100_000, problems).and_then(|n| u32::try_from(n).ok()).map(Park::Most)
}

fn keep_warm(node: &Node, problems: &mut Problems) -> Option<Vec<WarmWindow>> {
    let texts = node.strings(true, "\"Mon..Fri 08:00-18:00\"", problems);
    let mut windows = Vec::with_capacity(texts.len());
    for text in texts {
        match window(&text.value) {
            Some(window) => windows.push(window),
            None => {
                let message = format!("`{}` is not a time of the week", text.value);
                let fix = "write days and hours, such as \"Mon..Fri 08:00-18:00\" or \"Sat,Sun 10:00-12:00\"";
                problems.add(&text.at, message, fix);
            }
        }
    }
    Some(windows)
}

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// Reads `Mon..Fri 08:00-18:00`, in the words of systemd.time(7) for days; days may be left out.
fn window(text: &str) -> Option<WarmWindow> {
    let (days, hours) = text.trim().rsplit_once(' ').unwrap_or(("Mon..Sun", text.trim()));
    let day = |word: &str| DAYS.iter().position(|day| day.eq_ignore_ascii_case(word.trim()));
    let mut chosen = [false; 7];
    for part in days.split(',') {
        match part.split_once("..") {
            Some((first, last)) => {
                let (first, last) = (day(first)?, day(last)?);
                let count = (last + 7 - first) % 7;
                (0..=count).for_each(|n| chosen[(first + n) % 7] = true);
            }
            None => chosen[day(part)?] = true,
        }
    }
    let (from, to) = hours.split_once('-')?;
    let (from, to) = (minute(from)?, minute(to)?);
    (from != to && from < 1440).then_some(WarmWindow { days: chosen, from, to })
}

fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let two = |text: &str| (text.len() == 2).then(|| text.parse::<u16>().ok()).flatten();
    let (hour, minute) = (two(hour)?, two(minute)?);
    let total = hour * 60 + minute;
    (minute < 60 && total <= 1440).then_some(total)
}

impl WarmWindow {
    /// Whether `minute` (of the day, from 0) of `day` (0 = Monday) lies within.
    #[must_use]
    pub fn contains(&self, day: usize, minute: u16) -> bool {
        if self.from < self.to {
            return self.days[day % 7] && (self.from..self.to).contains(&minute);
        }
        let yesterday = self.days[(day + 6) % 7];
        (self.days[day % 7] && minute >= self.from) || (yesterday && minute < self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_read_as_people_write_them() {
        let week = window("Mon..Fri 08:00-18:00").unwrap();
        assert!(week.contains(0, 480) && week.contains(4, 1079));
        assert!(!week.contains(0, 479) && !week.contains(4, 1080) && !week.contains(5, 600));
        let night = window("Sat,Sun 22:00-02:00").unwrap();
        assert!(night.contains(5, 1320) && night.contains(6, 60) && night.contains(0, 119));
        assert!(!night.contains(0, 1320) && !night.contains(5, 60));
        assert_eq!(window("00:00-24:00").unwrap().days, [true; 7]);
        for bad in ["", "Mon", "08:00", "Mon..Xyz 08:00-09:00", "Mon 8:00-9:00", "25:00-26:00"] {
            assert_eq!(window(bad), None, "{bad:?} was taken");
        }
    }
}
