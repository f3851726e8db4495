//! The command line of `ten run`, `ten shell` and `ten cron`.

use std::str::FromStr;

use clap::{Args, Subcommand, ValueHint};
use tenement_wire::InstanceName;

use super::Target;

/// `ten run`.
#[derive(Debug, Args)]
pub struct Run {
    /// The instance, as process:id
    #[arg(value_name = "PROCESS:ID")]
    pub name: InstanceName,
    /// How it is run.
    #[command(flatten)]
    pub how: How,
    /// The command, with its arguments
    #[arg(value_name = "COMMAND", required = true, last = true,
          value_hint = ValueHint::CommandWithArguments)]
    pub command: Vec<String>,
}

/// `ten shell`.
#[derive(Debug, Args)]
pub struct Shell {
    /// The instance, as process:id
    #[arg(value_name = "PROCESS:ID")]
    pub name: InstanceName,
    /// How it is run.
    #[command(flatten)]
    pub how: How,
}

/// How a command is run.
#[derive(Debug, Args)]
pub struct How {
    /// A variable for the command, beside those of the instance; may be given several times
    #[arg(long = "env", short = 'e', value_name = "NAME=VALUE")]
    pub env: Vec<Variable>,
    /// Give it a terminal; it has one anyway when standard input and output are one
    #[arg(long, short = 't')]
    pub tty: bool,
    /// Give it none
    #[arg(long, short = 'T', conflicts_with = "tty")]
    pub no_tty: bool,
}

/// `NAME=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable(pub String, pub String);

impl FromStr for Variable {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok(Self(name.to_owned(), value.to_owned())),
            _ => Err("write NAME=VALUE"),
        }
    }
}

/// `ten cron`.
#[derive(Debug, Args)]
pub struct Cron {
    /// What to do with them
    #[command(subcommand)]
    pub action: CronAction,
}

/// Verbs of `ten cron`.
#[derive(Debug, Subcommand)]
pub enum CronAction {
    /// List jobs: when they are due, when they last ran and how that ended
    #[command(visible_alias = "list")]
    Ls {
        /// Only those of this process, or of this instance
        #[arg(value_name = "PROCESS[:ID]")]
        target: Option<Target>,
    },
    /// Run a job now and wait until it has ended; what it prints is in the instance's log
    Run {
        /// The instance, as process:id
        #[arg(value_name = "PROCESS:ID")]
        name: InstanceName,
        /// The job's name in the config
        #[arg(value_name = "JOB")]
        job: String,
        /// Only begin it
        #[arg(long)]
        no_wait: bool,
    },
}
