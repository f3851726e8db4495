//! The command line of `ten secret`.

use clap::{Args, Subcommand};
use tenement_wire::{InstanceName, SecretName};

/// `ten secret`.
#[derive(Debug, Args)]
pub struct Secret {
    /// What to do with them
    #[command(subcommand)]
    pub action: SecretAction,
}

/// Verbs of `ten secret`.
#[derive(Debug, Subcommand)]
pub enum SecretAction {
    /// Set a secret; its value is read from standard input, byte for byte
    #[command(
        after_help = "The app reads it from the file $CREDENTIALS_DIRECTORY/NAME, from its next start on.\n\nExamples:\n  ten secret set api:prod API_KEY < key.txt\n  printf %s \"$KEY\" | ten secret set api:prod API_KEY"
    )]
    Set {
        /// The instance, as process:id
        #[arg(value_name = "PROCESS:ID")]
        name: InstanceName,
        /// The name of the secret
        #[arg(value_name = "NAME")]
        secret: SecretName,
    },
    /// List names, sizes and times; never values
    #[command(visible_alias = "list")]
    Ls {
        /// The instance, as process:id
        #[arg(value_name = "PROCESS:ID")]
        name: InstanceName,
    },
    /// Delete a secret
    Rm {
        /// The instance, as process:id
        #[arg(value_name = "PROCESS:ID")]
        name: InstanceName,
        /// The name of the secret
        #[arg(value_name = "NAME")]
        secret: SecretName,
    },
}
