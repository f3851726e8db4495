//! Options of every command: which agent, and how to print.

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// Options of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// Print JSON of a stable shape
    #[arg(long, global = true)]
    pub json: bool,
    /// Print names only, or nothing
    #[arg(long, short, global = true, conflicts_with = "json")]
    pub quiet: bool,
    /// Talk to your own agent (systemd --user) instead of the host's
    #[arg(long, global = true)]
    pub user: bool,
    /// Admin socket of the agent
    #[arg(long, global = true, env = "TENEMENT_SOCKET", value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub socket: Option<PathBuf>,
    /// Talk to the agent of another host, at its domain: https://example.com
    #[arg(long, global = true, env = "TENEMENT_URL", value_name = "URL", value_hint = ValueHint::Url)]
    pub url: Option<String>,
    /// File with the token for --url; without it, TENEMENT_TOKEN holds the token
    #[arg(long, global = true, env = "TENEMENT_TOKEN_FILE", value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub token_file: Option<PathBuf>,
    /// How many seconds to wait for the agent's answer
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 180,
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,
}
