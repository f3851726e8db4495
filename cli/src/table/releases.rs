//! Tables of releases.

use clap::builder::styling::Style;
use tenement_wire::ReleaseView;
use tenement_wire::dto::InstanceView;
use tenement_wire::releases::ReleaseStatus;

use super::{Listing, dash};
use crate::human;
use crate::output::{BAD, GOOD, WARN};

/// The table of `ten releases`.
pub fn releases(releases: &[ReleaseView], now: u64) -> String {
    let mut listing = Listing::new(&[
        "PROCESS", "RELEASE", "STATE", "ROLE", "RUNNING", "PINNED", "SIZE", "AGE", "BY", "SOURCE",
    ]);
    for view in releases {
        let ready = view.state == ReleaseStatus::Ready;
        let style = match view.state {
            ReleaseStatus::Building => WARN,
            ReleaseStatus::Failed => BAD,
            ReleaseStatus::Ready if view.current => GOOD,
            ReleaseStatus::Ready => Style::new(),
        };
        let count = |number: usize| if number == 0 { dash() } else { number.to_string() };
        listing.row(
            style,
            &[
                view.process.to_string(),
                view.name.to_string(),
                view.state.as_str().to_owned(),
                role(view),
                count(view.running.len()),
                count(view.pinned.len()),
                if ready { human::bytes(view.bytes) } else { dash() },
                human::ago(now, view.created_ms),
                view.by.clone(),
                if view.source.is_empty() { dash() } else { view.source.clone() },
            ],
        );
    }
    listing.render()
}

/// What the process has it for.
pub fn role(view: &ReleaseView) -> String {
    match (view.current, view.previous) {
        (true, _) => "current".to_owned(),
        (false, true) => "previous".to_owned(),
        (false, false) => dash(),
    }
}

/// What an instance was started from, and what it goes on with: `v1, then v2`.
pub fn release(view: &InstanceView) -> Option<String> {
    let now = view.service.as_ref().and_then(|service| service.release.as_ref());
    match (now, &view.release) {
        (Some(now), Some(next)) if now != next => Some(format!("{now}, then {next}")),
        (Some(now), _) => Some(now.to_string()),
        (None, next) => next.as_ref().map(ToString::to_string),
    }
}
