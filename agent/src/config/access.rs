//! `access_log` and its companions: keys of a process and of `[settings.defaults]`.

use super::node::{Fields, Node};
use super::problems::Problems;
use super::settings::set;
use super::tracing::{Share, share};

/// The keys.
pub(super) const KEYS: [&str; 3] = ["access_log", "access_log_sample", "access_log_query"];

/// Which requests are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AccessMode {
    /// None.
    #[default]
    Off,
    /// A share of them.
    Sampled,
    /// All.
    All,
}

/// The access log of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Which requests.
    pub mode: AccessMode,
    /// The share, if they are sampled.
    pub sample: Share,
    /// Whether the query of the URL is written too; it often holds what nobody else should read.
    pub query: bool,
}

impl Default for Access {
    fn default() -> Self {
        Self { mode: AccessMode::Off, sample: Share::TENTH, query: false }
    }
}

impl Access {
    /// Whether a request is written, for which `random` was drawn.
    #[must_use]
    pub fn takes(&self, random: u64) -> bool {
        match self.mode {
            AccessMode::Off => false,
            AccessMode::Sampled => self.sample.has(random),
            AccessMode::All => true,
        }
    }

    /// These, with what `fields` says instead.
    pub(super) fn overridden(mut self, fields: &Fields, problems: &mut Problems) -> Self {
        set(fields, "access_log", &mut self.mode, problems, mode);
        set(fields, "access_log_sample", &mut self.sample, problems, share);
        set(fields, "access_log_query", &mut self.query, problems, Node::boolean);
        self
    }
}

fn mode(node: &Node, problems: &mut Problems) -> Option<AccessMode> {
    let text = node.string("\"sampled\"", problems)?;
    Some(match text.value.as_str() {
        "off" => AccessMode::Off,
        "sampled" => AccessMode::Sampled,
        "all" => AccessMode::All,
        other => {
            let message = format!("`access_log` can't be `{other}`");
            problems.add(&node.at, message, "write \"off\", \"sampled\" or \"all\"");
            return None;
        }
    })
}
