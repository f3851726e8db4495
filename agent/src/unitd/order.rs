//! One-off commands that callers send, checked. Pure, so that it can be fuzzed.
//!
//! This is the one place where a caller's words become a command. It runs as the instance that it names, which the
//! caller could have run anything as before only by way of that instance's own program: see `docs/SECURITY.md`.

use std::time::Duration;

use tenement_wire::TaskTag;
use tenement_wire::tasks::{
    ARGV_BYTES_MAX, ARGV_MAX, ENV_BYTES_MAX, ENV_MAX, TIMEOUT_MAX_S, bad_word,
};

use crate::plan::{TaskOrder, bad_variable, is_control};
use crate::systemd::Stdio;
use crate::units::UnitsError;

/// Tag, words, variables, microseconds: `(sasa(ss)t)`.
pub(super) type Command = (String, Vec<String>, Vec<(String, String)>, u64);

/// Signals that may be sent: those of a terminal, and those that programs take as words.
const SIGNALS: [i32; 10] = [1, 2, 3, 9, 10, 12, 15, 18, 20, 28];

/// A command, from the bus.
pub(super) fn order(command: Command) -> Result<TaskOrder, UnitsError> {
    let (tag, argv, env, timeout_us) = command;
    let refuse = |why: String| Err(UnitsError::Refused(why));
    let tag = tag_of(&tag)?;
    if argv.first().is_none_or(String::is_empty) {
        return refuse("a command needs a program".into());
    }
    let bytes: usize = argv.iter().map(String::len).sum();
    if argv.len() > ARGV_MAX || bytes > ARGV_BYTES_MAX {
        return refuse(format!(
            "a command has {ARGV_MAX} words and {ARGV_BYTES_MAX} bytes at most"
        ));
    }
    if let Some(why) = argv.iter().find_map(|word| bad_word(word)) {
        return refuse(why.into());
    }
    if argv[0].contains(is_control) {
        return refuse("the name of a program holds a control character".into());
    }
    let bytes: usize = env.iter().map(|(name, value)| name.len() + value.len()).sum();
    if env.len() > ENV_MAX || bytes > ENV_BYTES_MAX {
        return refuse(format!(
            "a command takes {ENV_MAX} variables of {ENV_BYTES_MAX} bytes together at most"
        ));
    }
    for (name, value) in &env {
        if let Some(why) = bad_variable(name) {
            return refuse(format!("the variable `{}` {why}", name.escape_default()));
        }
        if value.contains(is_control) {
            return refuse(format!("the variable `{name}` holds a control character"));
        }
    }
    let timeout = Duration::from_micros(timeout_us);
    if !(Duration::from_secs(1)..=Duration::from_secs(TIMEOUT_MAX_S)).contains(&timeout) {
        return refuse(format!("a command runs 1 s at least and {TIMEOUT_MAX_S} s at most"));
    }
    Ok(TaskOrder { tag, argv, env, timeout })
}

/// The tag of a one-off unit that callers may name: those of scheduled jobs come from the config alone.
pub(super) fn tag_of(text: &str) -> Result<TaskTag, UnitsError> {
    let tag = TaskTag::new(text).map_err(|error| UnitsError::Refused(error.to_string()))?;
    match tag.job() {
        None => Ok(tag),
        Some(_) => Err(UnitsError::Refused("scheduled jobs come from the config".into())),
    }
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
    use proptest::prelude::*;

    fn command(argv: &[&str]) -> Command {
        ("run-1".into(), argv.iter().map(|w| (*w).to_owned()).collect(), Vec::new(), 60_000_000)
    }

    fn refused(command: Command) -> bool {
        matches!(order(command), Err(UnitsError::Refused(_)))
    }

    #[test]
    fn a_command_is_words_in_bounds() {
        assert_eq!(order(command(&["sh", "-c", "a\n\tb"])).unwrap().argv.len(), 3);
        for bad in [&[][..], &[""], &["a\nb"], &["a", "b\0c"], &["a", "\u{1b}[2J"]] {
            assert!(refused(command(bad)), "{bad:?}");
        }
        let long = "x".repeat(ARGV_BYTES_MAX);
        assert!(refused(command(&["sh", &long])));
        assert!(refused(command(&["x"; ARGV_MAX + 1])));
        for tag in ["", "cron-nightly", "a.b", "a@b", "Run", "x/y"] {
            let (_, argv, env, timeout) = command(&["sh"]);
            assert!(refused((tag.into(), argv, env, timeout)), "{tag:?}");
        }
        for timeout in [0, 999_999, u64::MAX] {
            let (tag, argv, env, _) = command(&["sh"]);
            assert!(refused((tag, argv, env, timeout)), "{timeout}");
        }
    }

    #[test]
    fn variables_of_ours_and_of_systemd_are_not_taken() {
        for (name, value) in
            [("TENEMENT_ARGV", "x"), ("NOTIFY_SOCKET", "x"), ("A=B", "x"), ("A", "x\ny"), ("", "")]
        {
            let (tag, argv, _, timeout) = command(&["sh"]);
            let env = vec![(name.to_owned(), value.to_owned())];
            assert!(refused((tag, argv, env, timeout)), "{name:?}");
        }
    }

    #[test]
    fn only_signals_that_mean_something_are_sent() {
        assert!([1, 2, 15, 9, 28].into_iter().all(|number| signal(number).is_ok()));
        assert!([0, -1, 4, 11, 19, 64, i32::MAX].into_iter().all(|number| signal(number).is_err()));
    }

    proptest! {
        #[test]
        fn whatever_is_sent_gives_a_bounded_command_or_a_refusal(
            tag in ".{0,70}", argv in prop::collection::vec("[^\\PC]{0,20}|.{0,20}", 0..8),
            env in prop::collection::vec((".{0,20}", ".{0,20}"), 0..4), timeout: u64,
        ) {
            if let Ok(order) = order((tag, argv, env, timeout)) {
                prop_assert!(!order.argv.is_empty() && !order.argv[0].is_empty());
                let odd = |c: char| is_control(c) && c != '\n' && c != '\t';
                prop_assert!(!order.argv.iter().any(|word| word.contains(odd)));
                prop_assert!(order.env.iter().all(|(name, _)| bad_variable(name).is_none()));
                prop_assert!(order.timeout <= Duration::from_secs(TIMEOUT_MAX_S));
                prop_assert!(order.tag.job().is_none());
            }
        }
    }
}
