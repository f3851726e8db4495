//! `env`: names and templates of values.

use std::collections::BTreeMap;

use toml::de::DeValue;

use super::super::node::{Fields, Node, Text};
use super::super::problems::Problems;
use super::super::template;
use super::check_placeholders;

/// Reads the table. Numbers and booleans are taken as they are written.
pub(super) fn read(node: &Node, problems: &mut Problems) -> BTreeMap<String, Text> {
    let mut env = BTreeMap::new();
    for (key, node) in Fields::of(node, problems).0 {
        if let Some(reason) = crate::plan::bad_variable(&key) {
            let fix = "use letters, digits and _ (not first a digit), and no name that is reserved";
            problems.add(&node.key, format!("`{}` {reason}", key.escape_default()), fix);
        }
        let text = match node.value {
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) => {
                let value = problems.text(&node.at).to_owned();
                Some(Text { value, at: node.at.clone(), verbatim: None })
            }
            _ => node.string("\"text\"", problems),
        };
        if let Some(text) = text {
            check_placeholders(&text, &template::KNOWN, problems);
            env.insert(key, text);
        }
    }
    env
}
