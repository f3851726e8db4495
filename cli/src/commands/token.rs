//! `ten token` and `ten token-gen`: a token is printed once, when it is made.

use clap::builder::styling::Style;
use tenement_wire::sessions::LoggedOut;
use tenement_wire::tokens::{CreateToken, NewToken, TokenList, TokenRevoked, TokenView};

use crate::args::{Life, Token, TokenAction, TokenGen};
use crate::client::Agent;
use crate::error::{CliError, Kind, Result};
use crate::human;
use crate::output::{BAD, BOLD, Output};
use crate::table::{Listing, dash, pairs};

/// `ten token-gen`.
pub fn generate(agent: &Agent, out: Output, args: &TokenGen) -> Result<()> {
    let wish = CreateToken {
        name: args.name.clone(),
        scope: args.scope,
        process: args.process.clone(),
        instance: args.instance.clone(),
        expires_in_s: args.expires.map(|Life(seconds)| seconds),
    };
    let new: NewToken = agent.post_json("/tokens", &wish)?;
    print_once(out, &new)
}

/// `ten token`.
pub fn run(agent: &Agent, out: Output, args: &Token) -> Result<()> {
    match &args.action {
        TokenAction::Ls => list(agent, out),
        TokenAction::Show(which) => show(out, &find(agent, &which.token)?),
        TokenAction::Revoke(which) => {
            let token = find(agent, &which.token)?;
            let gone: TokenRevoked = agent.delete(&format!("/tokens/{}", token.id))?;
            if out.json {
                return out.json(&gone);
            }
            out.say(&format!("{BOLD}{}{BOLD:#} ({}) is revoked", token.name, token.id));
            Ok(())
        }
        TokenAction::Rotate(which) => {
            let token = find(agent, &which.token)?;
            print_once(out, &agent.post(&format!("/tokens/{}/rotate", token.id))?)
        }
        TokenAction::Logout => {
            let ended: LoggedOut = agent.delete("/sessions")?;
            if out.json {
                return out.json(&ended);
            }
            let plural = if ended.sessions == 1 { "" } else { "s" };
            out.say(&format!("{} session{plural} ended", ended.sessions));
            Ok(())
        }
    }
}

/// By its id, or else by its name.
fn find(agent: &Agent, text: &str) -> Result<TokenView> {
    let mut tokens = agent.get::<TokenList>("/tokens")?.tokens;
    if let Some(at) = tokens.iter().position(|token| token.id.as_str() == text) {
        return Ok(tokens.swap_remove(at));
    }
    tokens.retain(|token| token.name.as_str() == text);
    let ids: Vec<_> = tokens.iter().map(|token| token.id.to_string()).collect();
    match tokens.pop() {
        Some(token) if tokens.is_empty() => Ok(token),
        Some(_) => Err(CliError::usage(
            format!("{} tokens are called {text}", ids.len()),
            format!("name it by its id: {}", ids.join(", ")),
        )),
        None => {
            let detail = format!("there is no token {text}");
            Err(CliError::new(Kind::NotFound, "unknown_token", detail, "ten token ls lists them"))
        }
    }
}

/// The token alone on standard output, so that `TOKEN=$(ten token-gen)` does what it looks like.
fn print_once(out: Output, new: &NewToken) -> Result<()> {
    if out.json {
        return out.json(new);
    }
    let TokenView { name, scope, .. } = &new.token;
    out.say(&format!(
        "{BOLD}{name}{BOLD:#} has scope {scope} for {}, and ends {}. It can't be shown again:",
        reach(&new.token),
        new.token.expires_ms.map_or_else(|| "never".into(), human::utc)
    ));
    out.data(&new.secret)
}

fn list(agent: &Agent, out: Output) -> Result<()> {
    let list: TokenList = agent.get("/tokens")?;
    if out.json {
        return out.json(&list);
    }
    if out.quiet {
        return out
            .data(&list.tokens.iter().map(|one| format!("{}\n", one.id)).collect::<String>());
    }
    if list.tokens.is_empty() {
        out.say("there are no tokens: make one with ten token-gen");
        return Ok(());
    }
    let now = human::now_ms();
    let mut listing =
        Listing::new(&["ID", "NAME", "SCOPE", "FOR", "MADE", "BY", "LAST USED", "ENDS"]);
    for token in &list.tokens {
        let over = token.expires_ms.is_some_and(|ends| ends <= now);
        let style = if over { BAD } else { Style::new() };
        let cells = [
            token.id.to_string(),
            token.name.to_string(),
            token.scope.to_string(),
            reach(token),
            human::ago(now, token.created_ms),
            token.created_by.clone(),
            token.last_used_ms.map_or_else(dash, |then| human::ago(now, then)),
            ends(token, now),
        ];
        listing.row(style, &cells);
    }
    out.data(&listing.render())
}

fn show(out: Output, token: &TokenView) -> Result<()> {
    if out.json {
        return out.json(token);
    }
    let now = human::now_ms();
    out.data(&pairs(&[
        ("id", token.id.to_string()),
        ("name", token.name.to_string()),
        ("scope", token.scope.to_string()),
        ("for", reach(token)),
        ("made", format!("{} by {}", human::utc(token.created_ms), token.created_by)),
        ("last used", token.last_used_ms.map_or_else(dash, |then| human::ago(now, then))),
        ("ends", ends(token, now)),
    ]))
}

fn ends(token: &TokenView, now: u64) -> String {
    match token.expires_ms {
        None => "never".to_owned(),
        Some(ends) if ends <= now => "over".to_owned(),
        Some(ends) => format!("in {}", human::span((ends - now) / 1000)),
    }
}

fn reach(token: &TokenView) -> String {
    match (&token.process, &token.instance) {
        (Some(process), Some(id)) => format!("{process}:{id}"),
        (Some(process), None) => process.to_string(),
        (None, _) => "everything".to_owned(),
    }
}
