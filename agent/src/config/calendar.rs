//! Calendar expressions of systemd.time(7), checked as far as text alone tells: their form, and that each number is
//! in its range. Whether a time zone exists, and whether a date ever comes (`*-02-30`), systemd says when it makes
//! the timer.

/// The longest expression.
const LENGTH_MAX: usize = 200;

const SHORTHANDS: [&str; 10] = [
    "minutely",
    "hourly",
    "daily",
    "weekly",
    "monthly",
    "quarterly",
    "semiannually",
    "semi-annually",
    "yearly",
    "annually",
];

const DAYS: [&str; 7] =
    ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// Why `text` is no calendar expression; continues a sentence that begins with it.
pub(super) fn fault(text: &str) -> Option<String> {
    if text.len() > LENGTH_MAX {
        return Some(format!("is longer than {LENGTH_MAX} characters"));
    }
    if !text.is_ascii() || text.contains(|c: char| c.is_control()) {
        return Some("holds a character that no schedule has".into());
    }
    let mut words: Vec<&str> = text.split_ascii_whitespace().collect();
    if words.last().is_some_and(|word| is_zone(word)) {
        words.pop();
    }
    match words.as_slice() {
        [] => Some("is empty".into()),
        [word] if SHORTHANDS.contains(&word.to_ascii_lowercase().as_str()) => None,
        words => parts(words).err(),
    }
}

/// `UTC`, `Europe/Berlin`: nothing else of an expression begins with a capital and holds no weekday.
fn is_zone(word: &str) -> bool {
    let named = word.starts_with(|c: char| c.is_ascii_uppercase())
        && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_+-".contains(&b));
    let shorthand = SHORTHANDS.contains(&word.to_ascii_lowercase().as_str());
    named && !shorthand && weekdays(word).is_err()
}

/// `[weekdays] [date] [time]`, in this order.
fn parts(words: &[&str]) -> Result<(), String> {
    let mut rest = words;
    if let [first, more @ ..] = rest
        && first.starts_with(|c: char| c.is_ascii_alphabetic())
    {
        weekdays(first)?;
        rest = more;
    }
    if let [first, more @ ..] = rest
        && !first.contains(':')
    {
        date(first)?;
        rest = more;
    }
    if let [first, more @ ..] = rest {
        time(first)?;
        rest = more;
    }
    match rest {
        [] => Ok(()),
        [word, ..] => Err(format!("has `{word}` where nothing more is expected")),
    }
}

fn weekdays(word: &str) -> Result<(), String> {
    let day = |name: &str| {
        let name = name.to_ascii_lowercase();
        let known = DAYS.iter().any(|day| *day == name || day[..3] == name);
        if known { Ok(()) } else { Err(format!("has `{word}`, which is no day of the week")) }
    };
    let list = word.trim_end_matches(',');
    for part in list.split(',') {
        match part.split_once("..").or_else(|| part.split_once('-')) {
            Some((from, to)) => day(from).and_then(|()| day(to))?,
            None => day(part)?,
        }
    }
    Ok(())
}

/// `year-month-day` or `month-day`; `~` before the day counts from the end of the month.
fn date(word: &str) -> Result<(), String> {
    let wrong = || format!("has `{word}`, which is no date such as *-*-01");
    let (front, day) = match word.rsplit_once(['-', '~']) {
        Some((front, day)) if !front.is_empty() => (front, day),
        _ => return Err(wrong()),
    };
    let (year, month) = match front.split_once('-') {
        Some((year, month)) => (Some(year), month),
        None => (None, front),
    };
    if let Some(year) = year {
        component(year, 1970, 2199, "year")?;
    }
    component(month, 1, 12, "month")?;
    component(day, 1, 31, "day")
}

/// `hour:minute` or `hour:minute:second`.
fn time(word: &str) -> Result<(), String> {
    let parts: Vec<&str> = word.split(':').collect();
    let [hour, minute, more @ ..] = parts.as_slice() else {
        return Err(format!("has `{word}`, which is no time such as 03:00:00"));
    };
    component(hour, 0, 23, "hour")?;
    component(minute, 0, 59, "minute")?;
    match more {
        [] => Ok(()),
        [second] => {
            let whole =
                |part: &str| part.split_once('.').map_or(part, |(whole, _)| whole).to_owned();
            let second: Vec<String> = second
                .split(',')
                .map(|part| match part.split_once('/') {
                    Some((start, step)) => format!("{}/{}", whole(start), whole(step)),
                    None => whole(part),
                })
                .collect();
            component(&second.join(","), 0, 59, "second")
        }
        _ => Err(format!("has `{word}`, which has too many parts for a time")),
    }
}

/// A list of numbers, ranges and `*`, each with a step if one is wanted.
fn component(text: &str, low: u32, high: u32, what: &str) -> Result<(), String> {
    let wrong = || format!("has `{text}` where a {what} from {low} to {high} is expected");
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number: Option<u32> = text.parse().ok().filter(|_| digits);
        number.filter(|n| (low..=high).contains(n)).ok_or_else(wrong)
    };
    for part in text.split(',') {
        let (start, step) = match part.split_once('/') {
            Some((start, step)) => (start, Some(step)),
            None => (part, None),
        };
        if let Some(step) = step
            && !step.parse::<u32>().is_ok_and(|step| step > 0)
        {
            return Err(wrong());
        }
        match start.split_once("..") {
            _ if start == "*" => {}
            Some((from, to)) => {
                if number(from)? > number(to)? {
                    return Err(wrong());
                }
            }
            None => drop(number(start)?),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemd_takes_is_taken() {
        for good in [
            "*-*-* 03:00:00",
            "daily",
            "Weekly",
            "hourly UTC",
            "Mon..Fri 08:30",
            "Mon,Wed *-*-* 10:00",
            "Sat,Mon..Thu,Sun 00:00",
            "*:0/5",
            "*-*~1 23:59",
            "*-02~03",
            "2026-01-01",
            "01-01",
            "*-*-1..7 18:00",
            "Sun 2026-*-* 17:15 Europe/Berlin",
            "*-*-* 00/2:00",
            "*:*:0/30",
            "*-1,7-1 4:00",
            "03:00 America/Argentina/Buenos_Aires",
            "*:*:00.5",
            "Monday 10:00 UTC",
        ] {
            assert_eq!(fault(good), None, "{good}");
        }
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_its_part() {
        for (bad, part) in [
            ("", "empty"),
            ("3 * * * *", "`3`"),
            ("25:00", "`25`"),
            ("10:60", "`60`"),
            ("*-13-01", "`13`"),
            ("*-*-32", "`32`"),
            ("Foo 10:00", "`Foo`"),
            ("10:00:00:00", "too many"),
            ("*:0/0", "`0/0`"),
            ("10:00 11:00", "`11:00`"),
            ("every day", "`every`"),
            ("*-*-* 3", "`3`"),
            ("*-*-7..1", "`7..1`"),
            ("1:2\n3", "character"),
            ("@daily", "`@daily`"),
        ] {
            let why = fault(bad).unwrap_or_else(|| panic!("{bad:?} was taken"));
            assert!(why.contains(part), "{bad:?}: {why}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[*0-9:./,~ A-Za-z-]{0,40}|.{0,20}") {
            let _ = fault(&text);
        }
    }
}
