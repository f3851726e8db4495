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
use crate::output::Output;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output { json: cli.global.json, quiet: cli.global.quiet };
    match commands::run(cli, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}
