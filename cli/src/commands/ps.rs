//! `ps`, `show` and `why`: what the agent knows of instances.

use std::time::Duration;

use tenement_wire::dto::{InstanceList, InstanceView, Why};
use tenement_wire::{InstanceName, Limit};

use crate::args::Ps;
use crate::client::Agent;
use crate::error::{CliError, Result};
use crate::human;
use crate::output::{BOLD, Output, clean};
use crate::table::{self, dash, state_style};

/// How often `--watch` looks.
const WATCH: Duration = Duration::from_secs(1);

/// Lists instances, once or again and again.
pub fn run(agent: &Agent, out: Output, args: &Ps) -> Result<()> {
    let path = match &args.process {
        Some(process) => format!("/instances?process={process}"),
        None => "/instances".to_owned(),
    };
    if !args.watch {
        return print(out, &agent.get(&path)?);
    }
    let mut last = None;
    loop {
        let list: InstanceList = agent.get(&path)?;
        if out.json {
            // One line for each change, for a script that reads along.
            if last.as_ref() != Some(&list) {
                let line = serde_json::to_string(&list).map_err(|e| {
                    CliError::failure(format!("can't write JSON: {e}"), "please report this")
                })?;
                out.data(&line)?;
            }
        } else {
            out.clear()?;
            print(out, &list)?;
        }
        last = Some(list);
        std::thread::sleep(WATCH);
    }
}

fn print(out: Output, list: &InstanceList) -> Result<()> {
    if out.json {
        return out.json(list);
    }
    if out.quiet {
        return out.data(
            &list.instances.iter().map(|view| format!("{}\n", view.name)).collect::<String>(),
        );
    }
    if list.instances.is_empty() {
        out.say("no instances: register one with ten spawn PROCESS:ID");
        return Ok(());
    }
    out.data(&table::instances(&list.instances, human::now_ms()))
}

/// Everything about one instance.
pub fn show(agent: &Agent, out: Output, name: &InstanceName) -> Result<()> {
    let view: InstanceView = agent.get(&format!("/instances/{name}"))?;
    if out.json {
        return out.json(&view);
    }
    if out.quiet {
        return out.data(view.state.as_str());
    }
    out.data(&table::pairs(&facts(&view, human::now_ms())))
}

fn facts(view: &InstanceView, now: u64) -> Vec<(&'static str, String)> {
    let idle = match view.idle_timeout_s {
        0 => "never sleeps by itself".to_owned(),
        s => format!("after {} without a request", human::setting(s)),
    };
    let wake = match view.last_wake_ms {
        Some(ms) => format!("{}, the last took {}", view.wakes, human::millis(ms)),
        None => view.wakes.to_string(),
    };
    let mut facts = vec![
        ("name", view.name.to_string()),
        ("state", format!("{}, since {}", view.state.as_str(), human::ago(now, view.since_ms))),
        ("url", view.url.clone()),
        ("open requests", view.in_flight.to_string()),
        ("last used", view.last_used_ms.map_or_else(dash, |then| human::ago(now, then))),
        ("sleeps", idle),
        ("wakes", wake),
        ("memory", view.memory_bytes.map_or_else(dash, human::bytes)),
        ("disk", disk(view)),
        ("limits", limits(view)),
        ("pid", view.pid.map_or_else(dash, |pid| pid.to_string())),
        ("unit", view.unit.clone()),
        ("listens", format!("{} on {}", view.listen, view.address)),
        ("data", view.data_dir.clone()),
        ("uuid", view.uuid.clone()),
    ];
    if let Some(failure) = &view.failure {
        facts.insert(2, ("failure", failure.clone()));
    }
    facts
}

fn disk(view: &InstanceView) -> String {
    let max = view.limits.get(Limit::DiskMax);
    match (view.disk_bytes, max) {
        (Some(used), Some(max)) => {
            format!("{} of {}", human::bytes(used), Limit::DiskMax.show(max))
        }
        _ => dash(),
    }
}

fn limits(view: &InstanceView) -> String {
    let list: Vec<_> =
        view.limits.iter().map(|(l, value)| format!("{l}={}", l.show(value))).collect();
    if list.is_empty() { dash() } else { list.join(" ") }
}

/// Why it is awake or asleep.
pub fn why(agent: &Agent, out: Output, name: &InstanceName) -> Result<()> {
    let why: Why = agent.get(&format!("/instances/{name}/why"))?;
    if out.json {
        return out.json(&why);
    }
    if out.quiet {
        return out.data(&clean(&why.reason));
    }
    let state = why.instance.state;
    let style = state_style(state);
    let mut text = format!(
        "{BOLD}{name}{BOLD:#} is {style}{}{style:#}: {}\n",
        state.as_str(),
        clean(&why.reason)
    );
    let holds = if why.holds.is_empty() { "nothing".to_owned() } else { why.holds.join(", ") };
    let mut facts = vec![("held by", holds)];
    if let Some(seconds) = why.sleeps_in_s {
        facts.push(("sleeps in", human::span(seconds)));
    }
    facts.push(("next request", why.next_request.clone()));
    text.push_str(&table::pairs(&facts));
    out.data(&text)
}
