//! The command lines of `ten deploy` and `ten releases`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use tenement_wire::{ProcessName, ReleaseName};

/// `ten deploy`.
#[derive(Debug, Args)]
pub struct Deploy {
    /// The process
    #[arg(value_name = "PROCESS")]
    pub process: ProcessName,
    /// What to make the release from.
    #[command(flatten)]
    pub from: ReleaseFrom,
    /// Only make the release; nothing runs from it yet
    #[arg(long, conflicts_with_all = ["now", "version"])]
    pub upload_only: bool,
    /// How instances come to it.
    #[command(flatten)]
    pub how: super::Rollout,
}

/// What a release is made from, and what it is called.
#[derive(Debug, Clone, Args)]
pub struct ReleaseFrom {
    /// A directory, a tar file (.tar, .tar.gz, .tar.zst), or - for standard input; with --release or --version alone,
    /// the release of that name is deployed as it is
    #[arg(value_name = "DIR|FILE|-", value_hint = ValueHint::AnyPath, required_unless_present_any = ["git", "release", "version"],
          conflicts_with = "git")]
    pub path: Option<PathBuf>,
    /// A git repository
    #[arg(long, value_name = "REPO", value_hint = ValueHint::DirPath)]
    pub git: Option<PathBuf>,
    /// The tag, branch or commit of the repository
    #[arg(long = "ref", value_name = "REF", default_value = "HEAD", requires = "git")]
    pub reference: String,
    /// The name of the release; by default the tag or commit, or the time
    #[arg(long, value_name = "NAME")]
    pub release: Option<ReleaseName>,
}

/// `ten releases`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Releases {
    /// What else to do with releases
    #[command(subcommand)]
    pub action: Option<ReleasesAction>,
    /// Only those of this process
    #[arg(value_name = "PROCESS", conflicts_with = "of")]
    pub process: Option<ProcessName>,
    /// A process, even if it is named like a verb of this command
    #[arg(long = "process", value_name = "PROCESS")]
    pub of: Option<ProcessName>,
}

/// One release.
#[derive(Debug, Args)]
pub struct OneRelease {
    /// The process
    #[arg(value_name = "PROCESS")]
    pub process: ProcessName,
    /// The release
    #[arg(value_name = "RELEASE")]
    pub release: ReleaseName,
}

/// Verbs of `ten releases`.
#[derive(Debug, Subcommand)]
pub enum ReleasesAction {
    /// Show everything about a release
    Show(OneRelease),
    /// Print what its build has printed: the last 64 KiB
    Log {
        /// Which.
        #[command(flatten)]
        one: OneRelease,
        /// Until the build has ended
        #[arg(long, short)]
        follow: bool,
    },
    /// Delete a release that nothing needs, or end its build
    Rm(OneRelease),
}
