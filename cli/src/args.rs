//! The command line, as clap reads it. Help texts are also the man pages and the completions.

mod backup;
mod deploy;
mod domain;
mod events;
mod global;
mod logs;
mod metrics;
mod patience;
mod rollout;
mod run;
mod secret;
mod target;
mod tls;
mod token;
mod top;
mod totp;
mod wait;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use tenement_wire::dto::State;
use tenement_wire::{InstanceId, InstanceName, ProcessName};

pub use backup::{Backup, BackupAction, Restore};
pub use deploy::{Deploy, OneRelease, ReleaseFrom, Releases, ReleasesAction};
pub use domain::{Domain, DomainAction, Maintenance, Share, Switch, Weight};
pub use events::{Alerts, AlertsAction, Events};
pub use global::Global;
pub use logs::{Form, Logs, LogsAction, Which};
pub use metrics::{Metrics, MetricsAction, MetricsHistory};
pub use patience::Patience;
pub use rollout::{Deploys, Pace, Pin, Rollback, Rollout, Route, Unpin};
pub use run::{Cron, CronAction, How, Run, Shell as InstanceShell};
pub use secret::{Secret, SecretAction};
pub use target::Target;
pub use tls::{Tls, TlsAction};
pub use token::{Life, Token, TokenAction, TokenGen};
pub use top::{Top, TopSort};
pub use totp::{Totp, TotpAction, Whose};
pub use wait::Wait;

const AFTER: &str = "\
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 permission denied, 5 agent unreachable,
6 conflict or in use, 7 timed out, 8 the instance did not start.";

