//! `ten tls`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `ten tls`.
#[derive(Debug, Args)]
pub struct Tls {
    /// What to do
    #[command(subcommand)]
    pub action: TlsAction,
}

/// Verbs of `ten tls`.
#[derive(Debug, Subcommand)]
pub enum TlsAction {
    /// List certificates, and those that should be there
    Ls,
    /// Show a certificate, and what went wrong with it
    Show(WhichName),
    /// Renew a certificate now
    Renew(WhichName),
    /// Let programs of this host believe its own CA
    #[command(
        after_help = "Writes the root into /usr/local/share/ca-certificates and runs update-ca-certificates; needs root.\nFirefox and Chromium have stores of their own: import the file that --out writes.\n\nExample:\n  sudo ten tls trust\n  ten tls trust --out root.crt"
    )]
    Trust {
        /// Only write the root to this file, for another host or a browser
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// A certificate.
#[derive(Debug, Args)]
pub struct WhichName {
    /// Any of its host names
    #[arg(value_name = "NAME")]
    pub name: String,
}
