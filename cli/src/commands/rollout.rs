//! Instances come to another release: what `ten deploy` does after the release is made, `ten deploys`, `ten rollback`,
//! `ten route`, `ten pin` and `ten unpin`.

use std::time::{Duration, Instant};

use clap::builder::styling::Style;
use tenement_wire::deploys::{
    DeployList, DeployState, DeployView, MoveRoute, PinView, SetPin, ShareView, StartDeploy,
    StartRollback, Strategy,
};
use tenement_wire::domains::ProcessRouting;
use tenement_wire::dto::ProcessList;
use tenement_wire::{ProcessName, ReleaseName};

use crate::args::{Deploys, Pace, Pin, Rollback, Rollout, Route, Unpin};
use crate::client::Agent;
use crate::error::{CliError, Kind, Result};
use crate::human;
use crate::output::{BAD, BOLD, GOOD, Output, WARN, clean};
use crate::table::{Listing, dash, pairs};

/// Between two looks at one that goes on.
const LOOK: Duration = Duration::from_millis(400);
/// How long an agent that does not answer is waited for.
const AWAY: Duration = Duration::from_secs(60);
/// Deployments of each process in a list of all.
const FEW: usize = 5;

/// Moves a process to a release that is ready.
pub fn deploy(
    agent: &Agent,
    out: Output,
    process: &ProcessName,
    release: ReleaseName,
    how: &Rollout,
) -> Result<()> {
    let strategy = match (&how.version, &how.canary) {
        (None, _) => Strategy::InPlace,
        (Some(_), None) => Strategy::BlueGreen,
        (Some(_), Some(_)) => Strategy::Canary,
    };
    let body = StartDeploy {
        release,
        strategy: Some(strategy),
        now: how.pace.now,
        batch: how.pace.batch,
        instance: how.version.clone(),
        steps: how.canary.clone(),
        step_s: how.step.map(|step| step.0),
    };
    let begun = agent.post_json(&format!("/processes/{process}/deploys"), &body)?;
    watch(agent, out, begun, how.pace.detach)
}

/// `ten rollback`.
pub fn rollback(agent: &Agent, out: Output, args: &Rollback) -> Result<()> {
    let Pace { now, batch, detach } = args.pace;
    let body = StartRollback { to: args.to.clone(), now, batch };
    let begun = agent.post_json(&format!("/processes/{}/rollback", args.process), &body)?;
    watch(agent, out, begun, detach)
}

fn path(view: &DeployView) -> String {
    format!("/processes/{}/deploys/{}", view.process, view.id)
}

/// Tells of its progress until it is over; one that went wrong is an error.
fn watch(agent: &Agent, out: Output, mut view: DeployView, detach: bool) -> Result<()> {
    let mut told = 0;
    loop {
        let fresh = usize::try_from(view.lines - told).unwrap_or(usize::MAX);
        let skip = view.log.len().saturating_sub(fresh);
        view.log.iter().skip(skip).for_each(|line| out.say(&clean(&line.text)));
        told = view.lines;
        if view.state.is_over() || detach {
            break;
        }
        std::thread::sleep(LOOK);
        view = again(agent, out, &path(&view))?;
    }
    if out.json {
        out.json(&view)?;
    } else if detach && !view.state.is_over() {
        out.say(&format!("it goes on: ten deploys {} {} --follow", view.process, view.id));
    } else {
        report(out, &view);
    }
    if !view.state.is_over() || view.state.is_good() {
        return Ok(());
    }
    let why = view.reason.clone().unwrap_or_default();
    let detail = format!("{} to {}: {}: {why}", view.process, view.release, view.state.as_str());
    let hint = match &view.failed {
        Some(name) => format!("see its log: ten logs {name}"),
        None => format!("see all of it: ten deploys {} {}", view.process, view.id),
    };
    Err(CliError::new(Kind::Failure, "deploy_failed", detail, hint))
}

/// Looks at it again. An agent that is started anew goes on with it, so that is waited for.
fn again(agent: &Agent, out: Output, path: &str) -> Result<DeployView> {
    let began = Instant::now();
    loop {
        match agent.get(path) {
            Err(error) if error.kind == Kind::Unreachable && began.elapsed() < AWAY => {
                if began.elapsed() < LOOK {
                    out.say("the agent does not answer; waiting for it");
                }
                std::thread::sleep(LOOK);
            }
            other => return other,
        }
    }
}

/// What its steps have shown, and what the instance said at which it failed.
fn report(out: Output, view: &DeployView) {
    for step in &view.steps {
        let verdict = step.verdict.as_deref().unwrap_or("it goes on");
        out.say(&format!(
            "{:>3} %  canary {}   others {}   {}",
            step.percent,
            share(&step.canary),
            share(&step.others),
            clean(verdict)
        ));
    }
    if let Some(name) = &view.failed {
        if !view.last_lines.is_empty() {
            out.say(&format!("{BOLD}{name} wrote at last:{BOLD:#}"));
        }
        view.last_lines.iter().for_each(|line| out.say(&format!("  {}", clean(line))));
    }
    match view.state {
        DeployState::Unproven => out.say(&format!(
            "{WARN}no instance has started on it yet{WARN:#}: if the first one fails, it is taken back"
        )),
        DeployState::Succeeded if view.strategy == Strategy::BlueGreen => {
            let (process, id) = (&view.process, view.instance.as_ref().map(|name| name.id().as_str()));
            out.say(&format!("move requests to it: ten route {process} --to {}", id.unwrap_or_default()));
        }
        _ => {}
    }
}

