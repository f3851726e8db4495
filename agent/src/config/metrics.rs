//! `[metrics]`: who may read `/metrics` beyond the admin socket, and how much it tells.

use super::node::{Fields, Node};
use super::problems::Problems;
use super::settings::set;
use super::types::Cidr;

/// The keys.
pub(super) const KEYS: [&str; 3] = ["allow", "exact_status", "max_instances"];

/// The most ranges of addresses.
const ALLOW_MAX: usize = 64;

/// What `/metrics` tells, and to whom. The admin socket and tokens of scope read may always ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsAccess {
    /// From these addresses nobody needs a token.
    pub allow: Vec<Cidr>,
    /// Whether requests are counted by status (`404`) and not only by its class (`4xx`).
    pub exact_status: bool,
    /// Instances that have series of their own at most.
    pub max_instances: usize,
}

impl Default for MetricsAccess {
    fn default() -> Self {
        Self { allow: Vec::new(), exact_status: false, max_instances: 5000 }
    }
}

/// Reads the table.
pub(super) fn read(fields: &Fields, problems: &mut Problems) -> MetricsAccess {
    fields.refuse_unknown("[metrics]", &KEYS, problems);
    let mut metrics = MetricsAccess::default();
    set(fields, "allow", &mut metrics.allow, problems, allow);
    set(fields, "exact_status", &mut metrics.exact_status, problems, Node::boolean);
    set(fields, "max_instances", &mut metrics.max_instances, problems, |node, problems| {
        node.integer(1, 100_000, problems).and_then(|n| usize::try_from(n).ok())
    });
    metrics
}

fn allow(node: &Node, problems: &mut Problems) -> Option<Vec<Cidr>> {
    let ranges = super::settings::ranges(node, problems);
    if ranges.len() > ALLOW_MAX {
        let message = format!("there are {} ranges, and {ALLOW_MAX} is the most", ranges.len());
        problems.add(&node.at, message, "join some of them");
        return None;
    }
    Some(ranges)
}
