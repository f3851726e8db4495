//! The command lines of `ten deploys`, `ten rollback`, `ten route`, `ten pin` and `ten unpin`, and how `ten deploy` moves
//! instances.

use std::str::FromStr;

use clap::Args;
use tenement_wire::{InstanceId, InstanceName, ProcessName, ReleaseName};

/// How instances come to a release.
#[derive(Debug, Args)]
pub struct Rollout {
    /// Make an instance of its own for the release, without requests (blue-green); then see ten route
    #[arg(long, value_name = "ID", conflicts_with = "now")]
    pub version: Option<InstanceId>,
    /// Give that instance these shares of the requests, step by step, in per cent; judged by errors and latency
    #[arg(long, value_name = "SHARES", value_delimiter = ',', requires = "version",
          value_parser = clap::value_parser!(u32).range(1..=100))]
    pub canary: Option<Vec<u32>>,
    /// How long each step lasts, such as 30s, 10m or 1h
    #[arg(long, value_name = "TIME", requires = "canary")]
    pub step: Option<Time>,
    /// How running instances are restarted, and whether it is waited for.
    #[command(flatten)]
    pub pace: Pace,
}

/// How fast.
#[derive(Debug, Args)]
pub struct Pace {
    /// Restart running instances now, each waiting for healthy; others move when they are woken
    #[arg(long)]
    pub now: bool,
    /// Instances that are restarted side by side
    #[arg(long, value_name = "COUNT", requires = "now", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub batch: Option<u32>,
    /// Don't wait for the end
    #[arg(long)]
    pub detach: bool,
}

/// A time in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(pub u64);

impl FromStr for Time {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match &text[digits.len()..] {
            "" | "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return Err("write a number with s, m, h or d, such as 10m"),
        };
        let number: Option<u64> = digits.parse().ok();
        let seconds = number.and_then(|number| number.checked_mul(unit)).filter(|s| *s > 0);
        seconds.map(Self).ok_or("write a time such as 30s, 10m or 1h")
    }
}

/// `ten deploys`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ten deploys                       (the last ones of every process)\n  ten deploys api\n  ten deploys api 3f2a9c01b7de      (everything about one)\n  ten deploys api 3f2a9c01b7de --abort"
)]
pub struct Deploys {
    /// Only those of this process
    #[arg(value_name = "PROCESS")]
    pub process: Option<ProcessName>,
    /// Only this one, with everything about it
    #[arg(value_name = "DEPLOYMENT", requires = "process")]
    pub id: Option<String>,
    /// Follow its progress until its end
    #[arg(long, short, requires = "id")]
    pub follow: bool,
    /// End it: everything is put back as it was before
    #[arg(long, requires = "id")]
    pub abort: bool,
}

/// `ten rollback`.
#[derive(Debug, Args)]
#[command(
    after_help = "Instances move at their next start, or with --now. Those that are pinned stay.\n\nExamples:\n  ten rollback api --now\n  ten rollback api --to v1"
)]
pub struct Rollback {
    /// The process
    #[arg(value_name = "PROCESS")]
    pub process: ProcessName,
    /// The release to go back to; without it, the one before
    #[arg(long, value_name = "RELEASE")]
    pub to: Option<ReleaseName>,
    /// How fast.
    #[command(flatten)]
    pub pace: Pace,
}

/// `ten route`.
#[derive(Debug, Args)]
#[command(
    after_help = "The weights of both change in one step; open requests end where they are. Without --from, all others get none.\n\nExample:\n  ten route api --from v1 --to v2"
)]
pub struct Route {
    /// The process
    #[arg(value_name = "PROCESS")]
    pub process: ProcessName,
    /// The instance whose weight is taken; without it, all others
    #[arg(long, value_name = "ID")]
    pub from: Option<InstanceId>,
    /// The instance that gets it
    #[arg(long, value_name = "ID")]
    pub to: InstanceId,
    /// Even if that is not healthy
    #[arg(long)]
    pub force: bool,
}

/// `ten pin`.
#[derive(Debug, Args)]
pub struct Pin {
    /// The instance, as process:id
    #[arg(value_name = "PROCESS:ID")]
    pub name: InstanceName,
    /// The release that it stays at from its next start on
    #[arg(value_name = "RELEASE")]
    pub release: ReleaseName,
}

/// `ten unpin`.
#[derive(Debug, Args)]
pub struct Unpin {
    /// The instance, as process:id
    #[arg(value_name = "PROCESS:ID")]
    pub name: InstanceName,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_units() {
        assert_eq!("10m".parse(), Ok(Time(600)));
        assert_eq!("45".parse(), Ok(Time(45)));
        for bad in ["", "m", "0s", "1w", "-1s", "1.5m"] {
            assert!(bad.parse::<Time>().is_err(), "{bad}");
        }
    }
}
