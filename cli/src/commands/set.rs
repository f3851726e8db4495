//! `ten set`: the limits of one instance.

use std::collections::BTreeMap;

use tenement_wire::dto::{LimitsChange, LimitsSet};
use tenement_wire::{InstanceName, Limit};

use crate::args::Set;
use crate::client::Agent;
use crate::error::{CliError, Result};
use crate::output::{BOLD, Output};
use crate::table;

/// Changes what the command line names, and shows the limits in force.
pub fn run(agent: &Agent, out: Output, args: &Set) -> Result<()> {
    let changes = changes(&args.limits)?;
    let path = format!("/instances/{}", args.name);
    let set: LimitsSet = agent.patch(&path, &LimitsChange { limits: changes })?;
    if out.json {
        return out.json(&set);
    }
    if !out.quiet {
        out.data(&table::pairs(&facts(&set)))?;
    }
    notes(out, &args.name, &set);
    Ok(())
}

/// Every wrong argument is told at once.
fn changes(words: &[String]) -> Result<BTreeMap<Limit, Option<u64>>> {
    let mut changes = BTreeMap::new();
    let mut wrong = Vec::new();
    for word in words {
        match change(word) {
            Ok((limit, _)) if changes.contains_key(&limit) => {
                wrong.push(format!("{limit} is there twice"));
            }
            Ok((limit, value)) => drop(changes.insert(limit, value)),
            Err(message) => wrong.push(message),
        }
    }
    if wrong.is_empty() {
        return Ok(changes);
    }
    Err(CliError::usage(wrong.join("; "), "write it as memory_max=256M; ten help set has examples"))
}

fn change(word: &str) -> std::result::Result<(Limit, Option<u64>), String> {
    let (name, value) = word
        .split_once('=')
        .ok_or_else(|| format!("`{}` is no limit with a value", word.escape_default()))?;
    let limit: Limit = name.trim().parse()?;
    match value.trim() {
        "" => Ok((limit, None)),
        value => limit
            .parse(value)
            .map(|value| (limit, Some(value)))
            .map_err(|message| format!("{message}: write {}", limit.example())),
    }
}

fn facts(set: &LimitsSet) -> Vec<(&'static str, String)> {
    let fact = |(limit, value): (Limit, u64)| {
        let whose = match (set.overrides.get(limit), set.clamped.contains(&limit)) {
            (Some(asked), true) => {
                format!(" ({} was asked for; the maximum holds)", limit.show(asked))
            }
            (Some(_), false) => " (set for this instance)".to_owned(),
            (None, _) => String::new(),
        };
        (limit.as_str(), format!("{}{whose}", limit.show(value)))
    };
    set.limits.iter().map(fact).collect()
}

fn notes(out: Output, name: &InstanceName, set: &LimitsSet) {
    if set.limits.is_empty() {
        out.say(&format!("{BOLD}{name}{BOLD:#} has no limits of its own"));
    }
    if !set.at_next_start.is_empty() {
        let list: Vec<_> = set.at_next_start.iter().map(ToString::to_string).collect();
        out.say(&format!(
            "{BOLD}{name}{BOLD:#} has {} from its next start on: ten restart {name}",
            list.join(", ")
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<BTreeMap<Limit, Option<u64>>> {
        changes(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn limits_are_read_as_people_write_them() {
        let changes = read(&["memory_max=256M", "cpu=1.5", "tasks_max="]).unwrap();
        assert_eq!(changes[&Limit::MemoryMax], Some(256 << 20));
        assert_eq!(changes[&Limit::Cpu], Some(1_500));
        assert_eq!(changes[&Limit::TasksMax], None);
    }

    #[test]
    fn every_wrong_limit_is_named_at_once() {
        let error = read(&["memory_max=1M", "memory=1G", "cpu", "cpu=1", "cpu=2"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let text = format!("{error:?}");
        for part in
            ["from 4M to 1T", "no limit `memory`", "`cpu` is no limit with a value", "twice"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
