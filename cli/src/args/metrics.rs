//! The command line of `ten metrics`.

use clap::{Args, Subcommand};
use tenement_wire::InstanceName;

/// `ten metrics`.
#[derive(Debug, Args)]
pub struct Metrics {
    /// What else to print of them
    #[command(subcommand)]
    pub action: Option<MetricsAction>,
}

/// Verbs of `ten metrics`.
#[derive(Debug, Subcommand)]
pub enum MetricsAction {
    /// Print what was measured, minute by minute for a day and by quarters of an hour for a month
    History(MetricsHistory),
}

/// `ten metrics history`.
#[derive(Debug, Args)]
pub struct MetricsHistory {
    /// Only this instance; without it, all together
    #[arg(value_name = "PROCESS:ID")]
    pub name: Option<InstanceName>,
    /// From then on, such as "10m ago" or yesterday (an hour ago)
    #[arg(long, short = 'S', value_name = "TIME", allow_hyphen_values = true)]
    pub since: Option<String>,
    /// Until then
    #[arg(long, short = 'U', value_name = "TIME", allow_hyphen_values = true)]
    pub until: Option<String>,
    /// Seconds of a step: a multiple of 60
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(60..=86_400))]
    pub step: Option<u32>,
}
