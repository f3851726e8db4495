//! tenementd: the unprivileged agent. It proxies requests, wakes and stops instances, and answers `ten`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tenement_agent::app::{self, Places};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The tenement host agent.
#[derive(Debug, Parser)]
#[command(name = "tenementd", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    places: PlaceArgs,
}

#[derive(Debug, Args)]
struct PlaceArgs {
    /// Run for this user alone, under `systemd --user`, without root
    #[arg(long)]
    user: bool,
    /// Directory of tenement.toml and conf.d/ [default: /etc/tenement]
    #[arg(long, value_name = "DIR")]
    config_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check a config file or directory, without a running agent
    Check {
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
        /// A file, or a directory laid out like /etc/tenement [default: the agent's own]
        path: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let places = if cli.places.user {
        Places::user(|name| std::env::var_os(name).map(PathBuf::from))
    } else {
        Ok(Places::system())
    };
    let mut places = match places {
        Ok(places) => places,
        Err(error) => {
            eprintln!("tenementd: {error}");
            return ExitCode::FAILURE;
        }
    };
    if let Some(dir) = cli.places.config_dir {
        places.config_dir = dir;
    }
    match cli.command {
        Some(Command::Check { json, path }) => {
            app::check(path.as_deref().unwrap_or(&places.config_dir), json)
        }
        None => {
            app::logging::install("tenementd");
            app::run(places)
        }
    }
}
