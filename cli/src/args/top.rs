//! `ten top`.

use clap::{Args, ValueEnum};

/// What runs, live.
#[derive(Debug, Args)]
pub struct Top {
    /// Sort by this; keys change it
    #[arg(long, value_name = "COLUMN", default_value = "cpu")]
    pub sort: TopSort,
    /// Only instances with this text in their name; `/` changes it
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,
    /// Seconds between two looks
    #[arg(long, short = 'd', value_name = "SECONDS", default_value_t = 2,
          value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub interval: u64,
    /// Print the table once; so does everything that is no terminal
    #[arg(long)]
    pub once: bool,
}

/// What `ten top` sorts by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TopSort {
    /// CPU time, the most first
    Cpu,
    /// Memory, the most first
    Memory,
    /// Requests a second, the most first
    Requests,
    /// How warm it is, running first
    Tier,
    /// Name
    Name,
}
