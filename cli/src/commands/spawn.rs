//! `ten spawn`: registers instances and starts them.

use tenement_wire::ProcessName;
use tenement_wire::dto::{InstanceList, SpawnRequest};

use super::lifecycle;
use crate::args::{Spawn, Target};
use crate::client::Agent;
use crate::error::{CliError, Result};
use crate::output::Output;

/// One request for each process, in the order of the command line.
pub fn run(agent: &Agent, out: Output, args: &Spawn) -> Result<()> {
    let mut list = InstanceList { instances: Vec::new(), total: 0, next: None };
    for request in requests(args)? {
        match agent.post_json::<InstanceList>(&args.wait.onto("/instances"), &request) {
            Ok(spawned) => {
                list.total += spawned.instances.len() as u64;
                list.instances.extend(spawned.instances);
            }
            Err(error) => {
                // What the earlier requests did is done, so it is shown before the error.
                lifecycle::report(out, &list)?;
                return Err(error);
            }
        }
    }
    lifecycle::report(out, &list)
}

fn requests(args: &Spawn) -> Result<Vec<SpawnRequest>> {
    if !args.ids.is_empty() {
        let [Target { process, id: None }] = args.targets.as_slice() else {
            return Err(CliError::usage(
                "--id goes with one process, not with process:id or several processes",
                "write ten spawn api --id prod, or ten spawn api:prod web:prod",
            ));
        };
        let ids = args.ids.iter().map(ToString::to_string).collect();
        return Ok(vec![request(process, ids, !args.no_start)]);
    }
    let mut requests: Vec<SpawnRequest> = Vec::new();
    for target in &args.targets {
        let ids: Vec<String> = target.id.iter().map(ToString::to_string).collect();
        let same = requests.iter_mut().find(|r| r.process == target.process.as_str());
        match same {
            Some(request) if request.ids.is_empty() != ids.is_empty() => {
                return Err(CliError::usage(
                    format!("{0} is given both as a process and as {0}:id", target.process),
                    "name either the process or its instances",
                ));
            }
            Some(request) => request.ids.extend(ids),
            None => requests.push(request(&target.process, ids, !args.no_start)),
        }
    }
    Ok(requests)
}

fn request(process: &ProcessName, ids: Vec<String>, start: bool) -> SpawnRequest {
    SpawnRequest { process: process.to_string(), ids, start }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spawn(targets: &[&str], ids: &[&str]) -> Result<Vec<SpawnRequest>> {
        requests(&Spawn {
            targets: targets.iter().map(|t| t.parse().unwrap()).collect(),
            ids: ids.iter().map(|i| i.parse().unwrap()).collect(),
            no_start: false,
            wait: crate::args::Wait { wait: None, wait_timeout: 30 },
        })
    }

    #[test]
    fn instances_of_one_process_go_into_one_request() {
        let made = spawn(&["api:a", "web", "api:b"], &[]).unwrap();
        assert_eq!(made.len(), 2);
        assert_eq!((made[0].process.as_str(), made[0].ids.join(",")), ("api", "a,b".to_owned()));
        assert!(made[1].ids.is_empty());
    }

    #[test]
    fn an_id_beside_an_instance_is_a_usage_error() {
        assert_eq!(spawn(&["api:a"], &["b"]).unwrap_err().exit_code(), 2);
        assert_eq!(spawn(&["api", "web"], &["b"]).unwrap_err().exit_code(), 2);
        assert_eq!(spawn(&["api", "api:b"], &[]).unwrap_err().exit_code(), 2);
    }
}
