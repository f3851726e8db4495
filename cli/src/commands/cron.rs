//! `ten cron`: scheduled jobs.

use std::thread::sleep;
use std::time::{Duration, Instant};

use tenement_wire::InstanceName;
use tenement_wire::tasks::CronView;

use crate::args::{Cron, CronAction, Target};
use crate::client::{Agent, encoded};
use crate::error::{CliError, Kind, Result};
use crate::human;
use crate::output::{BOLD, Output};
use crate::table;

/// Between two looks at a job that runs.
const LOOK: Duration = Duration::from_millis(200);
const LOOK_MAX: Duration = Duration::from_secs(2);

/// Does what the command line says.
pub fn run(agent: &Agent, patience: Duration, out: Output, args: &Cron) -> Result<()> {
    match &args.action {
        CronAction::Ls { target } => ls(agent, out, target.as_ref()),
        CronAction::Run { name, job, no_wait } => now(agent, patience, out, name, job, *no_wait),
    }
}

fn ls(agent: &Agent, out: Output, target: Option<&Target>) -> Result<()> {
    let path = match target {
        None => "/cron".to_owned(),
        Some(Target { process, id: None }) => format!("/cron?process={process}"),
        Some(Target { process, id: Some(id) }) => format!("/instances/{process}:{id}/cron"),
    };
    let jobs: Vec<CronView> = agent.get(&path)?;
    if out.json {
        return out.json(&jobs);
    }
    if out.quiet {
        let line = |job: &CronView| format!("{} {}\n", job.instance, job.job);
        return out.data(&jobs.iter().map(line).collect::<String>());
    }
    if jobs.is_empty() {
        out.say("no jobs: add [process.NAME.cron.JOB] to the config");
        return Ok(());
    }
    out.data(&table::cron(&jobs, human::now_ms()))
}

fn now(
    agent: &Agent,
    patience: Duration,
    out: Output,
    name: &InstanceName,
    job: &str,
    no_wait: bool,
) -> Result<()> {
    let path = format!("/instances/{name}/cron/{}/run", encoded(job));
    let mut view: CronView = agent.post(&path)?;
    let (deadline, mut pause) = (Instant::now() + patience, LOOK);
    while view.running && !no_wait {
        if Instant::now() >= deadline {
            let detail = format!("the job {job} of {name} still runs");
            let hint = "it goes on: see ten cron ls, or wait longer with --timeout";
            return Err(CliError::new(Kind::TimedOut, "job_runs", detail, hint));
        }
        sleep(pause);
        pause = (pause * 2).min(LOOK_MAX);
        let jobs: Vec<CronView> = agent.get(&format!("/instances/{name}/cron"))?;
        let found = jobs.into_iter().find(|one| one.job == job);
        view = found.ok_or_else(|| {
            CliError::failure(format!("{name} has no job {job} any more"), "see ten cron ls")
        })?;
    }
    if out.json {
        out.json(&view)?;
    }
    match view.last_result.as_deref() {
        _ if view.running => out.say(&format!("{BOLD}{job}{BOLD:#} of {name} was begun")),
        Some("success") | None => out.say(&format!("{BOLD}{job}{BOLD:#} of {name} is done")),
        Some(how) => {
            let detail = format!("the job {job} of {name} has failed: {how}");
            return Err(CliError::new(
                Kind::Failure,
                "job_failed",
                detail,
                format!("see what it printed: ten logs {name}"),
            ));
        }
    }
    Ok(())
}
