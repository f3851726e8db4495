//! One module for each command, or for a family of them.

mod alerts;
mod backup;
mod busy;
mod config;
mod cron;
mod deploy;
mod doctor;
mod domain;
mod events;
mod follow;
mod generate;
mod history;
mod init;
mod lifecycle;
mod logs;
mod metrics;
mod processes;
mod ps;
mod releases;
mod rollout;
mod run;
mod secret;
mod security;
mod set;
mod spawn;
mod tls;
mod token;
mod top;
mod totp;

use std::path::PathBuf;

use crate::args::{Cli, Command, ConfigAction, Global, MetricsAction, Patience};
use crate::client::Agent;
use crate::endpoint::Endpoint;
use crate::error::{CliError, Result};
use crate::output::Output;

/// Does what the command line says.
pub fn run(cli: Cli, out: Output) -> Result<()> {
    let global = &cli.global;
    match cli.command {
        Command::Spawn(args) => spawn::run(&agent(global)?, out, &args),
        Command::Ps(args) => ps::run(&agent(global)?, out, &args),
        Command::Show(args) if args.security => {
            let endpoint = endpoint(global)?;
            endpoint.here("ten show --security")?;
            security::run(endpoint.mode, out, &args.name)
        }
        Command::Show(args) => ps::show(&agent(global)?, out, &args),
        Command::History(args) => history::run(&agent(global)?, out, &args),
        Command::Set(args) => set::run(&agent(global)?, out, &args),
        Command::Why(args) => ps::why(&agent(global)?, endpoint(global)?.mode, out, &args.name),
        Command::Secret(args) => secret::run(&agent(global)?, out, &args),
        Command::Deploy(args) => deploy::run(&agent(global)?, out, &args),
        Command::Releases(args) => releases::run(&agent(global)?, out, &args),
        Command::Deploys(args) => rollout::deploys(&agent(global)?, out, &args),
        Command::Rollback(args) => rollout::rollback(&agent(global)?, out, &args),
        Command::Route(args) => rollout::route(&agent(global)?, out, &args),
        Command::Pin(args) => rollout::pin(&agent(global)?, out, &args),
        Command::Unpin(args) => rollout::unpin(&agent(global)?, out, &args),
        Command::Domain(args) => domain::run(&agent(global)?, out, &args),
        Command::Weight(args) => domain::weight(&agent(global)?, out, &args),
        Command::Maintenance(args) => domain::maintenance(&agent(global)?, out, &args),
        Command::Backup(args) => backup::run(&agent(global)?, out, &args),
        Command::Restore(args) => backup::restore(&agent(global)?, out, &args),
        Command::Totp(args) => totp::run(&agent(global)?, out, &args),
        Command::Wake(args) => lifecycle::verb(&agent(global)?, out, &args, "wake"),
        Command::Stop(args) => lifecycle::verb(&agent(global)?, out, &args, "stop"),
        Command::Restart(args) => lifecycle::verb(&agent(global)?, out, &args, "restart"),
        Command::Reset(args) => lifecycle::verb(&agent(global)?, out, &args, "reset"),
        Command::Processes(args) => processes::run(&agent(global)?, out, &args),
        Command::Top(args) => top::run(&endpoint(global)?, global.patience(), out, &args),
        Command::Metrics(args) => match args.action {
            None => metrics::run(&agent(global)?, out),
            Some(MetricsAction::History(args)) => metrics::history(&agent(global)?, out, &args),
        },
        Command::Sleep(args) => {
            let verb = if args.force { "sleep?force=true" } else { "sleep" };
            lifecycle::each(&agent(global)?, out, &args.many.names, &args.wait.onto(verb))
        }
        Command::Rm(args) => lifecycle::remove(&agent(global)?, out, &args),
        Command::Logs(args) => logs::run(&agent(global)?, out, &args),
        Command::Events(args) => events::run(&agent(global)?, out, &args),
        Command::TokenGen(args) => token::generate(&agent(global)?, out, &args),
        Command::Token(args) => token::run(&agent(global)?, out, &args),
        Command::Alerts(args) => alerts::run(&agent(global)?, out, &args),
        Command::Tls(args) => tls::run(&agent(global)?, out, &args),
        Command::Config(args) => match args.action {
            None => config::show(&agent(global)?, out),
            Some(ConfigAction::Reload) => config::reload(&agent(global)?, out),
            Some(ConfigAction::Check { path }) if endpoint(global)?.remote.is_some() => {
                config::check_there(&agent(global)?, out, path.as_deref())
            }
            Some(ConfigAction::Check { path }) => config::check(global, out, path.as_deref()),
        },
        Command::Run(args) => run::run(&command_agent(global)?, global, &args),
        Command::Shell(args) => run::shell(&command_agent(global)?, global, &args),
        Command::Cron(args) => cron::run(&agent(global)?, global.patience(), out, &args),
        Command::Busy(args) => busy::run(&args),
        Command::Init(args) => init::run(out, &args),
        Command::Doctor => {
            endpoint(global)?.here("ten doctor")?;
            doctor::run(global, out)
        }
        Command::Version => generate::version(agent(global), out),
        Command::Completions { shell } => generate::completions(out, shell),
        Command::Man { out: dir } => generate::man(&dir),
    }
}

/// The agent that the options name.
fn endpoint(global: &Global) -> Result<Endpoint> {
    if let Some(url) = global.url.as_deref().filter(|url| !url.is_empty()) {
        if global.user || global.socket.is_some() {
            return Err(CliError::usage(
                "--url names another host's agent, and --socket or --user one of this host",
                "leave one of them out, or unset TENEMENT_URL or TENEMENT_SOCKET",
            ));
        }
        let variable = std::env::var("TENEMENT_TOKEN").ok();
        let token = crate::endpoint::token(global.token_file.as_deref(), variable)?;
        return Endpoint::remote(url, &token);
    }
    let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    Endpoint::choose(global.socket.as_deref(), global.user, runtime_dir.as_deref())
}

fn agent(global: &Global) -> Result<Agent> {
    Agent::new(endpoint(global)?, global.patience())
}

/// The same for commands that `--timeout` bounds, and not the answer.
fn command_agent(global: &Global) -> Result<Agent> {
    Agent::new(endpoint(global)?, Patience::DEFAULT.duration())
}
