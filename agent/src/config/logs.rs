//! How long and how much of the instances' logs is kept: keys of `[settings]` and of a process.

use std::time::Duration;

use super::node::Fields;
use super::problems::Problems;
use super::quantity;
use super::settings::set;

/// The keys.
pub(super) const KEYS: [&str; 2] = ["log_retention", "log_max"];

/// The smallest size that can be meant: a block of lines and its index.
const SIZE_MIN: u64 = 1 << 20;
/// The largest.
const SIZE_MAX: u64 = 1 << 50;

/// How much is kept. Zero is "without limit".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogKeep {
    /// Lines older than this are removed; `None` where nothing is said.
    pub retention: Option<Duration>,
    /// The oldest are removed beyond so many bytes; `None` where nothing is said.
    pub max: Option<u64>,
}

impl LogKeep {
    /// Of all logs, where the config says nothing.
    pub(super) const DEFAULT: Self =
        Self { retention: Some(Duration::from_secs(30 * 86_400)), max: Some(4 << 30) };

    /// This, with what `fields` says instead.
    pub(super) fn overridden(mut self, fields: &Fields, problems: &mut Problems) -> Self {
        set(fields, "log_retention", &mut self.retention, problems, |node, problems| {
            quantity::duration(node, Duration::ZERO, problems).map(Some)
        });
        set(fields, "log_max", &mut self.max, problems, |node, problems| {
            let size = quantity::size(node, 0, SIZE_MAX, problems)?;
            if (1..SIZE_MIN).contains(&size) {
                let message = format!("`log_max` is only {size} bytes");
                problems.add(&node.at, message, "write at least \"1M\", or 0 for no limit");
                return None;
            }
            Some(Some(size))
        });
        self
    }
}
