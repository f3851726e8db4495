//! `wake`, `sleep`, `stop`, `restart` and `rm`: one verb, any number of instances.

use std::io::{BufRead, IsTerminal, Write};

use serde_json::json;
use tenement_wire::InstanceName;
use tenement_wire::dto::{InstanceList, InstanceView, Removed};

use crate::args::{Rm, Verb};
use crate::client::Agent;
use crate::error::{CliError, Result};
use crate::output::{BOLD, Output, clean};
use crate::table;

/// A verb that takes no more than what to wait for.
pub fn verb(agent: &Agent, out: Output, args: &Verb, verb: &str) -> Result<()> {
    each(agent, out, &args.many.names, &args.wait.onto(verb))
}

/// Does `verb` to each. One that fails does not keep the others from their turn; the exit code is
/// that of the first failure.
pub fn each(agent: &Agent, out: Output, names: &[InstanceName], verb: &str) -> Result<()> {
    let post =
        |name: &InstanceName| agent.post::<InstanceView>(&format!("/instances/{name}/{verb}"));
    let (instances, failed) = all(out, names, post);
    let total = instances.len() as u64;
    report(out, &InstanceList { instances, total, next: None })?;
    failed.map_or(Ok(()), Err)
}

/// Stops and forgets each; with `--purge` its data goes too, after a question.
pub fn remove(agent: &Agent, out: Output, args: &Rm) -> Result<()> {
    let names = &args.many.names;
    if args.purge && !args.yes {
        confirm(names)?;
    }
    let query = if args.purge { "?purge=true" } else { "" };
    let delete =
        |name: &InstanceName| agent.delete::<Removed>(&format!("/instances/{name}{query}"));
    let (removed, failed) = all(out, names, delete);
    if out.json {
        out.json(&json!({ "removed": removed }))?;
    }
    for gone in &removed {
        let name = &gone.name;
        let dir = clean(&gone.data_dir);
        let fate = if gone.purged { "deleted" } else { "kept" };
        out.say(&format!("{BOLD}{name}{BOLD:#} is removed; its data in {dir} is {fate}"));
        if !gone.domains.is_empty() {
            let fate = if gone.purged { "removed too" } else { "kept for whoever gets its name" };
            let domains: Vec<_> = gone.domains.iter().map(|one| clean(one)).collect();
            out.say(&format!("  its custom domains are {fate}: {}", domains.join(", ")));
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Prints where the instances are now. Only `ten spawn` and its like have names to print in quiet.
pub fn report(out: Output, list: &InstanceList) -> Result<()> {
    if out.json {
        out.json(list)
    } else if out.quiet {
        out.data(&list.instances.iter().map(|view| format!("{}\n", view.name)).collect::<String>())
    } else if list.instances.is_empty() {
        Ok(())
    } else {
        out.data(&table::outcome(&list.instances))
    }
}

/// The answers, and the first error. Later errors are printed here, since only one can be returned.
fn all<T>(
    out: Output,
    names: &[InstanceName],
    verb: impl Fn(&InstanceName) -> Result<T>,
) -> (Vec<T>, Option<CliError>) {
    let mut answers = Vec::new();
    let mut first = None;
    for name in names {
        match verb(name) {
            Ok(answer) => answers.push(answer),
            Err(error) if first.is_none() => first = Some(error),
            Err(error) => out.error(&error),
        }
    }
    (answers, first)
}

fn confirm(names: &[InstanceName]) -> Result<()> {
    let list = names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if !std::io::stdin().is_terminal() {
        return Err(CliError::usage(
            format!("--purge deletes the data of {list}, and nobody can be asked here"),
            "add --yes to delete it without a question",
        ));
    }
    let mut err = anstream::stderr().lock();
    let _ = write!(err, "Delete {BOLD}{list}{BOLD:#} and all its data for good? [y/N] ");
    let _ = err.flush();
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    match (read, answer.trim()) {
        (Ok(_), "y" | "Y" | "yes" | "Yes") => Ok(()),
        _ => Err(CliError::failure("nothing was removed", "answer y to delete the data")),
    }
}
