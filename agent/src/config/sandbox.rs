//! What instances of a process may not do.

use std::collections::BTreeMap;

use super::node::{Fields, Node};
use super::problems::Problems;
use super::settings::set;

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
    sandbox
}

fn isolation(node: &Node, problems: &mut Problems) -> Option<Isolation> {
    let text = node.string("\"strict\"", problems)?;
    match text.value.as_str() {
        "strict" => Some(Isolation::Strict),
        "standard" => Some(Isolation::Standard),
        "none" => Some(Isolation::None),
        other => {
            let message = format!("`isolation` can't be `{other}`");
            problems.add(&node.at, message, "write \"strict\", \"standard\" or \"none\"");
            None
        }
    }
}
