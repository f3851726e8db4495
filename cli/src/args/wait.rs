//! `--wait STATE`: verbs that come back when the instance is there.

use clap::Args;
use tenement_wire::dto::Wanted;

/// What to wait for.
#[derive(Debug, Clone, Copy, Args)]
pub struct Wait {
    /// Come back only when each is healthy, running or asleep
    #[arg(long, value_name = "STATE")]
    pub wait: Option<Wanted>,
    /// How many seconds to wait for that
    #[arg(long, value_name = "SECONDS", default_value_t = 30, requires = "wait",
          value_parser = clap::value_parser!(u32).range(1..=300))]
    pub wait_timeout: u32,
}

impl Wait {
    /// The parameters of a request, each with an `&` or `?` before it.
    pub fn onto(self, path: &str) -> String {
        let Some(wanted) = self.wait else { return path.to_owned() };
        let mark = if path.contains('?') { '&' } else { '?' };
        format!("{path}{mark}wait={}&timeout={}s", wanted.as_str(), self.wait_timeout)
    }
}
