//! A command that somebody asks for, checked. Pure, so that it can be fuzzed: the unit helper takes nothing else.

use std::time::Duration;

use tenement_wire::TaskTag;
use tenement_wire::tasks::{
    ARGV_BYTES_MAX, ARGV_MAX, ENV_BYTES_MAX, ENV_MAX, TIMEOUT_MAX_S, bad_word,
};

use super::task::TaskOrder;
use super::{bad_variable, is_control};

impl TaskOrder {
    /// A command within its bounds.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(
        tag: TaskTag,
        argv: Vec<String>,
        env: Vec<(String, String)>,
        timeout: Duration,
    ) -> Result<Self, String> {
        if argv.first().is_none_or(String::is_empty) {
            return Err("a command needs a program".into());
        }
        let bytes: usize = argv.iter().map(String::len).sum();
        if argv.len() > ARGV_MAX || bytes > ARGV_BYTES_MAX {
            return Err(format!(
                "a command has {ARGV_MAX} words and {ARGV_BYTES_MAX} bytes at most"
            ));
        }
        if let Some(why) = argv.iter().find_map(|word| bad_word(word)) {
            return Err(why.into());
        }
        if argv[0].contains(is_control) {
            return Err("the name of a program holds a control character".into());
        }
        let bytes: usize = env.iter().map(|(name, value)| name.len() + value.len()).sum();
        if env.len() > ENV_MAX || bytes > ENV_BYTES_MAX {
            return Err(format!(
                "a command takes {ENV_MAX} variables of {ENV_BYTES_MAX} bytes together at most"
            ));
        }
        for (name, value) in &env {
            if let Some(why) = bad_variable(name) {
                return Err(format!("the variable `{}` {why}", name.escape_default()));
            }
            if value.contains(is_control) {
                return Err(format!("the variable `{name}` holds a control character"));
            }
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(TIMEOUT_MAX_S)).contains(&timeout) {
            return Err(format!("a command runs 1 s at least and {TIMEOUT_MAX_S} s at most"));
        }
        Ok(Self { tag, argv, env, timeout })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn order(argv: &[&str], env: &[(&str, &str)], timeout: Duration) -> Result<TaskOrder, String> {
        let argv = argv.iter().map(|word| (*word).to_owned()).collect();
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        TaskOrder::new("run-1".parse().unwrap(), argv, env.collect(), timeout)
    }

    #[test]
    fn a_command_is_words_in_bounds() {
        assert_eq!(order(&["sh", "-c", "a\n\tb"], &[("A", "b c")], MINUTE).unwrap().argv.len(), 3);
        for bad in [&[][..], &[""], &["a\nb"], &["a", "b\0c"], &["a", "\u{1b}[2J"]] {
            assert!(order(bad, &[], MINUTE).is_err(), "{bad:?}");
        }
        assert!(order(&["sh", &"x".repeat(ARGV_BYTES_MAX)], &[], MINUTE).is_err());
        assert!(order(&["x"; ARGV_MAX + 1], &[], MINUTE).is_err());
        for timeout in [Duration::ZERO, Duration::from_millis(999), Duration::MAX] {
            assert!(order(&["sh"], &[], timeout).is_err(), "{timeout:?}");
        }
    }

    #[test]
    fn variables_of_ours_and_of_systemd_are_not_taken() {
        for (name, value) in
            [("TENEMENT_ARGV", "x"), ("NOTIFY_SOCKET", "x"), ("A=B", "x"), ("A", "x\ny"), ("", "")]
        {
            assert!(order(&["sh"], &[(name, value)], MINUTE).is_err(), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_sent_gives_a_bounded_command_or_a_refusal(
            argv in prop::collection::vec("[^\\PC]{0,20}|.{0,20}", 0..8),
            env in prop::collection::vec((".{0,20}", ".{0,20}"), 0..4), micros: u64,
        ) {
            let timeout = Duration::from_micros(micros);
            if let Ok(order) = TaskOrder::new("run-1".parse().unwrap(), argv, env, timeout) {
                prop_assert!(!order.argv.is_empty() && !order.argv[0].is_empty());
                let odd = |c: char| is_control(c) && c != '\n' && c != '\t';
                prop_assert!(!order.argv.iter().any(|word| word.contains(odd)));
                prop_assert!(order.env.iter().all(|(name, _)| bad_variable(name).is_none()));
                prop_assert!(order.timeout <= Duration::from_secs(TIMEOUT_MAX_S));
            }
        }
    }
}
