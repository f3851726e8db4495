//! Limits of instances: keys of a process, of its `total` and `max` tables, and of the same two tables
//! of `[settings]`.

use tenement_wire::{Limit, ResourceLimits};
use toml::de::DeValue;

use super::node::{Fields, Node};
use super::problems::Problems;

/// The keys.
pub(super) fn keys() -> impl Iterator<Item = &'static str> {
    Limit::ALL.into_iter().map(Limit::as_str)
}

/// Reads those that `fields` holds.
pub(super) fn read(fields: &Fields, problems: &mut Problems) -> ResourceLimits {
    let mut limits = ResourceLimits::default();
    for limit in Limit::ALL {
        let Some(node) = fields.get(limit.as_str()) else { continue };
        let value = match node.value {
            DeValue::Integer(n) if n.radix() == 10 => limit.parse(n.as_str()),
            DeValue::Float(n) => limit.parse(n.as_str()),
            DeValue::String(text) => limit.parse(text),
            _ => Err(format!("`{limit}` can't be {}", node.kind())),
        };
        match value.and_then(|value| limits.set(limit, Some(value))) {
            Ok(()) => {}
            Err(message) => problems.add(&node.at, message, format!("write {}", limit.example())),
        }
    }
    refuse_nonsense(fields, &limits, problems);
    limits
}

/// Reads a table that holds nothing but limits, such as `[process.api.max]`.
pub(super) fn table(node: &Node, whose: &str, problems: &mut Problems) -> ResourceLimits {
    let fields = Fields::of(node, problems);
    let known: Vec<&str> = keys().collect();
    fields.refuse_unknown(whose, &known, problems);
    read(&fields, problems)
}

/// Reads a table of limits that hold for many instances together, such as `[process.api.total]`.
pub(super) fn totals(node: &Node, whose: &str, problems: &mut Problems) -> ResourceLimits {
    let fields = Fields::of(node, problems);
    for limit in Limit::ALL.into_iter().filter(|limit| !limit.has_total()) {
        if let Some(node) = fields.get(limit.as_str()) {
            let message =
                format!("{whose} can't hold `{limit}`, which each instance has for itself");
            let words: Vec<&str> =
                Limit::ALL.into_iter().filter(|l| l.has_total()).map(Limit::as_str).collect();
            let fix = format!("a total can be one of {}", words.join(", "));
            problems.add(&node.at, message, fix);
        }
    }
    table(node, whose, problems)
}

fn refuse_nonsense(fields: &Fields, limits: &ResourceLimits, problems: &mut Problems) {
    if let (Some(high), Some(max), Some(node)) = (
        limits.get(Limit::MemoryHigh),
        limits.get(Limit::MemoryMax),
        fields.get(Limit::MemoryHigh.as_str()),
    ) && high > max
    {
        let message = "`memory_high` is above `memory_max`, so it would never take effect";
        problems.add(&node.at, message, "make it smaller than memory_max, or leave it out");
    }
}
