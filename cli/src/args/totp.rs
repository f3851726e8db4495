//! `ten totp`.

use clap::{Args, Subcommand};

/// `ten totp`.
#[derive(Debug, Args)]
pub struct Totp {
    /// What to do
    #[command(subcommand)]
    pub action: TotpAction,
}

/// Verbs of `ten totp`.
#[derive(Debug, Subcommand)]
pub enum TotpAction {
    /// Make logins with a token need the code of an authenticator app
    #[command(
        after_help = "Shows a QR code for the app, then asks for a code. Prints recovery codes, once.\nScripts that show the token itself need no code.\n\nExample:\n  ten totp enable laptop"
    )]
    Enable(Whose),
    /// Let a token log in without a code again
    Disable(Whose),
    /// Show whether logins need a code
    Status(Whose),
}

/// A token.
#[derive(Debug, Args)]
pub struct Whose {
    /// Its id or name; may be left out while there is only one token
    #[arg(value_name = "TOKEN")]
    pub token: Option<String>,
}
