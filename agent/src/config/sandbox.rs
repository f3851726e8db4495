//! What instances of a process may not do.

use std::collections::BTreeMap;

use toml::de::DeValue;

use super::node::{Fields, Node};
use super::problems::Problems;
use super::settings::set;
use crate::plan::directives as table;

/// The keys of a process.
pub(super) const KEYS: [&str; 2] = ["isolation", "systemd"];

/// How tightly instances are shut in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Everything that a service of its own can do without (the default).
    #[default]
    Strict,
    /// What common apps need without thinking.
    Standard,
    /// A user of its own and nothing more.
    None,
}

/// The sandbox of a process.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sandbox {
    /// Its level.
    pub isolation: Isolation,
    /// `[process.X.systemd]`: directives of the unit file that replace ours, as text.
    pub directives: BTreeMap<String, String>,
}

/// Reads what `fields` says.
pub(super) fn read(fields: &Fields, problems: &mut Problems) -> Sandbox {
    let mut sandbox = Sandbox::default();
    set(fields, "isolation", &mut sandbox.isolation, problems, isolation);
    if let Some(node) = fields.get("systemd") {
        sandbox.directives = directives(node, problems);
    }
    sandbox
}

/// Name and checked text of each directive.
fn directives(node: &Node, problems: &mut Problems) -> BTreeMap<String, String> {
    let fields = Fields::of(node, problems);
    let known: Vec<&str> = table::names().collect();
    let mut found = BTreeMap::new();
    for (name, node) in &fields.0 {
        if !known.contains(&name.as_str()) {
            let shown = name.escape_default().to_string();
            let fix = match (table::instead(name), nearest(&shown, &known)) {
                (Some(instead), _) => instead,
                (None, Some(near)) => format!("did you mean `{near}`?"),
                (None, None) => {
                    "docs/CONFIG.md has the list; what gives privileges or runs commands is not on it"
                        .to_owned()
                }
            };
            problems.add(&node.key, format!("the directive `{shown}` can't be set here"), fix);
            continue;
        }
        let Some(text) = directive_text(name, node, problems) else { continue };
        if table::accepts(name, &text) {
            found.insert(name.clone(), text);
        } else {
            let message = format!("`{name}` can't be `{}`", text.escape_default());
            problems.add(&node.at, message, format!("write {}", table::example(name)));
        }
    }
    found
}

/// A value as a unit file would have it; a list is its words.
fn directive_text(name: &str, node: &Node, problems: &mut Problems) -> Option<String> {
    match node.value {
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Integer(n) if n.radix() == 10 => Some(n.as_str().to_owned()),
        DeValue::Array(elements) => {
            let words = node.strings(false, "[\"@system-service\"]", problems);
            // Each that is no text has been told of.
            let whole = words.len() == elements.len();
            whole.then(|| words.into_iter().map(|text| text.value).collect::<Vec<_>>().join(" "))
        }
        DeValue::String(_) => Some(node.string("\"strict\"", problems)?.value),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => {
            let kind = match node.value {
                DeValue::Integer(_) => "a number that is not decimal",
                _ => node.kind(),
            };
            let fix = format!("write {}", table::example(name));
            problems.add(&node.at, format!("`{name}` can't be {kind}"), fix);
            None
        }
    }
}

/// The known name nearest to `word`, whatever its case.
fn nearest<'w>(word: &str, known: &[&'w str]) -> Option<&'w str> {
    let distance =
        |name: &str| strsim::damerau_levenshtein(&word.to_lowercase(), &name.to_lowercase());
    let near = known.iter().map(|name| (distance(name), *name)).min()?;
    (near.0 <= 1 + near.1.len() / 5).then_some(near.1)
}

fn isolation(node: &Node, problems: &mut Problems) -> Option<Isolation> {
    let text = node.string("\"strict\"", problems)?;
    match text.value.as_str() {
        "strict" => Some(Isolation::Strict),
        // The second words are those of configs from before there were levels.
        "standard" | "namespace" => Some(Isolation::Standard),
        "none" | "process" => Some(Isolation::None),
        other => {
            let message = format!("`isolation` can't be `{other}`");
            problems.add(&node.at, message, "write \"strict\", \"standard\" or \"none\"");
            None
        }
    }
}
