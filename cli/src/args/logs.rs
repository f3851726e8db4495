//! The command line of `ten logs`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, ValueHint};
use tenement_wire::{InstanceName, ProcessName};

use super::Target;

/// `ten logs`.
#[derive(Debug, Default, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Logs {
    /// What else to do with logs
    #[command(subcommand)]
    pub action: Option<LogsAction>,
    /// Which lines.
    #[command(flatten)]
    pub which: Which,
    /// Keep showing new lines
    #[arg(long, short)]
    pub follow: bool,
    /// How many of the newest lines (100, or with --since all)
    #[arg(long, short = 'n', value_name = "N", conflicts_with = "all",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub lines: Option<u32>,
    /// All lines, the oldest first
    #[arg(long, short, conflicts_with = "follow")]
    pub all: bool,
    /// Keep the colours that the app printed
    #[arg(long)]
    pub ansi: bool,
    /// JSON lines as they were printed; without it a terminal shows their message and name=value of the rest
    #[arg(long)]
    pub raw: bool,
}

/// Which lines.
#[derive(Debug, Clone, Default, Args)]
pub struct Which {
    /// An instance as process:id, or a process; without it, everybody's
    #[arg(value_name = "PROCESS[:ID]", conflicts_with = "process")]
    pub target: Option<Target>,
    /// A process, even if it is named like a verb of this command
    #[arg(long, value_name = "PROCESS")]
    pub process: Option<ProcessName>,
    /// Only lines since then, such as "10m ago", yesterday, 12:30 or "2026-01-31 12:00"
    #[arg(long, short = 'S', value_name = "TIME", allow_hyphen_values = true)]
    pub since: Option<String>,
    /// Only lines before then
    #[arg(long, short = 'U', value_name = "TIME", allow_hyphen_values = true)]
    pub until: Option<String>,
    /// Only lines at least this bad: emerg, alert, crit, error, warn, notice, info, debug
    #[arg(long, short = 'p', value_name = "LEVEL")]
    pub level: Option<String>,
    /// Only lines that hold this: words, "phrases", prefix*, *part*, -not, OR, field=value, /regex/
    #[arg(long, short = 'g', value_name = "QUERY", allow_hyphen_values = true)]
    pub search: Option<String>,
}

impl Which {
    /// The process, if one is named.
    pub fn process(&self) -> Option<&ProcessName> {
        self.process.as_ref().or(self.target.as_ref().map(|target| &target.process))
    }

    /// The instance, if one is named.
    pub fn instance(&self) -> Option<InstanceName> {
        let target = self.target.as_ref()?;
        format!("{}:{}", target.process, target.id.as_ref()?).parse().ok()
    }
}

/// Verbs of `ten logs`.
#[derive(Debug, Subcommand)]
pub enum LogsAction {
    /// Write all lines that match, the oldest first, in a form for programs
    Export {
        /// Which lines.
        #[command(flatten)]
        which: Which,
        /// JSON lines, text, or the journal export format
        #[arg(long, value_name = "FORMAT", default_value = "json")]
        format: Form,
        /// Into this file instead of stdout; an existing file is never overwritten
        #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
        output: Option<PathBuf>,
    },
    /// Ask the index in SQL; it can only read
    #[command(
        after_help = "The view logs has the columns timestamp, level, process, instance_id, message.\n\nExample:\n  ten logs sql \"SELECT instance_id, count(*) FROM logs WHERE level = 'error' GROUP BY 1\""
    )]
    Sql {
        /// One statement
        #[arg(value_name = "SQL")]
        sql: String,
    },
    /// Count lines over time, by level (the last hour without --since)
    Histogram {
        /// Which lines.
        #[command(flatten)]
        which: Which,
        /// In how many parts of equal length
        #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=500))]
        buckets: u32,
    },
    /// Show how much the logs take, by instance and day
    Usage,
}

/// The form of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// One JSON object for each line
    Json,
    /// Text, made harmless for terminals
    Text,
    /// systemd's journal export format
    Export,
}
