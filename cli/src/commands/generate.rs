//! `version`, `completions` and `man`: what `ten` says of itself.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;
use serde_json::json;
use tenement_wire::dto::Version;

use crate::args::Cli;
use crate::client::Agent;
use crate::error::{CliError, Result};
use crate::output::{Output, clean};
use crate::table::pairs;

/// Prints the versions. That no agent answers is no failure: its version is then unknown.
pub fn version(agent: Result<Agent>, out: Output) -> Result<()> {
    let own = env!("CARGO_PKG_VERSION");
    let asked = agent.and_then(|agent| agent.get::<Version>("/version"));
    if out.json {
        return out.json(&json!({ "ten": own, "agent": asked.ok() }));
    }
    if out.quiet {
        return out.data(own);
    }
    match asked {
        Ok(agent) => {
            let systemd = agent.systemd.map_or_else(|| "unknown".to_owned(), |v| v.to_string());
            out.data(&pairs(&[
                ("ten", own.to_owned()),
                ("tenementd", format!("{} ({})", agent.version, agent.mode)),
                ("systemd", systemd),
            ]))
        }
        Err(error) => {
            out.data(&pairs(&[("ten", own.to_owned()), ("tenementd", "unknown".to_owned())]))?;
            out.say(&clean(&error.detail));
            out.say(&format!("hint: {}", clean(error.hint.as_deref().unwrap_or(""))));
            Ok(())
        }
    }
}

/// Prints the completions for `shell`.
pub fn completions(out: Output, shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ten", &mut script);
    out.data(&String::from_utf8_lossy(&script))
}

/// Writes `ten.1`, `ten-spawn.1`, ... into `dir`.
pub fn man(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(|e| CliError::file("make", dir, &e))?;
    clap_mangen::generate_to(Cli::command(), dir).map_err(|e| CliError::file("write to", dir, &e))
}
