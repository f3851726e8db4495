//! `[instances]`: which instances exist from boot.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use tenement_wire::{InstanceId, InstanceName, ProcessName};

use super::merge::Merged;
use super::problems::{Problems, suggest};
use super::types::{Definition, Settings};

/// Reads the names. `processes` has `None` for a process that is defined, but wrongly.
pub(super) fn read(
    merged: &Merged,
    processes: &BTreeMap<ProcessName, Option<Arc<Definition>>>,
    settings: &Settings,
    problems: &mut Problems,
) -> Vec<InstanceName> {
    let mut names = Vec::new();
    for (process, node) in &merged.instances.0 {
        let process = known_process(process, merged, processes);
        let texts = node.strings(false, "[\"prod\", \"staging\"]", problems);
        let Ok(process) = process else {
            report_unknown(node, merged, problems);
            continue;
        };
        let mut seen = BTreeSet::new();
        for text in texts {
            let id = match InstanceId::new(&text.value) {
                Ok(id) => id,
                Err(error) => {
                    let fix = "write an id such as \"prod\" or \"alice-2\"";
                    problems.add(&text.at, error.to_string(), fix);
                    continue;
                }
            };
            if !seen.insert(id.clone()) {
                problems.add(
                    &text.at,
                    format!("`{id}` stands here twice"),
                    "remove one of the two",
                );
                continue;
            }
            let name = InstanceName::new(process.clone(), id);
            if let Some(Some(definition)) = processes.get(&process)
                && let Err(error) =
                    crate::plan::paths(&name, definition, settings, Path::new(crate::plan::RUN_DIR))
            {
                problems.add(&text.at, error.to_string(), "use a shorter id or process name");
            }
            names.push(name);
        }
    }
    names
}

fn known_process(
    name: &str,
    merged: &Merged,
    processes: &BTreeMap<ProcessName, Option<Arc<Definition>>>,
) -> Result<ProcessName, ()> {
    let process = ProcessName::new(name).map_err(|_| ())?;
    let known = processes.contains_key(&process) || merged.processes.contains_key(name);
    known.then_some(process).ok_or(())
}

fn report_unknown(node: &super::node::Node, merged: &Merged, problems: &mut Problems) {
    // A file that could not be read may define it.
    if problems.syntax_broken {
        return;
    }
    let name = problems.text(&node.key).trim_matches(['"', '\'']).to_owned();
    if merged.processes.contains_key(&name) {
        // Its name is bad, which is reported where it is defined.
        return;
    }
    let known: Vec<&str> = merged.processes.keys().map(String::as_str).collect();
    let fix = match known.is_empty() {
        true => format!("define it: [process.{name}] with a command"),
        false => suggest(&name, &known),
    };
    problems.add(&node.key, format!("there is no process `{name}`"), fix);
}
