//! Which network instances of a process see.

use super::node::{Fields, Node};
use super::problems::Problems;
use super::settings::set;

/// The keys of a process.
pub(super) const KEYS: [&str; 1] = ["network"];

/// Which network an instance sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Network {
    /// That of the host (the default).
    #[default]
    Host,
    /// One of its own, with nothing in it but `lo`: it is reached through its socket only.
    Private,
}

/// Reads what `fields` says.
pub(super) fn read(fields: &Fields, problems: &mut Problems) -> Network {
    let mut network = Network::default();
    set(fields, "network", &mut network, problems, mode);
    network
}

fn mode(node: &Node, problems: &mut Problems) -> Option<Network> {
    let text = node.string("\"private\"", problems)?;
    match text.value.as_str() {
        "host" => Some(Network::Host),
        "private" => Some(Network::Private),
        other => {
            let message = format!("`network` can't be `{other}`");
            problems.add(&node.at, message, "write \"host\" or \"private\"");
            None
        }
    }
}
