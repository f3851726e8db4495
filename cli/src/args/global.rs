//! Options of every command: which agent, and how to print.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};

use super::Patience;

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
    /// How long to wait for the agent's answer: seconds, or 30s, 5m, 1h (180 s); of run and shell, how long the command may run (1d)
    #[arg(long, global = true, value_name = "TIME")]
    pub timeout: Option<Patience>,
}

impl Global {
    /// How long to wait for the agent's answer.
    pub fn patience(&self) -> Duration {
        self.timeout.unwrap_or(Patience::DEFAULT).duration()
    }
}
