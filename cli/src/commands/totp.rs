//! `ten totp`: the second factor of browser logins with a token.

use std::io::{BufRead as _, IsTerminal as _};

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use tenement_wire::sessions::{ConfirmFactor, NewFactor, RecoveryCodes, SecondFactor};
use tenement_wire::tokens::{TokenList, TokenView};

use crate::args::{Totp, TotpAction, Whose};
use crate::client::Agent;
use crate::error::{CliError, Result};
use crate::output::{BOLD, Output};

/// Does what the command line says.
pub fn run(agent: &Agent, out: Output, args: &Totp) -> Result<()> {
    match &args.action {
        TotpAction::Enable(whose) => enable(agent, out, &token(agent, whose)?),
        TotpAction::Disable(whose) => {
            let token = token(agent, whose)?;
            let now: SecondFactor = agent.delete(&path(&token))?;
            if out.json {
                return out.json(&now);
            }
            out.say(&format!("logins with {BOLD}{}{BOLD:#} need no code any more", token.name));
            Ok(())
        }
        TotpAction::Status(whose) => {
            let token = token(agent, whose)?;
            let now: SecondFactor = agent.get(&path(&token))?;
            if out.json {
                return out.json(&now);
            }
            out.data(&status(&token, &now))
        }
    }
}

fn path(token: &TokenView) -> String {
    format!("/tokens/{}/totp", token.id)
}

fn status(token: &TokenView, now: &SecondFactor) -> String {
    let name = &token.name;
    match now {
        SecondFactor { enabled: true, recovery_codes, .. } => {
            format!("logins with {name} need a code ({recovery_codes} recovery codes are left)\n")
        }
        SecondFactor { pending: true, .. } => {
            format!("logins with {name} need no code: one was begun and not confirmed\n")
        }
        _ => format!("logins with {name} need no code\n"),
    }
}

/// The token that is meant, by its id or its name.
fn token(agent: &Agent, whose: &Whose) -> Result<TokenView> {
    let list: TokenList = agent.get("/tokens")?;
    let named = |token: &TokenView| match &whose.token {
        Some(text) => token.id.as_str() == text || token.name.as_str() == text,
        None => true,
    };
    let mut found: Vec<_> = list.tokens.into_iter().filter(named).collect();
    let hint = "ten token ls lists them; ten token-gen makes one";
    match (found.len(), &whose.token) {
        (1, _) => Ok(found.remove(0)),
        (0, Some(text)) => Err(CliError::usage(format!("there is no token {text}"), hint)),
        (0, None) => Err(CliError::usage("there is no token yet", hint)),
        (_, Some(text)) => {
            Err(CliError::usage(format!("several tokens are called {text}"), "name it by its id"))
        }
        (_, None) => Err(CliError::usage("there are several tokens: which one?", hint)),
    }
}

fn enable(agent: &Agent, out: Output, token: &TokenView) -> Result<()> {
    let new: NewFactor = agent.post(&path(token))?;
    // What is asked stands on standard error, so that the recovery codes alone can be redirected.
    out.say(&format!("Scan this with an authenticator app, or type {}:", new.secret));
    if let Ok(code) = QrCode::new(&new.uri) {
        eprintln!("{}", code.render::<Dense1x2>().quiet_zone(true).build());
    }
    eprintln!("{}", new.uri);
    let code = ask()?;
    let codes: RecoveryCodes = agent.patch(&path(token), &ConfirmFactor { code })?;
    if out.json {
        return out.json(&codes);
    }
    out.say(&format!(
        "logins with {BOLD}{}{BOLD:#} need a code from now on. Each of these does instead, once; keep them safe:",
        token.name
    ));
    out.data(&codes.recovery_codes.iter().map(|code| format!("{code}\n")).collect::<String>())
}

/// A line of standard input.
fn ask() -> Result<String> {
    if std::io::stdin().is_terminal() {
        eprint!("The six digits that it shows now: ");
    }
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    read.map_err(|e| CliError::failure(format!("can't read standard input: {e}"), "try again"))?;
    let code: String = line.split_whitespace().collect();
    if code.is_empty() {
        return Err(CliError::usage("no code was given, so nothing has changed", "run it again"));
    }
    Ok(code)
}
