//! The command line of `ten backup` and `ten restore`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use tenement_wire::InstanceName;
use tenement_wire::backups::BackupMethod;

/// `ten backup`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Backup {
    /// What else to do with backups
    #[command(subcommand)]
    pub action: Option<BackupAction>,
    /// The instance, as process:id
    #[arg(value_name = "PROCESS:ID", required = true)]
    pub name: Option<InstanceName>,
    /// Write the archive into this file, - for standard output; without it it goes where the config keeps backups
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// sleep: the instance is stopped meanwhile and requests wait; online: it runs on
    #[arg(long, value_name = "METHOD", requires = "output")]
    pub method: Option<BackupMethod>,
    /// The same as --method online
    #[arg(long, requires = "output", conflicts_with = "method")]
    pub online: bool,
    /// Replace the file if it exists
    #[arg(long, short, requires = "output")]
    pub force: bool,
}

/// Verbs of `ten backup`.
#[derive(Debug, Subcommand)]
pub enum BackupAction {
    /// Show how backups stand, or which are kept of an instance
    #[command(visible_alias = "list")]
    Ls {
        /// The instance, as process:id
        #[arg(value_name = "PROCESS:ID")]
        name: Option<InstanceName>,
    },
}

/// `ten restore`.
#[derive(Debug, Args)]
pub struct Restore {
    /// The instance that the backup is of, as process:id
    #[arg(value_name = "PROCESS:ID")]
    pub name: InstanceName,
    /// The archive, - for standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath, required_unless_present = "from")]
    pub file: Option<PathBuf>,
    /// One of the backups that are kept: latest, or its name
    #[arg(long, value_name = "BACKUP", conflicts_with = "file")]
    pub from: Option<String>,
    /// Into this instance instead; it is registered if it is not there
    #[arg(long, value_name = "PROCESS:ID")]
    pub to: Option<InstanceName>,
    /// Keep the data that is there now, beside it
    #[arg(long)]
    pub keep_old: bool,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}
