//! The command line of `ten events` and `ten alerts`.

use clap::{Args, Subcommand};
use tenement_wire::events::EventKind;

use super::Target;

/// `ten events`.
#[derive(Debug, Default, Args)]
pub struct Events {
    /// Only about an instance as process:id, or about a process
    #[arg(value_name = "PROCESS[:ID]", conflicts_with = "instance")]
    pub target: Option<Target>,
    /// The same
    #[arg(long, short, value_name = "PROCESS[:ID]")]
    pub instance: Option<Target>,
    /// Keep showing new events
    #[arg(long, short)]
    pub follow: bool,
    /// How many of the newest events
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub lines: u32,
    /// Only events of this kind; may be given several times
    #[arg(long, short, value_name = "KIND")]
    pub kind: Vec<EventKind>,
    /// Only what was done by uid:N, token:NAME, anonymous or agent
    #[arg(long, value_name = "ACTOR")]
    pub actor: Option<String>,
    /// Only events since then, such as "10m ago", yesterday, 12:30 or "2026-01-31 12:00"
    #[arg(long, short = 'S', value_name = "TIME", allow_hyphen_values = true)]
    pub since: Option<String>,
    /// Only events before then
    #[arg(
        long,
        short = 'U',
        value_name = "TIME",
        allow_hyphen_values = true,
        conflicts_with = "follow"
    )]
    pub until: Option<String>,
    /// Only events with this text in them
    #[arg(long, short = 'g', value_name = "TEXT", allow_hyphen_values = true)]
    pub search: Option<String>,
}

/// `ten alerts`.
#[derive(Debug, Args)]
pub struct Alerts {
    /// What to do; without it, say where alerts go and how the last ones went
    #[command(subcommand)]
    pub action: Option<AlertsAction>,
}

/// Verbs of `ten alerts`.
#[derive(Debug, Subcommand)]
pub enum AlertsAction {
    /// Send a test alert now, and say what the receiver answered
    Test,
}