/// Runs small web apps that sleep until somebody needs them.
#[derive(Debug, Parser)]
#[command(name = "ten", version, after_help = AFTER, disable_help_subcommand = true)]
#[command(propagate_version = false, infer_subcommands = false)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Register instances and start them
    #[command(
        after_help = "Examples:\n  ten spawn api:prod\n  ten spawn api --id prod --id staging\n  ten spawn api              (ids 1..n, n = `instances` of the config)"
    )]
    Spawn(Spawn),
    /// List instances
    #[command(visible_alias = "ls")]
    Ps(Ps),
    /// Show what runs and what it uses, live, with keys to wake, put to sleep and read logs
    #[command(
        after_help = "Keys: arrows move, c m r t n sort by CPU, memory, requests, tier, name (again: the other way round),\n/ filters, w wakes, s puts to sleep, l shows the log, q quits."
    )]
    Top(Top),
    /// Show everything about an instance
    Show(Show),
    /// Show or change the limits of one instance
    #[command(
        after_help = "Examples:\n  ten set api:prod memory_max=256M cpu=1.5\n  ten set api:prod memory_max=     (as the config has it again)\n  ten set api:prod                 (show those in force)"
    )]
    Set(Set),
    /// Start instances and wait until they answer
    #[command(visible_alias = "start")]
    Wake(Verb),
    /// Put instances to sleep; the next request wakes them
    Sleep(Sleep),
    /// Stop instances, whatever is open; the next request wakes them
    Stop(Verb),
    /// Restart instances with the config as it is now
    Restart(Verb),
    /// Give instances that have failed a new chance; the next request starts them
    Reset(Verb),
    /// Stop instances and forget them; their data is kept unless --purge is given
    Rm(Rm),
    /// Show how the state of an instance changed, and what made it
    History(History),
    /// Set, list or delete the secrets of an instance
    Secret(Secret),
    /// Make a release of a directory, a tar file or a git reference, and run a process from it
    #[command(
        after_help = "The release is built by `build` in [process.NAME.deploy], in a sandbox of its own. Of a directory, .git and what\n.tenementignore names are left out.\n\nExamples:\n  ten deploy api ./dist\n  ten deploy api --git /srv/repo --ref v2\n  tar -cz . | ten deploy api - --release v3"
    )]
    Deploy(Box<Deploy>),
    /// List, show or delete releases, or print what their builds printed
    #[command(
        after_help = "Examples:\n  ten releases api\n  ten releases show api v2\n  ten releases log api v2 --follow\n  ten releases rm api v1"
    )]
    Releases(Releases),
    /// List deployments, follow one, or end it
    Deploys(Deploys),
    /// Go back to the release before
    Rollback(Rollback),
    /// Move the requests of a process from one instance to another, in one step
    Route(Route),
    /// Have an instance stay at a release
    Pin(Pin),
    /// Have an instance go with its process again
    Unpin(Unpin),
    /// Add, list, check or remove custom domains
    Domain(Domain),
    /// Show or set by which weights instances share the requests of their process
    #[command(
        after_help = "An instance that none was set for has the default of its process (100).\n\nExamples:\n  ten weight api               (show them)\n  ten weight api:v2 10\n  ten weight api:v2 default"
    )]
    Weight(Weight),
    /// Answer all requests of a process with a page of maintenance (503), or serve them again
    Maintenance(Maintenance),
    /// Back up the data of an instance into a file or to where the config keeps backups, or list those
    #[command(
        after_help = "Examples:\n  ten backup api:prod                        (to where [process.api.backup] keeps them)\n  ten backup api:prod -o prod.tar.zst --online\n  ten backup api:prod -o - | ssh other ten restore api:prod - --yes\n  ten backup ls\n  ten backup ls api:prod"
    )]
    Backup(Backup),
    /// Replace the data of an instance by that of a backup: all of it, or nothing
    #[command(
        after_help = "Examples:\n  ten restore api:prod prod.tar.zst\n  ten restore api:prod --from latest\n  ten restore api:prod prod.tar.zst --to api:copy"
    )]
    Restore(Restore),
    /// Make browser logins need the code of an authenticator app
    Totp(Totp),
    /// Say why an instance is awake or asleep, and what holds it
    Why(One),
    /// Show the logs of an instance, of a process or of all
    #[command(
        after_help = "Examples:\n  ten logs api:prod -f\n  ten logs api --since \"1h ago\" --level warn\n  ten logs --search 'timeout OR \"connection reset\" -health'\n  ten logs --process usage     (a process that is named like a verb)"
    )]
    Logs(Box<Logs>),
    /// Show who changed what, and what happened by itself
    #[command(
        after_help = "Kinds: change, refused, state, failed, restart-loop, oom, quota, backup-failed, wake-failed, job-failed, rollback,\ncertificate, config, token, lockout, operation, alert, agent.\n\nExamples:\n  ten events -f\n  ten events api:prod --since yesterday --kind change\n  ten events --actor uid:1000 -n 200"
    )]
    Events(Box<Events>),
    /// Make a token for the API and print it, this once
    #[command(
        after_help = "Examples:\n  ten token-gen --name dashboard\n  ten token-gen --name ci --scope operator --process api --expires 30d\n  curl -H \"Authorization: Bearer $(ten token-gen --scope read)\" https://example.com/api/v1/instances"
    )]
    TokenGen(TokenGen),
    /// List, show, revoke or rotate tokens
    Token(Token),
    /// Say where alerts go and how the last ones went, or send a test
    Alerts(Alerts),
    /// List, show or renew certificates, or trust this host's own CA
    Tls(Tls),
    /// Print the config that the agent runs on, check a new one, or reload it
    Config(Config),
    /// List the processes of the config, or show the validated config of one
    Processes(Processes),
    /// Print what the agent counts: instances, requests, wakes, logs
    Metrics(Metrics),
    /// Run a command once in an instance, as its user and in its sandbox, whether it runs or sleeps
    #[command(
        after_help = "Exits as the command does; 128 and the number of a signal that killed it, 124 when its time was over.\nIts output goes here and nowhere else. Secrets belong into its standard input: variables and arguments\ncan be read by others on the host.\n\nExamples:\n  ten run api:prod -- ./manage.py migrate\n  ten run api:prod --env DRY=1 --timeout 1h -- sh -c 'ls -l $DATA_DIR'\n  ten run api:prod -- sqlite3 app.db < changes.sql"
    )]
    Run(Run),
    /// List scheduled jobs, or run one now
    Cron(Cron),
    /// Open a shell in an instance: as its user, in its sandbox, in its directory
    Shell(InstanceShell),
    /// Run a command inside an instance, which is not put to sleep meanwhile
    #[command(
        after_help = "For scripts and workers of an instance. The lock is on the file that $TENEMENT_BUSY names.\n\nExamples:\n  ten busy -- ./make-report --month 5\n  ten busy -- sh -c 'fetch | import'"
    )]
    Busy(Busy),
    /// Write a config for the app in a directory
    Init(Init),
    /// Check this host, with a fix for everything that is wrong
    Doctor,
    /// Print the versions of ten, the agent and systemd
    Version,
    /// Print the completions for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Write the man pages
    #[command(hide = true)]
    Man {
        /// Into which directory
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        out: PathBuf,
    },
}

/// One instance.
#[derive(Debug, Args)]
pub struct One {
    /// The instance, as process:id
    #[arg(value_name = "PROCESS:ID")]
    pub name: InstanceName,
}

/// `ten history`.
#[derive(Debug, Args)]
pub struct History {
    /// The instance, as process:id
    #[arg(value_name = "PROCESS:ID")]
    pub name: InstanceName,
    /// How many changes, the newest first
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 20,
          value_parser = clap::value_parser!(u32).range(1..=100))]
    pub lines: u32,
}

