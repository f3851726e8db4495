//! `ten processes`: the processes of the config, as the agent understood them.

use tenement_wire::ResourceLimits;
use tenement_wire::dto::{ProcessList, ProcessView};

use crate::args::Processes;
use crate::client::Agent;
use crate::error::Result;
use crate::human;
use crate::output::{Output, clean};
use crate::table::{Listing, dash, pairs};

/// Lists them, or shows one.
pub fn run(agent: &Agent, out: Output, args: &Processes) -> Result<()> {
    if let Some(process) = &args.process {
        let view: ProcessView = agent.get(&format!("/processes/{process}"))?;
        return if out.json { out.json(&view) } else { out.data(&one(&view)) };
    }
    let list: ProcessList = agent.get("/processes")?;
    if out.json {
        return out.json(&list);
    }
    if out.quiet {
        let names = list.processes.iter().map(|p| format!("{}\n", p.name)).collect::<String>();
        return out.data(&names);
    }
    out.data(&table(&list.processes))
}

/// One row for each.
pub fn table(processes: &[ProcessView]) -> String {
    let mut listing =
        Listing::new(&["PROCESS", "LISTEN", "SLEEPS AFTER", "INSTANCES", "ON REQUEST", "COMMAND"]);
    for process in processes {
        let cells = [
            process.name.clone(),
            process.listen.clone(),
            human::setting(process.idle_timeout_s),
            process.instances.to_string(),
            yes(process.spawn_on_request).to_owned(),
            process.command.join(" "),
        ];
        listing.row(clap::builder::styling::Style::new(), &cells);
    }
    listing.render()
}

fn one(view: &ProcessView) -> String {
    let words: Vec<_> = view.command.iter().map(|word| clean(word).to_string()).collect();
    let environment = if view.env.is_empty() { dash() } else { view.env.join(", ") };
    pairs(&[
        ("name", view.name.clone()),
        ("command", words.join(" ")),
        ("listens", view.listen.clone()),
        ("health", view.health.as_deref().map_or_else(dash, |path| clean(path).to_string())),
        ("environment", environment),
        ("instances", view.instances.to_string()),
        ("on request", yes(view.spawn_on_request).to_owned()),
        ("sleeps after", human::setting(view.idle_timeout_s)),
        ("starts within", human::span(view.startup_timeout_s)),
        ("stops within", human::span(view.stop_timeout_s)),
        ("limits", limits(&view.limits)),
        ("at most", limits(&view.max)),
        ("all together", limits(&view.total)),
    ])
}

fn yes(on: bool) -> &'static str {
    if on { "yes" } else { "no" }
}

fn limits(limits: &ResourceLimits) -> String {
    let list: Vec<String> =
        limits.iter().map(|(limit, value)| format!("{limit}={}", limit.show(value))).collect();
    if list.is_empty() { dash() } else { list.join(" ") }
}
