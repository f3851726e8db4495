//! House style that a machine can judge (docs/ARCHITECTURE.md).

use crate::source::files;

/// Longer files are read by nobody.
const LINES_MAX: usize = 400;

/// Programs under test may take their time: that is what they are asked for.
const APPS: &str = "tests/apps/";

#[test]
fn no_source_file_is_longer_than_400_lines() {
    let endings = [
        ".rs", ".sh", ".py", ".js", ".mjs", ".ts", ".svelte", ".css", ".toml", "Makefile",
        "tenhost",
    ];
    let long: Vec<_> = files(".", &endings)
        .iter()
        .map(|file| (file.path.clone(), file.text.lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .collect();
    assert!(long.is_empty(), "split these: {long:?}");
}

#[test]
fn no_test_sleeps_for_a_fixed_time() {
    let words = ["thread::sleep", "time::sleep("];
    let mut wrong = Vec::new();
    for file in files(".", &[".rs"]) {
        let is_test = file.path.starts_with("tests/") || file.path.contains("/tests/");
        // The one place that waits, always for a condition and with a bound.
        if file.path.ends_with("/poll.rs")
            || file.path.ends_with("/tidy.rs")
            || file.path.starts_with(APPS)
        {
            continue;
        }
        let text = if is_test { file.text.as_str() } else { file.tests() };
        if words.iter().any(|word| text.contains(word)) {
            wrong.push(file.path);
        }
    }
    assert!(wrong.is_empty(), "wait for a condition instead (poll.rs): {wrong:?}");
}

#[test]
fn no_test_is_switched_off() {
    let mark = concat!("#[", "ignore");
    for file in files(".", &[".rs"]) {
        assert!(!file.text.contains(mark), "{} switches a test off", file.path);
    }
}

#[test]
fn unsafe_code_says_why_it_is_sound() {
    for file in files(".", &[".rs"]) {
        let (blocks, reasons) =
            (file.text.matches("unsafe {").count(), file.text.matches("SAFETY:").count());
        if file.path.ends_with("/tidy.rs") {
            continue;
        }
        assert!(
            blocks <= reasons,
            "{}: {blocks} unsafe blocks, {reasons} SAFETY comments",
            file.path
        );
    }
}

/// Whoever can make the unit helper do what it should not is root: it must stay small enough to be read.
#[test]
fn the_unit_helper_is_no_longer_than_a_thousand_lines() {
    let mut sources = crate::source::files("agent/src/unitd", &[".rs"]);
    sources.extend(crate::source::files("agent/src/bin", &["tenement-unitd.rs"]));
    // Of what runs: a test makes nobody root.
    sources.retain(|source| !source.path.ends_with("/hostile.rs"));
    let lines: usize = sources.iter().map(|source| source.without_tests().lines().count()).sum();
    assert!(lines <= 1_000, "{lines} lines");
}
