//! `ten`: the command line of the tenement host agent.
//!
//! A thin client: what it prints is what the management API on the admin socket says. Only `init`,
//! `doctor`, `config check` and `logs` look at this machine by themselves, so that they work when no
//! agent runs.

mod args;
mod client;
mod commands;
mod endpoint;
mod error;
mod human;
mod output;
mod table;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Cli;
use crate::error::CliError;
use crate::output::Output;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misread(&error),
    };
    let output = Output { json: cli.global.json, quiet: cli.global.quiet };
    match commands::run(cli, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

/// What clap could not read, or help that was asked for. A program that wants JSON gets JSON.
fn misread(error: &clap::Error) -> ExitCode {
    let json = std::env::args_os().any(|arg| arg == "--json");
    if !json || !error.use_stderr() {
        error.exit();
    }
    let text = error.render().to_string();
    let detail = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
    let error = CliError::usage(detail, "see ten --help");
    Output { json, quiet: false }.error(&error);
    ExitCode::from(error.exit_code())
}
