//! Times of the clock: `hourly`, `daily`, `03:30`, `Mon,Thu 03:30`, `monthly`, `*-*-15 03:30`.

use std::fmt;
use std::str::FromStr;

/// What to write.
pub(super) const FIX: &str = "write \"hourly\", \"daily\", \"weekly\", \"monthly\", \"03:30\", \"Mon,Thu 03:30\" or \
     \"*-*-15 03:30\", or every = \"6h\"";

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
/// Every day of the week.
const ALL: u8 = 0b111_1111;

/// Minutes that repeat. A part of what systemd.time(7) knows as OnCalendar, in the host's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calendar {
    /// Days of the week, Monday the lowest bit.
    pub days: u8,
    /// The day of the month; none: all.
    pub day: Option<i8>,
    /// The hour; none: all.
    pub hour: Option<i8>,
    /// The minute.
    pub minute: i8,
}

impl Calendar {
    /// Whether it has a time on a day: of the week (0 = Monday) and of the month.
    #[must_use]
    pub fn has_day(&self, weekday: i8, day: i8) -> bool {
        self.days & (1 << weekday) != 0 && self.day.is_none_or(|one| one == day)
    }
}

impl FromStr for Calendar {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let daily = Self { days: ALL, day: None, hour: Some(0), minute: 0 };
        match text {
            "hourly" => return Ok(Self { hour: None, ..daily }),
            "daily" => return Ok(daily),
            "weekly" => return Ok(Self { days: 1, ..daily }),
            "monthly" => return Ok(Self { day: Some(1), ..daily }),
            _ => {}
        }
        let mut words: Vec<&str> = text.split_whitespace().collect();
        let refuse = || format!("`{}` is not a time of the clock", text.escape_default());
        let time = words.pop().ok_or_else(refuse)?;
        let (hour, minute) = clock(time).ok_or_else(refuse)?;
        let mut found = Self { hour, minute, ..daily };
        match words.as_slice() {
            [] => {}
            [date] if date.starts_with("*-*-") => {
                let day: i8 = date["*-*-".len()..].parse().map_err(|_| refuse())?;
                // The 29th to 31st are not in every month, and a month without a backup is not meant.
                if !(1..=28).contains(&day) {
                    return Err("the day of the month must be from 1 to 28".into());
                }
                found.day = Some(day);
            }
            [days] => found.days = weekdays(days).ok_or_else(refuse)?,
            _ => return Err(refuse()),
        }
        Ok(found)
    }
}

/// `03:30`, or `*:30`, which is every hour.
fn clock(text: &str) -> Option<(Option<i8>, i8)> {
    let (hour, minute) = text.split_once(':')?;
    let two = |text: &str, end: i8| {
        let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|n| digits && *n < end)
    };
    let hour = if hour == "*" { None } else { Some(two(hour, 24)?) };
    Some((hour, two(minute, 60)?))
}

/// `Mon`, `Mon,Thu` or `Mon..Fri`.
fn weekdays(text: &str) -> Option<u8> {
    let one = |name: &str| DAYS.iter().position(|day| *day == name);
    text.split(',').try_fold(0, |days, part| {
        let (first, last) = part.split_once("..").unwrap_or((part, part));
        let (first, last) = (one(first)?, one(last)?);
        (first <= last).then(|| (first..=last).fold(days, |days, day| days | 1 << day))
    })
}

impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = DAYS
            .iter()
            .enumerate()
            .filter(|(at, _)| self.days & (1 << at) != 0)
            .map(|(_, name)| *name)
            .collect();
        match (self.day, self.hour) {
            (Some(day), _) => write!(f, "*-*-{day:02} ")?,
            (None, _) if self.days != ALL => write!(f, "{} ", names.join(","))?,
            (None, None) => f.write_str("hourly ")?,
            (None, Some(_)) => f.write_str("daily ")?,
        }
        match self.hour {
            Some(hour) => write!(f, "{hour:02}:{:02}", self.minute),
            None => write!(f, "*:{:02}", self.minute),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_people_and_systemd_write_them() {
        let shown = |text: &str| text.parse::<Calendar>().map(|c| c.to_string());
        for (text, meant) in [
            ("hourly", "hourly *:00"),
            ("*:15", "hourly *:15"),
            ("daily", "daily 00:00"),
            ("03:30", "daily 03:30"),
            ("weekly", "Mon 00:00"),
            ("Mon,Thu 03:30", "Mon,Thu 03:30"),
            ("Mon..Wed,Sun 03:30", "Mon,Tue,Wed,Sun 03:30"),
            ("monthly", "*-*-01 00:00"),
            ("*-*-15 03:30", "*-*-15 03:30"),
        ] {
            assert_eq!(shown(text).as_deref(), Ok(meant), "{text}");
        }
        for bad in [
            "",
            "often",
            "3:30",
            "24:00",
            "03:60",
            "Mon",
            "Fri..Mon 03:30",
            "*-*-31 03:30",
            "*-*-0 03:30",
            "a b 03:30",
            "+3:30",
            "mon 03:30",
        ] {
            assert!(shown(bad).is_err(), "{bad:?} was taken");
        }
    }
}
