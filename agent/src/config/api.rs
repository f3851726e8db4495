//! `[api]`: how far the management API can be reached beyond the admin socket.

use super::domain;
use super::node::{Fields, Node};
use super::problems::Problems;
use super::settings::set;

/// The keys.
pub(super) const KEYS: [&str; 4] = ["remote", "dashboard", "insecure", "aliases"];

/// The most other names of the domain.
const ALIASES_MAX: usize = 16;

/// The API on the domain itself. The admin socket is always there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiAccess {
    /// Whether the domain itself serves the API at all.
    pub remote: bool,
    /// Whether it serves the dashboard too.
    pub dashboard: bool,
    /// Whether tokens and cookies are taken over plain HTTP from other hosts, where they can be read
    /// on the way.
    pub insecure: bool,
    /// Other host names of the API; lower case, without trailing dot.
    pub aliases: Vec<String>,
}

impl Default for ApiAccess {
    fn default() -> Self {
        Self { remote: true, dashboard: true, insecure: false, aliases: Vec::new() }
    }
}

/// Reads the table.
pub(super) fn read(fields: &Fields, problems: &mut Problems) -> ApiAccess {
    fields.refuse_unknown("[api]", &KEYS, problems);
    let mut api = ApiAccess::default();
    set(fields, "remote", &mut api.remote, problems, Node::boolean);
    set(fields, "dashboard", &mut api.dashboard, problems, Node::boolean);
    set(fields, "insecure", &mut api.insecure, problems, Node::boolean);
    set(fields, "aliases", &mut api.aliases, problems, aliases);
    api
}

fn aliases(node: &Node, problems: &mut Problems) -> Option<Vec<String>> {
    let mut aliases = Vec::new();
    for text in node.strings(true, "[\"console.example.com\"]", problems) {
        match domain::domain(&text.value) {
            Ok(name) if aliases.contains(&name) => {
                let message = format!("`{name}` is there twice");
                problems.add(&text.at, message, "remove one of the two");
            }
            Ok(name) => aliases.push(name),
            Err((message, fix)) => problems.add(&text.at, message, fix),
        }
    }
    if aliases.len() > ALIASES_MAX {
        let message = format!("there are {} aliases, and {ALIASES_MAX} is the most", aliases.len());
        problems.add(&node.at, message, "remove some");
        return None;
    }
    Some(aliases)
}
