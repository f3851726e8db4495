//! `tenement-exec`, run as a unit would run it.

use std::process::{Command, Output};

use tenement_agent::plan::{ARGV, argv};

fn run(text: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenement-exec"));
    command.env_remove(ARGV);
    if let Some(text) = text {
        command.env(ARGV, text);
    }
    command.output().expect("the program starts")
}

#[test]
fn words_are_handed_over_literally_and_the_variable_is_gone() {
    let script = "printf '<%s>' \"$0\" \"$@\"; printf '%s' \"${TENEMENT_ARGV-unset}\"";
    let words = ["/bin/sh", "sh", "-c", script, "name", "$HOME; x", "", r"a\b", "  "];
    let output = run(Some(&argv::encode(words)));
    let found = String::from_utf8(output.stdout).expect("text");
    assert_eq!(found, r"<name><$HOME; x><><a\b><  >unset");
}

#[test]
fn without_a_command_line_it_says_what_it_is_for() {
    for text in [None, Some(""), Some("/bin/true"), Some(r"\x")] {
        let output = run(text);
        assert_eq!(output.status.code(), Some(2), "{text:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(ARGV));
    }
}

#[test]
fn a_program_that_is_missing_fails_as_systemd_has_it() {
    let output = run(Some("/nonexistent/program program"));
    assert_eq!(output.status.code(), Some(203));
}

#[test]
fn a_relay_without_a_command_or_a_listening_socket_starts_nothing() {
    let relay = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenement-relay"));
        command.args(words).output().expect("the program starts")
    };
    let output = relay(&["3000", "1000"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("by units only"));
    let output = relay(&["3000", "1000", "/bin/echo", "echo", "started"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "an app that nobody can reach was started");
}
