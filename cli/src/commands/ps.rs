//! `ps`, `show` and `why`: what the agent knows of instances.

use std::time::Duration;

use tenement_wire::dto::{InstanceList, InstanceView, State, Why};
use tenement_wire::status::{ServiceView, Usage};
use tenement_wire::{InstanceName, Limit};

use crate::args::{Ps, Show};
use crate::client::{Agent, path_with};
use crate::endpoint::Mode;
use crate::error::{CliError, Result};
use crate::human;
use crate::output::{BOLD, Output, clean};
use crate::table::{self, dash, state_style};

/// How often `--watch` looks.
const WATCH: Duration = Duration::from_secs(1);

/// Lists instances, once or again and again.
pub fn run(agent: &Agent, out: Output, args: &Ps) -> Result<()> {
    if !args.watch {
        return print(out, &all(agent, args)?, args.wide);
    }
    let mut last = None;
    loop {
        let list = all(agent, args)?;
        if out.json {
            // One line for each change, for a script that reads along.
            if last.as_ref().map(without_usage) != Some(without_usage(&list)) {
                let line = serde_json::to_string(&list).map_err(|e| {
                    CliError::failure(format!("can't write JSON: {e}"), "please report this")
                })?;
                out.data(&line)?;
            }
        } else {
            out.clear()?;
            print(out, &list, args.wide)?;
        }
        last = Some(list);
        std::thread::sleep(WATCH);
    }
}

/// Every page of the list.
fn all(agent: &Agent, args: &Ps) -> Result<InstanceList> {
    let mut list = InstanceList { instances: Vec::new(), total: 0, next: None };
    loop {
        let page: InstanceList = agent.get(&path(args, list.next.as_ref()))?;
        list.instances.extend(page.instances);
        // A page that says to ask for itself again would be asked for without end.
        if page.next.is_none() || page.next == list.next {
            list.total = list.instances.len() as u64;
            list.next = None;
            return Ok(list);
        }
        list.next = page.next;
    }
}

fn path(args: &Ps, cursor: Option<&InstanceName>) -> String {
    let process = args.process.as_ref().or(args.of.as_ref());
    let given = [
        ("process", process.map(ToString::to_string)),
        ("state", args.state.map(|state| state.as_str().to_owned())),
        ("text", args.text.clone()),
        ("cursor", cursor.map(ToString::to_string)),
    ];
    let given: Vec<_> = given.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    path_with("/instances", &given)
}

/// What it uses changes all the time and is no event.
fn without_usage(list: &InstanceList) -> InstanceList {
    let mut list = list.clone();
    for view in &mut list.instances {
        (view.memory_bytes, view.usage) = (None, Default::default());
    }
    list
}

fn print(out: Output, list: &InstanceList, wide: bool) -> Result<()> {
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
    out.data(&table::instances(&list.instances, human::now_ms(), wide))
}

/// Everything about one instance.
pub fn show(agent: &Agent, out: Output, args: &Show) -> Result<()> {
    let name = &args.name;
    let view: InstanceView = agent.get(&args.wait.onto(&format!("/instances/{name}")))?;
    if out.json {
        return out.json(&view);
    }
    if out.quiet {
        return out.data(view.state.as_str());
    }
    let mut facts = facts(&view, human::now_ms());
    let changes = super::history::last(agent, name).into_iter();
    facts.extend(changes.enumerate().map(|(i, line)| (if i == 0 { "history" } else { "" }, line)));
    out.data(&table::pairs(&facts))
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
        ("health", view.health.map_or_else(dash, |health| health.as_str().to_owned())),
        ("tier", view.tier.as_str().to_owned()),
        ("url", view.url.clone()),
        ("open requests", view.in_flight.to_string()),
        ("last used", view.last_used_ms.map_or_else(dash, |then| human::ago(now, then))),
        ("sleeps", idle),
        ("next step", table::next_step(view, now)),
        ("wakes", wake),
        ("memory", used_memory(&view.usage)),
        ("cpu", view.usage.cpu_us.map_or_else(dash, |us| human::millis(us as f64 / 1000.0))),
        ("tasks", view.usage.tasks.map_or_else(dash, |tasks| tasks.to_string())),
        (
            "disk",
            table::both(view.usage.io_read_bytes, view.usage.io_write_bytes, "read", "written"),
        ),
        ("network", table::both(view.usage.ip_in_bytes, view.usage.ip_out_bytes, "in", "out")),
        ("disk space", disk(view)),
        ("limits", limits(view)),
        ("pid", view.pid.map_or_else(dash, |pid| pid.to_string())),
        ("unit", view.unit.clone()),
        ("listens", format!("{} on {}", view.listen, view.address)),
        ("data", view.data_dir.clone()),
        ("uuid", view.uuid.clone()),
    ];
    if let Some(service) = &view.service {
        let at = facts.iter().position(|(key, _)| *key == "unit").map_or(facts.len(), |at| at + 1);
        facts.insert(at, ("systemd", systemd(service, now)));
        if let Some(id) = &service.invocation_id {
            facts.insert(at + 1, ("invocation", id.clone()));
        }
    }
    if let Some(release) = table::release(view) {
        facts.insert(2, ("release", release));
    }
    if let Some(failure) = &view.failure {
        facts.insert(2, ("failure", failure.clone()));
    }
    facts
}

fn used_memory(usage: &Usage) -> String {
    let now = usage.memory_bytes.map_or_else(dash, human::bytes);
    match usage.memory_peak_bytes {
        Some(peak) => format!("{now}, at most {}", human::bytes(peak)),
        None => now,
    }
}

/// `active (running) since 3m ago, 2 restarts; ended with status 3 (exit-code)`.
fn systemd(service: &ServiceView, now: u64) -> String {
    let mut text = format!("{} ({})", service.active_state, service.sub_state);
    if let Some(since) = service.since_ms {
        text.push_str(&format!(", since {}", human::ago(now, since)));
    }
    match service.restarts {
        0 => {}
        1 => text.push_str(", restarted once"),
        n => text.push_str(&format!(", restarted {n} times")),
    }
    match (service.exit_code, service.exit_signal) {
        (Some(code), _) => text.push_str(&format!("; ended with status {code}")),
        (_, Some(signal)) => text.push_str(&format!("; ended by signal {signal}")),
        _ => {}
    }
    if !matches!(service.result.as_str(), "" | "success") {
        text.push_str(&format!(" ({})", service.result));
    }
    text
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
pub fn why(agent: &Agent, mode: Mode, out: Output, name: &InstanceName) -> Result<()> {
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
    facts.push(("tier", why.instance.tier.as_str().to_owned()));
    facts.extend(table::release(&why.instance).map(|release| ("release", release)));
    facts.push(("next step", table::next_step(&why.instance, human::now_ms())));
    facts.push(("next request", why.next_request.clone()));
    text.push_str(&table::pairs(&facts));
    if state == State::Failed {
        text.push_str(&format!("{BOLD}its last lines{BOLD:#}\n"));
        text.push_str(&super::logs::last_lines(mode, name));
    }
    out.data(&text)
}
