//! The command line of `ten domain`, `ten weight` and `ten maintenance`.

use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum};
use tenement_wire::domains::WEIGHT_MAX;
use tenement_wire::{ProcessName, RouteTarget};

/// `ten domain`.
#[derive(Debug, Args)]
pub struct Domain {
    /// What to do with them
    #[command(subcommand)]
    pub action: DomainAction,
}

/// Verbs of `ten domain`.
#[derive(Debug, Subcommand)]
pub enum DomainAction {
    /// Add a domain and say what proves that you may; it routes once that is there
    #[command(
        after_help = "It is verified by a DNS record, or by the name leading to this host, and checked by itself for a week.\n\nExamples:\n  ten domain add shop.customer.com api:alice     (that instance)\n  ten domain add shop.customer.com api           (all instances of api, by their weights)\n  ten domain add '*.customer.com' api:alice      (by TXT record only)"
    )]
    Add {
        /// The domain, such as shop.customer.com or *.customer.com
        #[arg(value_name = "DOMAIN")]
        domain: String,
        /// Where it leads
        #[arg(value_name = "PROCESS[:ID]")]
        target: RouteTarget,
    },
    /// List domains: whether they route, their DNS, their certificates
    #[command(visible_alias = "list")]
    Ls {
        /// Only those that lead there
        #[arg(value_name = "PROCESS[:ID]")]
        target: Option<RouteTarget>,
    },
    /// Show everything about one, as it was when it was last checked
    Show(Which),
    /// Look at one now, verify it if possible, and say what to fix
    Check(Which),
    /// Remove one: the next request to it is not routed any more
    #[command(visible_alias = "remove")]
    Rm(Which),
}

/// One domain.
#[derive(Debug, Args)]
pub struct Which {
    /// The domain
    #[arg(value_name = "DOMAIN")]
    pub domain: String,
}

/// `ten weight`.
#[derive(Debug, Args)]
pub struct Weight {
    /// An instance, or a process to show the weights of
    #[arg(value_name = "PROCESS[:ID]")]
    pub target: RouteTarget,
    /// Its weight, 0 to 10000 (0: no requests), or `default`; without it, show them
    #[arg(value_name = "WEIGHT")]
    pub weight: Option<Share>,
}

/// What an instance is to weigh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// So much.
    Of(u32),
    /// What its process says.
    Default,
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "default" {
            return Ok(Self::Default);
        }
        let weight = text.parse().ok().filter(|weight| *weight <= WEIGHT_MAX);
        weight.map(Self::Of).ok_or_else(|| format!("write 0 to {WEIGHT_MAX}, or default"))
    }
}

/// `ten maintenance`.
#[derive(Debug, Args)]
pub struct Maintenance {
    /// The process
    #[arg(value_name = "PROCESS")]
    pub process: ProcessName,
    /// Begin or end it; without it, say whether it is on
    #[arg(value_name = "on|off")]
    pub switch: Option<Switch>,
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// Answer every request with 503
    On,
    /// Serve requests again
    Off,
}
