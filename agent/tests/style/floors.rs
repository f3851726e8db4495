//! The floors of `lib.rs` hold: paths between modules point down, and each floor knows only what it may.
//!
//! A reader of text, not of Rust: it looks at every `crate::…` and `super::…` path outside of comments.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Source, files};

/// Every module of the agent with its floor. Modules of one floor may know each other in one direction.
const FLOORS: [(&str, u8); 24] = [
    ("access", 2),
    ("otlp", 2),
    ("config", 1),
    ("plan", 1),
    ("framing", 1),
    ("routes", 1),
    ("sigv4", 1),
    ("token", 1),
    ("dns", 2),
    ("hook", 2),
    ("kernel", 2),
    ("systemd", 2),
    ("store", 2),
    ("units", 2),
    ("unpack", 2),
    ("upstream", 2),
    ("relay", 2),
    ("archive", 2),
    ("vault", 2),
    ("tls", 2),
    ("flows", 3),
    ("proxy", 4),
    ("api", 4),
    ("app", 5),
];
/// Every module of the log index with its floor.
const LOGS: [(&str, u8); 9] = [
    ("line", 1),
    ("query", 1),
    ("search", 1),
    ("shape", 1),
    ("token", 1),
    ("when", 1),
    ("index", 2),
    ("journal", 2),
    ("indexer", 3),
];
/// The privileged daemon stands apart: it takes units and what lies below, and nothing above.
const HELPER: (&str, u8) = ("unitd", 5);

/// Neighbours that know each other: the config refuses what a plan could not express (a path too long, a
/// reserved variable) by asking the plan itself, so that there is one rule and not two.
const NEIGHBOURS: [(&str, &str); 1] = [("config", "plan")];

/// What floors 0 and 1 don't know: the outside world. They are told everything, the time included.
const OUTSIDE: [&str; 8] = [
    "tokio",
    "zbus",
    "rusqlite",
    "hyper",
    "std::fs",
    "std::net::TcpStream",
    "Instant::now",
    "SystemTime",
];

fn floor_of(module: &str) -> Option<u8> {
    FLOORS
        .iter()
        .chain(&LOGS)
        .chain([&HELPER])
        .find(|(name, _)| *name == module)
        .map(|(_, floor)| *floor)
}

/// The module path of a file below `agent/src`: `["units", "client"]` for `units/client.rs`.
fn module_path(file: &Source) -> Vec<&str> {
    let inner = file.path.trim_start_matches("agent/src/").trim_start_matches("logs/src/");
    let inner = inner.trim_end_matches(".rs");
    inner.split('/').filter(|part| *part != "mod" && *part != "lib").collect()
}

fn code(text: &str) -> String {
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// The names that follow each `prefix` in `code`: one, or several in braces.
fn heads(code: &str, prefix: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            names.push(ident(rest));
            continue;
        };
        let mut depth = 1;
        let mut start = true;
        for (i, c) in group.char_indices() {
            if depth == 1 && start && !c.is_whitespace() {
                names.push(ident(&group[i..]));
                start = false;
            }
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' => start = true,
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    names
}

fn ident(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The modules of its own crate that a file's code names.
fn named_modules(file: &Source) -> BTreeSet<String> {
    let code = code(file.without_tests());
    let mut names = heads(&code, "crate::");
    let to_the_top = "super::".repeat(module_path(file).len().max(1));
    names.extend(heads(&code, &to_the_top));
    names.into_iter().filter(|name| floor_of(name).is_some()).collect()
}

fn agent_sources() -> Vec<Source> {
    sources_of("agent/src")
}

fn sources_of(root: &str) -> Vec<Source> {
    let mut sources = files(root, &[".rs"]);
    sources.retain(|file| {
        !file.path.ends_with("/tests.rs")
            && !file.path.contains("/tests/")
            && !file.path.contains("/bin/")
    });
    sources
}

#[test]
fn every_module_of_the_agent_and_of_the_log_index_has_a_floor() {
    for file in agent_sources().into_iter().chain(sources_of("logs/src")) {
        if let Some(top) = module_path(&file).first() {
            assert!(floor_of(top).is_some(), "{}: give `{top}` a floor in {}", file.path, file!());
        }
    }
}

#[test]
fn paths_between_modules_point_down_and_never_around() {
    points_down(agent_sources());
    points_down(sources_of("logs/src"));
}

fn points_down(sources: Vec<Source>) {
    let mut wrong = Vec::new();
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in sources {
        let Some(&own) = module_path(&file).first() else { continue };
        let floor = floor_of(own).expect("the other test says so");
        for other in named_modules(&file).into_iter().filter(|other| other != own) {
            let below = floor_of(&other).expect("filtered") <= floor;
            if !below || (own == HELPER.0 && floor_of(&other) > Some(2)) {
                wrong.push(format!("{}: {own} may not know {other}", file.path));
            }
            known.entry(own.to_owned()).or_default().insert(other);
        }
    }
    for (a, b) in NEIGHBOURS {
        if let Some(others) = known.get_mut(a) {
            others.remove(b);
        }
    }
    for (a, others) in &known {
        for b in others.iter().filter(|b| known.get(*b).is_some_and(|back| back.contains(a))) {
            wrong.push(format!("{a} and {b} know each other"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_pure_floors_know_no_runtime_no_bus_no_files_and_no_clock() {
    let mut pure = files("wire/src", &[".rs"]);
    let both = agent_sources().into_iter().chain(sources_of("logs/src"));
    pure.extend(both.filter(|file| {
        module_path(file).first().and_then(|top| floor_of(top)).is_some_and(|floor| floor <= 1)
    }));
    refuse(&pure, &OUTSIDE);
}

#[test]
fn the_doors_know_neither_the_bus_nor_the_database() {
    let doors: Vec<_> = agent_sources()
        .into_iter()
        .filter(|file| ["proxy", "api"].contains(module_path(file).first().unwrap_or(&"")))
        .collect();
    refuse(&doors, &["zbus", "rusqlite"]);
}

fn refuse(sources: &[Source], words: &[&str]) {
    let mut wrong = Vec::new();
    for file in sources {
        let code = code(file.without_tests());
        for word in words.iter().filter(|word| code.contains(**word)) {
            wrong.push(format!("{} knows {word}", file.path));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_command_line_and_the_wire_do_not_depend_on_the_agent() {
    for manifest in files("cli", &["Cargo.toml"]).iter().chain(&files("wire", &["Cargo.toml"])) {
        assert!(!manifest.text.contains("tenement-agent"), "{} needs the agent", manifest.path);
    }
}

#[test]
fn this_test_sees_paths_in_groups_and_through_super() {
    let file = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
    let seen = |path, text| named_modules(&file(path, text)).into_iter().collect::<Vec<_>>();
    assert_eq!(
        seen("agent/src/plan/x.rs", "use crate::{app::Run, config::{A, B}};"),
        ["app", "config"]
    );
    assert_eq!(seen("agent/src/plan/x.rs", "use super::super::flows::F;"), ["flows"]);
    assert_eq!(seen("agent/src/plan/mod.rs", "use super::store;"), ["store"]);
    assert_eq!(
        seen("agent/src/plan/mod.rs", "// crate::app is not for us\nf(crate::proxy::G)"),
        ["proxy"]
    );
}