/// `ten show`.
#[derive(Debug, Args)]
pub struct Show {
    /// The instance, as process:id
    #[arg(value_name = "PROCESS:ID")]
    pub name: InstanceName,
    /// How exposed its unit is (through systemd-analyze security)
    #[arg(long)]
    pub security: bool,
    /// What to wait for.
    #[command(flatten)]
    pub wait: Wait,
}

/// `ten processes`.
#[derive(Debug, Args)]
pub struct Processes {
    /// Only this one, with everything about it
    #[arg(value_name = "PROCESS")]
    pub process: Option<ProcessName>,
}

/// Some instances.
#[derive(Debug, Args)]
pub struct Many {
    /// The instances, each as process:id
    #[arg(value_name = "PROCESS:ID", required = true)]
    pub names: Vec<InstanceName>,
}

/// A verb on some instances.
#[derive(Debug, Args)]
pub struct Verb {
    /// The instances.
    #[command(flatten)]
    pub many: Many,
    /// What to wait for.
    #[command(flatten)]
    pub wait: Wait,
}

/// `ten spawn`.
#[derive(Debug, Args)]
pub struct Spawn {
    /// A process of the config, or instances as process:id
    #[arg(value_name = "PROCESS[:ID]", required = true)]
    pub targets: Vec<Target>,
    /// The id of the instance; may be given several times
    #[arg(long = "id", value_name = "ID")]
    pub ids: Vec<InstanceId>,
    /// Only register them: the first request starts them
    #[arg(long)]
    pub no_start: bool,
    /// What to wait for.
    #[command(flatten)]
    pub wait: Wait,
}

/// `ten set`.
#[derive(Debug, Args)]
pub struct Set {
    /// The instance, as process:id
    #[arg(value_name = "PROCESS:ID")]
    pub name: InstanceName,
    /// Limits, each as name=value; without a value it is as the config has it again
    #[arg(value_name = "LIMIT=VALUE")]
    pub limits: Vec<String>,
}

/// `ten ps`.
#[derive(Debug, Args)]
pub struct Ps {
    /// Only instances of this process
    #[arg(value_name = "PROCESS")]
    pub process: Option<ProcessName>,
    /// Only instances of this process
    #[arg(long = "process", value_name = "PROCESS", conflicts_with = "process")]
    pub of: Option<ProcessName>,
    /// Only those in this state: asleep, starting, running, stopping or failed
    #[arg(long, value_name = "STATE")]
    pub state: Option<State>,
    /// Only those with this text in their name or URL
    #[arg(long, value_name = "TEXT")]
    pub text: Option<String>,
    /// Keep showing it until Ctrl-C
    #[arg(long, short)]
    pub watch: bool,
    /// Show more columns
    #[arg(long)]
    pub wide: bool,
}

/// `ten sleep`.
#[derive(Debug, Args)]
pub struct Sleep {
    /// The instances.
    #[command(flatten)]
    pub many: Many,
    /// Even while requests are open
    #[arg(long, short)]
    pub force: bool,
    /// What to wait for.
    #[command(flatten)]
    pub wait: Wait,
}

/// `ten rm`.
#[derive(Debug, Args)]
pub struct Rm {
    /// The instances.
    #[command(flatten)]
    pub many: Many,
    /// Delete their data too
    #[arg(long)]
    pub purge: bool,
    /// Don't ask
    #[arg(long, short)]
    pub yes: bool,
}

/// `ten busy`.
#[derive(Debug, Args)]
pub struct Busy {
    /// The command, with its arguments
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, allow_hyphen_values = true,
          value_hint = ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,
}

/// `ten config`.
#[derive(Debug, Args)]
pub struct Config {
    /// What to do with it; without it, print the effective config
    #[command(subcommand)]
    pub action: Option<ConfigAction>,
}

/// Verbs of `ten config`.
#[derive(Debug, Subcommand)]
pub enum ConfigAction {
    /// Check config files; needs no running agent (with --url, the agent there checks its own or those given)
    Check {
        /// A file, or a directory such as /etc/tenement (the default)
        #[arg(value_name = "FILE", value_hint = ValueHint::AnyPath)]
        path: Option<PathBuf>,
    },
    /// Make the agent read its config again; a wrong one is refused, and the old one stays
    Reload,
}

/// `ten init`.
#[derive(Debug, Args)]
pub struct Init {
    /// Directory of the app
    #[arg(value_name = "DIR", default_value = ".", value_hint = ValueHint::DirPath)]
    pub directory: PathBuf,
    /// Name of the process; the directory's name by default
    #[arg(long, value_name = "NAME")]
    pub name: Option<ProcessName>,
    /// Write to this file instead of stdout; an existing file is never overwritten
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
}
