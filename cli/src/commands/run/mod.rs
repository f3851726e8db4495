//! `ten run` and `ten shell`: a command in an instance, as if it ran here.
//!
//! ```text
//! stdin (thread) ─► frames ─► agent ─► command          Ctrl-C, SIGTERM … ─► Signal
//! stdout, stderr (thread) ◄─ frames ◄──┘                window size ─► Resize
//! ```

mod talk;
mod terminal;

use std::collections::BTreeMap;
use std::io::IsTerminal as _;

use bytes::Bytes;
use tenement_wire::InstanceName;
use tenement_wire::frames::{self, Kind, MEDIA_TYPE, PAYLOAD_MAX};
use tenement_wire::tasks::{RunEnd, RunRequest, TerminalSize};

use crate::args::{Global, How, InstanceShell, Patience, Run};
use crate::client::Agent;
use crate::error::{CliError, Result};
use terminal::Raw;

/// bash if the host has it, and sh if not. Files that change the prompt are not read.
const SHELL: &str =
    "if command -v bash >/dev/null 2>&1; then exec bash --noprofile --norc; else exec sh; fi";

/// The size of a terminal that nobody sees.
const UNSEEN: TerminalSize = TerminalSize { rows: 24, columns: 80 };

/// `ten run`.
pub fn run(agent: &Agent, global: &Global, args: &Run) -> Result<()> {
    perform(agent, global, &args.name, &args.how, args.command.clone(), BTreeMap::new())
}

/// `ten shell`.
pub fn shell(agent: &Agent, global: &Global, args: &InstanceShell) -> Result<()> {
    let command = ["/bin/sh", "-c", SHELL].map(str::to_owned).to_vec();
    let prompt = format!("[{}] \\w\\$ ", args.name);
    let env = BTreeMap::from([("PS1".to_owned(), prompt)]);
    perform(agent, global, &args.name, &args.how, command, env)
}

/// Runs it and exits as it did; comes back only if it could not be run.
fn perform(
    agent: &Agent,
    global: &Global,
    name: &InstanceName,
    how: &How,
    command: Vec<String>,
    mut env: BTreeMap<String, String>,
) -> Result<()> {
    let seen = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let wanted = how.tty || (seen && !how.no_tty);
    let size = wanted.then(|| terminal::size().unwrap_or(UNSEEN));
    if wanted && let Ok(kind) = std::env::var("TERM") {
        env.insert("TERM".into(), kind);
    }
    env.extend(how.env.iter().map(|variable| (variable.0.clone(), variable.1.clone())));
    let timeout_s = global.timeout.map(|Patience(seconds)| seconds);
    let request = RunRequest { command, env, timeout_s, terminal: size };
    let head = serde_json::to_vec(&request).map_err(|e| {
        CliError::failure(format!("can't write the request: {e}"), "please report this")
    })?;
    if head.len() > PAYLOAD_MAX {
        let detail = format!("the command and its variables have more than {PAYLOAD_MAX} bytes");
        return Err(CliError::usage(detail, "pass long text by standard input"));
    }
    let first = Bytes::from(frames::encode(Kind::Request, &head));
    let path = format!("/instances/{name}/run");
    let ended = agent.duplex(&path, MEDIA_TYPE, first, async |duplex| {
        let raw = if wanted && std::io::stdin().is_terminal() { Raw::enter() } else { None };
        let ended = talk::until_the_end(agent, duplex, wanted).await;
        // Before anything is said, for in raw mode lines do not begin at the left.
        drop(raw);
        ended
    })?;
    leave(&ended)
}

/// Exits as the command did. Whoever reads standard input still waits in it, and need not be waited for.
fn leave(end: &RunEnd) -> Result<()> {
    if let Some(error) = &end.error {
        return Err(CliError::failure(error.clone(), "see how the agent is: ten doctor"));
    }
    match end.result.as_str() {
        "timeout" => eprintln!("ten: the command was ended: its time was over (--timeout)"),
        "oom-kill" => eprintln!("ten: the command ran out of the memory that the instance may use"),
        _ => {}
    }
    std::process::exit(i32::from(end.exit_status));
}
