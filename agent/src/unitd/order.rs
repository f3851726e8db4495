//! One-off commands that callers send, checked. Pure, so that it can be fuzzed.
//!
//! This is the one place where a caller's words become a command. It runs as the instance that it names, which the
//! caller could have run anything as before only by way of that instance's own program: see `docs/SECURITY.md`.

use std::time::Duration;

use tenement_wire::TaskTag;

use crate::plan::TaskOrder;
use crate::systemd::Stdio;
use crate::units::UnitsError;

/// Tag, words, variables, microseconds: `(sasa(ss)t)`.
pub(super) type Command = (String, Vec<String>, Vec<(String, String)>, u64);

/// Signals that may be sent: those of a terminal, and those that programs take as words.
const SIGNALS: [i32; 10] = [1, 2, 3, 9, 10, 12, 15, 18, 20, 28];

/// A command, from the bus.
pub(super) fn order(command: Command) -> Result<TaskOrder, UnitsError> {
    let (tag, argv, env, timeout_us) = command;
    let timeout = Duration::from_micros(timeout_us);
    TaskOrder::new(tag_of(&tag)?, argv, env, timeout).map_err(UnitsError::Refused)
}

/// The tag of a one-off unit that callers may name: those of scheduled jobs come from the config alone.
pub(super) fn tag_of(text: &str) -> Result<TaskTag, UnitsError> {
    let tag = TaskTag::new(text).map_err(|error| UnitsError::Refused(error.to_string()))?;
    match tag.job() {
        None => Ok(tag),
        Some(_) => Err(UnitsError::Refused("scheduled jobs come from the config".into())),
    }
}

/// A scheduled job, by its name in the config.
pub(super) fn job(name: &str) -> Result<TaskTag, UnitsError> {
    TaskTag::cron(name).map_err(|error| UnitsError::Refused(error.to_string()))
}

/// Scheduled jobs that may be loaded.
pub(super) fn jobs(names: &[String]) -> Result<Vec<TaskTag>, UnitsError> {
    /// More than any config has.
    const MAX: usize = 100;
    if names.len() > MAX {
        return Err(UnitsError::Refused(format!("no instance has more than {MAX} jobs")));
    }
    names.iter().map(|name| job(name)).collect()
}

/// The standard streams: none, a terminal, or three.
pub(super) fn stdio(streams: Vec<zbus::OwnedFd>) -> Result<Stdio, UnitsError> {
    let mut streams = streams.into_iter().map(std::os::fd::OwnedFd::from);
    match (streams.next(), streams.next(), streams.next(), streams.next()) {
        (None, ..) => Ok(Stdio::Log),
        (Some(terminal), None, ..) => Ok(Stdio::Terminal(terminal)),
        (Some(input), Some(output), Some(errors), None) => {
            Ok(Stdio::Handed([input, output, errors]))
        }
        _ => Err(UnitsError::Refused("a command takes no, one or three descriptors".into())),
    }
}

/// The number of a signal.
pub(super) fn signal(number: i32) -> Result<i32, UnitsError> {
    match SIGNALS.contains(&number) {
        true => Ok(number),
        false => Err(UnitsError::Refused(format!("signal {number} is not sent to commands"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_a_label_and_no_scheduled_job_and_a_signal_one_that_means_something() {
        for tag in ["", "cron-nightly", "a.b", "a@b", "Run", "x/y"] {
            let command = (tag.to_owned(), vec!["sh".to_owned()], Vec::new(), 60_000_000);
            assert!(matches!(order(command), Err(UnitsError::Refused(_))), "{tag:?}");
        }
        assert!([1, 2, 15, 9, 28].into_iter().all(|number| signal(number).is_ok()));
        assert!([0, -1, 4, 11, 19, 64, i32::MAX].into_iter().all(|number| signal(number).is_err()));
    }
}
