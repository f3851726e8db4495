//! `ten secret`: values go from standard input to the agent, and never come back.

use std::io::{IsTerminal, Read};

use tenement_wire::secrets::TOO_LONG;
use tenement_wire::{InstanceName, SECRET_MAX, SecretList, SecretName};

use crate::args::{Secret, SecretAction};
use crate::client::Agent;
use crate::error::{CliError, Result};
use crate::human;
use crate::output::{BOLD, Output};
use crate::table;

/// Does what the command line says.
pub fn run(agent: &Agent, out: Output, args: &Secret) -> Result<()> {
    match &args.action {
        SecretAction::Set { name, secret } => set(agent, out, name, secret),
        SecretAction::Ls { name } => {
            let list: SecretList = agent.get(&format!("/instances/{name}/secrets"))?;
            print(out, name, &list)
        }
        SecretAction::Rm { name, secret } => {
            let list: SecretList = agent.delete(&format!("/instances/{name}/secrets/{secret}"))?;
            if out.json {
                return out.json(&list);
            }
            out.say(&format!(
                "{name} has no {BOLD}{secret}{BOLD:#} any more, from its next start on"
            ));
            Ok(())
        }
    }
}

fn set(agent: &Agent, out: Output, name: &InstanceName, secret: &SecretName) -> Result<()> {
    let list: SecretList =
        agent.put_bytes(&format!("/instances/{name}/secrets/{secret}"), value(name, secret)?)?;
    if out.json {
        return out.json(&list);
    }
    let kept = list.secrets.iter().find(|one| one.name == *secret);
    let how = match kept {
        Some(one) if one.encrypted => "encrypted with this host's key",
        _ => "NOT encrypted, readable by root only: this host has no systemd-creds",
    };
    out.say(&format!("{name} has {BOLD}{secret}{BOLD:#} from its next start on ({how})"));
    Ok(())
}

/// What stands on standard input, byte for byte.
fn value(name: &InstanceName, secret: &SecretName) -> Result<Vec<u8>> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Err(CliError::usage(
            "the value of a secret is read from standard input, and that is your terminal",
            format!(
                "ten secret set {name} {secret} < FILE, or: printf %s \"$VALUE\" | ten secret set {name} {secret}"
            ),
        ));
    }
    let mut value = Vec::new();
    let read = stdin.lock().take(SECRET_MAX as u64 + 1).read_to_end(&mut value);
    read.map_err(|e| CliError::failure(format!("can't read standard input: {e}"), "try again"))?;
    if value.is_empty() {
        return Err(CliError::usage("the value is empty", "see that standard input holds it"));
    }
    if value.len() > SECRET_MAX {
        let (what, fix) = TOO_LONG.split_once(": ").unwrap_or((TOO_LONG, "set a shorter one"));
        return Err(CliError::usage(what, fix));
    }
    Ok(value)
}

fn print(out: Output, name: &InstanceName, list: &SecretList) -> Result<()> {
    if out.json {
        return out.json(list);
    }
    if out.quiet {
        return out
            .data(&list.secrets.iter().map(|one| format!("{}\n", one.name)).collect::<String>());
    }
    if list.secrets.is_empty() {
        out.say(&format!(
            "{name} has no secrets of its own: set one with ten secret set {name} NAME"
        ));
        return Ok(());
    }
    out.data(&table::secrets(&list.secrets, human::now_ms()))
}