fn share(share: &ShareView) -> String {
    let p95 = share.p95_ms.map_or_else(dash, |ms| format!("{ms:.1} ms"));
    format!("{} requests, {:.1} % errors, p95 {p95}", share.requests, share.error_percent)
}

/// `ten deploys`.
pub fn deploys(agent: &Agent, out: Output, args: &Deploys) -> Result<()> {
    let Some(process) = &args.process else { return list(agent, out, &all(agent)?) };
    let Some(id) = &args.id else {
        let found: DeployList = agent.get(&format!("/processes/{process}/deploys"))?;
        return list(agent, out, &found);
    };
    let path = format!("/processes/{process}/deploys/{id}");
    if args.abort {
        let view = agent.post(&format!("{path}/abort"))?;
        return match watch(agent, out, view, false) {
            // That is what was asked for.
            Err(error) if error.code.as_ref() == "deploy_failed" => Ok(()),
            other => other,
        };
    }
    let view: DeployView = agent.get(&path)?;
    if args.follow {
        return watch(agent, out, view, false);
    }
    if out.json {
        return out.json(&view);
    }
    show(out, &view)
}

fn all(agent: &Agent) -> Result<DeployList> {
    let processes: ProcessList = agent.get("/processes")?;
    let mut deploys = Vec::new();
    for process in &processes.processes {
        let mut of: DeployList = agent.get(&format!("/processes/{}/deploys", process.name))?;
        of.deploys.truncate(FEW);
        deploys.extend(of.deploys);
    }
    Ok(DeployList { deploys })
}

fn style(state: DeployState) -> Style {
    match state {
        DeployState::Succeeded => GOOD,
        DeployState::Running | DeployState::Unproven | DeployState::Aborted => WARN,
        DeployState::RolledBack | DeployState::Failed => BAD,
    }
}

fn list(_: &Agent, out: Output, found: &DeployList) -> Result<()> {
    if out.json {
        return out.json(found);
    }
    if out.quiet {
        let ids: String = found.deploys.iter().map(|one| format!("{}\n", one.id)).collect();
        return out.data(&ids);
    }
    if found.deploys.is_empty() {
        out.say("there are no deployments: begin one with ten deploy PROCESS DIR");
        return Ok(());
    }
    let now = human::now_ms();
    let mut listing =
        Listing::new(&["ID", "PROCESS", "RELEASE", "FROM", "HOW", "STATE", "BEGUN", "WHY"]);
    for one in &found.deploys {
        let cells = [
            one.id.clone(),
            one.process.to_string(),
            one.release.to_string(),
            one.previous.as_ref().map_or_else(dash, ToString::to_string),
            one.strategy.as_str().to_owned(),
            one.state.as_str().to_owned(),
            human::ago(now, one.started_ms),
            one.reason.clone().unwrap_or_default(),
        ];
        listing.row(style(one.state), &cells);
    }
    out.data(&listing.render())
}

fn show(out: Output, view: &DeployView) -> Result<()> {
    let now = human::now_ms();
    let mut rows = vec![
        ("deployment", view.id.clone()),
        ("process", view.process.to_string()),
        ("release", view.release.to_string()),
        ("before", view.previous.as_ref().map_or_else(dash, ToString::to_string)),
        ("how", view.strategy.as_str().to_owned()),
        ("state", view.state.as_str().to_owned()),
        ("begun", human::ago(now, view.started_ms)),
    ];
    rows.extend(view.ended_ms.map(|ended| ("over", human::ago(now, ended))));
    rows.extend(view.instance.as_ref().map(|name| ("instance", name.to_string())));
    rows.extend(view.reason.clone().map(|why| ("why", why)));
    out.data(&pairs(&rows))?;
    if !view.moves.is_empty() {
        let mut listing = Listing::new(&["INSTANCE", "STATE", "TOOK"]);
        for one in &view.moves {
            let took = one.took_ms.map_or_else(dash, |ms| human::millis(ms as f64));
            listing.row(Style::new(), &[one.name.to_string(), one.state.as_str().into(), took]);
        }
        out.data(&listing.render())?;
    }
    report(out, view);
    view.log.iter().for_each(|line| {
        out.say(&format!("{}  {}", human::utc(line.time_ms), clean(&line.text)));
    });
    Ok(())
}

/// `ten route`.
pub fn route(agent: &Agent, out: Output, args: &Route) -> Result<()> {
    let (from, to, force) = (args.from.clone(), args.to.clone(), args.force);
    let body = MoveRoute { from, to, force };
    let routing: ProcessRouting =
        agent.post_json(&format!("/processes/{}/route", args.process), &body)?;
    super::domain::weights(out, &routing, None)
}

/// `ten pin`.
pub fn pin(agent: &Agent, out: Output, args: &Pin) -> Result<()> {
    let body = SetPin { release: args.release.clone() };
    let view = agent.put_json(&format!("/instances/{}/pin", args.name), &body)?;
    pinned(out, &view)
}

/// `ten unpin`.
pub fn unpin(agent: &Agent, out: Output, args: &Unpin) -> Result<()> {
    pinned(out, &agent.delete(&format!("/instances/{}/pin", args.name))?)
}

fn pinned(out: Output, view: &PinView) -> Result<()> {
    if out.json {
        return out.json(view);
    }
    out.say(&match (&view.pinned, &view.release) {
        (Some(release), _) => format!("{} stays at {release}, from its next start on", view.name),
        (None, Some(release)) => {
            format!("{} runs from {release} from its next start on", view.name)
        }
        (None, None) => format!("{} goes with its process", view.name),
    });
    Ok(())
}
