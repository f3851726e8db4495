//! From files to one set of tables, refusing what is defined twice.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use toml::de::{DeTable, DeValue};

use super::node::{Fields, Node};
use super::problems::{At, Problems, SourceFile, suggest};

/// The tables that a config file may hold.
const TABLES: [&str; 13] = [
    "settings",
    "process",
    "service",
    "instances",
    "routing",
    "events",
    "alerts",
    "api",
    "metrics",
    "tls",
    "acme",
    "tracing",
    "backup",
];

/// The most syntax errors reported of one file: after a few they follow from each other.
const SYNTAX_MAX: usize = 10;

/// All files as one.
#[derive(Default)]
pub(super) struct Merged<'a> {
    pub(super) settings: Fields<'a>,
    pub(super) limits: Fields<'a>,
    pub(super) defaults: Fields<'a>,
    /// `[process.X]` and `[service.X]`, by X.
    pub(super) processes: BTreeMap<String, Node<'a>>,
    pub(super) instances: Fields<'a>,
    pub(super) events: Fields<'a>,
    pub(super) alerts: Fields<'a>,
    pub(super) api: Fields<'a>,
    pub(super) metrics: Fields<'a>,
    pub(super) tls: Fields<'a>,
    pub(super) acme: Fields<'a>,
    pub(super) tracing: Fields<'a>,
    pub(super) routing: Fields<'a>,
    pub(super) backup: Fields<'a>,
}

/// Parses each file; one whose syntax is broken gives problems and no document.
pub(super) fn documents<'a>(
    files: &'a [SourceFile],
    problems: &mut Problems,
) -> Vec<(usize, DeValue<'a>)> {
    let mut documents = Vec::new();
    for (file, source) in files.iter().enumerate() {
        let (document, errors) = DeTable::parse_recoverable(&source.text);
        if errors.is_empty() {
            documents.push((file, DeValue::Table(document.into_inner())));
            continue;
        }
        problems.syntax_broken = true;
        let mut lines = std::collections::BTreeSet::new();
        for error in errors {
            let span = error.span().unwrap_or(source.text.len()..source.text.len());
            let line = source.text[..span.start.min(source.text.len())].matches('\n').count();
            if lines.len() < SYNTAX_MAX && lines.insert(line) {
                let at = At { file, start: span.start, end: span.end };
                let message = error.message();
                // The parser lists what else it would take; after this message the list misleads.
                let shown = match message.split_once(", expected") {
                    Some((head, _)) if head.contains("must be quoted") => head,
                    _ => message,
                };
                problems.add(&at, format!("not valid TOML: {shown}"), syntax_fix(message));
            }
        }
    }
    documents
}

/// What to do about a syntax error, by the words of the parser.
fn syntax_fix(message: &str) -> &'static str {
    if message.contains("duplicate key") {
        "keep one of the two, or give one of them another name"
    } else if message.contains("must be quoted") {
        "write key = value, with text in \"quotes\""
    } else if message.contains("string") || message.contains("quote") {
        "close the string with the quote that opened it; write \\\\ for a backslash"
    } else if message.contains("value") || message.contains("unquoted") {
        "write key = value, with text in \"quotes\""
    } else if message.contains("table") || message.contains('[') || message.contains(']') {
        "write a table's name in brackets on a line of its own: [process.api]"
    } else {
        "write one key = value per line, or [process.name] to begin a table (https://toml.io)"
    }
}

/// Merges the documents in order.
pub(super) fn merge<'a>(
    documents: &'a [(usize, DeValue<'a>)],
    problems: &mut Problems,
) -> Merged<'a> {
    let mut merged = Merged::default();
    for (file, document) in documents {
        let DeValue::Table(table) = document else { continue };
        for (key, value) in table {
            let node = Node::new(*file, key, value);
            match key.get_ref().as_ref() {
                "settings" => settings(&mut merged, &node, problems),
                "process" | "service" => {
                    for (name, process) in Fields::of(&node, problems).0 {
                        let what = format!("process `{}`", name.escape_default());
                        put(&mut merged.processes, name, process, &what, problems);
                    }
                }
                "instances" => {
                    for (name, list) in Fields::of(&node, problems).0 {
                        let what = format!("instances of `{}`", name.escape_default());
                        put(&mut merged.instances.0, name, list, &what, problems);
                    }
                }
                "events" => top(&mut merged.events, "events", &node, problems),
                "alerts" => top(&mut merged.alerts, "alerts", &node, problems),
                "routing" => top(&mut merged.routing, "routing", &node, problems),
                "api" => top(&mut merged.api, "api", &node, problems),
                "metrics" => top(&mut merged.metrics, "metrics", &node, problems),
                "tls" => top(&mut merged.tls, "tls", &node, problems),
                "acme" => top(&mut merged.acme, "acme", &node, problems),
                "backup" => top(&mut merged.backup, "backup", &node, problems),
                "tracing" => top(&mut merged.tracing, "tracing", &node, problems),
                other => unknown_table(other, &node, problems),
            }
        }
    }
    merged
}

fn top<'a>(into: &mut Fields<'a>, name: &str, node: &Node<'a>, problems: &mut Problems) {
    for (key, value) in Fields::of(node, problems).0 {
        let what = format!("{name}.{}", key.escape_default());
        put(&mut into.0, key, value, &what, problems);
    }
}

fn settings<'a>(merged: &mut Merged<'a>, node: &Node<'a>, problems: &mut Problems) {
    for (key, value) in Fields::of(node, problems).0 {
        let (into, prefix) = match key.as_str() {
            "limits" => (&mut merged.limits, "settings.limits."),
            "defaults" => (&mut merged.defaults, "settings.defaults."),
            _ => {
                let what = format!("settings.{}", key.escape_default());
                put(&mut merged.settings.0, key, value, &what, problems);
                continue;
            }
        };
        for (key, value) in Fields::of(&value, problems).0 {
            let what = format!("{prefix}{}", key.escape_default());
            put(&mut into.0, key, value, &what, problems);
        }
    }
}

/// Adds an entry, unless the key is there already: then both places are named.
fn put<'a>(
    into: &mut BTreeMap<String, Node<'a>>,
    key: String,
    node: Node<'a>,
    what: &str,
    problems: &mut Problems,
) {
    match into.entry(key) {
        Entry::Vacant(entry) => {
            entry.insert(node);
        }
        Entry::Occupied(entry) => {
            let (first, second) = ordered(&entry.get().key, &node.key);
            let message = format!("{what} is already defined at {}", problems.place(first));
            problems.add(second, message, "keep one of the two definitions and remove the other");
        }
    }
}

fn ordered<'n>(a: &'n At, b: &'n At) -> (&'n At, &'n At) {
    if (a.file, a.start) <= (b.file, b.start) { (a, b) } else { (b, a) }
}

fn unknown_table(name: &str, node: &Node, problems: &mut Problems) {
    let shown = name.escape_default();
    let is_table = matches!(node.value, DeValue::Table(_));
    let settings = super::settings::KEYS;
    if !is_table && settings.contains(&name) {
        let fix = format!("move it below a line that says [settings]: `{shown}` belongs there");
        return problems.add(&node.key, format!("`{shown}` stands outside of any table"), fix);
    }
    let fix = if is_table { suggest(name, &TABLES) } else { suggest(name, &settings) };
    let what = if is_table { "table" } else { "key" };
    problems.add(&node.key, format!("there is no {what} `{shown}`"), fix);
}
