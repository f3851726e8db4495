//! The command line of `ten token` and `ten token-gen`.

use std::str::FromStr;

use clap::{Args, Subcommand};
use tenement_wire::tokens::{LIFE_MAX_S, LIFE_MIN_S};
use tenement_wire::{InstanceId, ProcessName, Scope, TokenName};

/// `ten token-gen`.
#[derive(Debug, Args)]
pub struct TokenGen {
    /// What to call it, so that it is known in lists and events; two may have the same name
    #[arg(long, value_name = "NAME")]
    pub name: Option<TokenName>,
    /// What it may do: look, run what is there, or everything
    #[arg(long, value_name = "admin|operator|read", default_value_t = Scope::Admin)]
    pub scope: Scope,
    /// It sees the instances of this process only
    #[arg(long, value_name = "PROCESS")]
    pub process: Option<ProcessName>,
    /// It sees this instance of that process only
    #[arg(long, value_name = "ID", requires = "process")]
    pub instance: Option<InstanceId>,
    /// How long it is good for, such as 12h, 30d or 1y; without it there is no end
    #[arg(long, value_name = "TIME")]
    pub expires: Option<Life>,
}

/// How long a token is good for, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life(pub u64);

impl FromStr for Life {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "write a number and s, m, h, d, w or y, from 1m to 10y, such as 30d";
        let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or(WRONG)?;
        let unit = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            "w" => 7 * 86_400,
            "y" => 365 * 86_400,
            _ => return Err(WRONG),
        };
        // A sign is no part of a number here.
        let digits = number.bytes().all(|byte| byte.is_ascii_digit());
        let number: Option<u64> = number.parse().ok().filter(|_| digits);
        let seconds = number.and_then(|number| number.checked_mul(unit));
        let seconds = seconds.filter(|life| (LIFE_MIN_S..=LIFE_MAX_S).contains(life));
        seconds.map(Self).ok_or(WRONG)
    }
}

/// `ten token`.
#[derive(Debug, Args)]
pub struct Token {
    /// What to do with them
    #[command(subcommand)]
    pub action: TokenAction,
}

/// Verbs of `ten token`.
#[derive(Debug, Subcommand)]
pub enum TokenAction {
    /// List tokens: what they may do and when they were used; never the tokens themselves
    #[command(visible_alias = "list")]
    Ls,
    /// Show one
    Show(Which),
    /// Revoke one: it is refused from then on, and what it has open ends
    #[command(visible_alias = "rm")]
    Revoke(Which),
    /// Give one another secret and print it, this once; the old one is refused from then on
    Rotate(Which),
    /// End every login to the dashboard: of all tokens, or with --url of the token that asks
    Logout,
}

/// One token.
#[derive(Debug, Args)]
pub struct Which {
    /// The token: its id, or its name if no other has that
    #[arg(value_name = "TOKEN")]
    pub token: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_a_number_with_a_unit_within_the_bounds() {
        for (text, seconds) in [("60s", 60), ("5m", 300), ("12h", 43_200), ("30d", 2_592_000)] {
            assert_eq!(text.parse(), Ok(Life(seconds)));
        }
        assert_eq!("10y".parse(), Ok(Life(LIFE_MAX_S)));
        for bad in
            ["", "d", "30", "+5m", "-5m", "59s", "11y", "5 m", "5M", "é", "99999999999999999999y"]
        {
            assert!(bad.parse::<Life>().is_err(), "{bad}");
        }
    }
}
