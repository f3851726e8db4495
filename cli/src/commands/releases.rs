//! `ten releases`: what there is, what it printed, and away with it.

use std::io::Write as _;

use tenement_wire::releases::{ReleaseRemoved, ReleaseStatus};
use tenement_wire::{ReleaseList, ReleaseView};

use crate::args::{OneRelease, Releases, ReleasesAction};
use crate::client::Agent;
use crate::error::Result;
use crate::output::{BOLD, Output};
use crate::{human, table};

/// Does what the command line says.
pub fn run(agent: &Agent, out: Output, args: &Releases) -> Result<()> {
    match &args.action {
        None => list(agent, out, args),
        Some(ReleasesAction::Show(one)) => show(agent, out, one),
        Some(ReleasesAction::Log { one, follow }) => log(agent, one, *follow),
        Some(ReleasesAction::Rm(one)) => {
            let removed: ReleaseRemoved = agent.delete(&path(one))?;
            if out.json {
                return out.json(&removed);
            }
            out.say(&format!(
                "{} has no release {BOLD}{}{BOLD:#} any more",
                removed.process, removed.name
            ));
            Ok(())
        }
    }
}

fn path(one: &OneRelease) -> String {
    format!("/processes/{}/releases/{}", one.process, one.release)
}

fn list(agent: &Agent, out: Output, args: &Releases) -> Result<()> {
    let process = args.process.as_ref().or(args.of.as_ref());
    let path = process.map_or("/releases".to_owned(), |name| format!("/processes/{name}/releases"));
    let list: ReleaseList = agent.get(&path)?;
    if out.json {
        return out.json(&list);
    }
    if out.quiet {
        let lines = list.releases.iter().map(|one| format!("{} {}\n", one.process, one.name));
        return out.data(&lines.collect::<String>());
    }
    if list.releases.is_empty() {
        let of = process.map(|name| format!(" of {name}")).unwrap_or_default();
        out.say(&format!("there are no releases{of}; ten deploy PROCESS DIR makes one"));
        return Ok(());
    }
    out.data(&table::releases(&list.releases, human::now_ms()))
}

fn show(agent: &Agent, out: Output, one: &OneRelease) -> Result<()> {
    let view: ReleaseView = agent.get(&path(one))?;
    if out.json {
        return out.json(&view);
    }
    let names = |list: &[tenement_wire::InstanceName]| match list {
        [] => table::dash(),
        list => list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    let mut pairs = vec![
        ("release", format!("{} {}", view.process, view.name)),
        ("state", view.state.as_str().to_owned()),
    ];
    pairs.extend(view.failure.clone().map(|failure| ("failure", failure)));
    pairs.push(("role", table::role(&view)));
    pairs.push(("pinned", names(&view.pinned)));
    pairs.push(("running", names(&view.running)));
    pairs.push(("made", format!("{} by {}", human::utc(view.created_ms), view.by)));
    pairs.extend(view.took_ms.map(|ms| ("took", human::millis(ms as f64))));
    pairs
        .push(("source", if view.source.is_empty() { table::dash() } else { view.source.clone() }));
    if view.state == ReleaseStatus::Ready {
        pairs.push(("size", format!("{} in {} entries", human::bytes(view.bytes), view.files)));
        pairs.push(("sha256", view.digest.clone()));
        pairs.push(("directory", view.directory.clone()));
    }
    out.data(&table::pairs(&pairs))
}

fn log(agent: &Agent, one: &OneRelease, follow: bool) -> Result<()> {
    let path = format!("{}/log?follow={follow}", path(one));
    let silence = follow.then(|| std::time::Duration::from_secs(24 * 3600));
    agent.stream(&path, None, silence, &mut |bytes| {
        // Whoever reads it may have gone.
        let _ = std::io::stdout().write_all(&bytes);
        Ok(())
    })
}
