//! The strategies, one deployment each.

use tenement_tests::Host;
use tenement_tests::rollout::{Drain, deployed, drains};
use tenement_tests::traffic::now_ms;

use super::{DRAIN_MS, INSTANCES, Stage};

/// One deployment of a process, the first of which is number 1.
type Deploy = fn(&Stage, &str, usize);

/// Each by its name.
pub(super) const STRATEGIES: &[(&str, Deploy)] =
    &[("in-place", in_place), ("lazy", lazy), ("blue-green", blue_green), ("canary", canary)];

/// Two of the four instances at a time.
fn in_place(stage: &Stage, process: &str, n: usize) {
    let release = format!("{}-i{n}", stage.run);
    deployed(stage.host, process, &release, "--now --batch 2");
    note_drains(stage, process, &release);
}

/// Each instance comes to the release at its next start.
fn lazy(stage: &Stage, process: &str, n: usize) {
    let release = format!("{}-l{n}", stage.run);
    deployed(stage.host, process, &release, "");
    std::thread::scope(|scope| {
        for id in INSTANCES {
            let name = format!("{process}:{id}");
            scope.spawn(move || stop_by(stage, &name, "restart"));
        }
    });
}

/// The instance of the release takes the place of the one before, and the one before that is removed.
fn blue_green(stage: &Stage, process: &str, n: usize) {
    let id = |n: usize| format!("{}-b{n}", stage.run);
    deployed(stage.host, process, &id(n), &format!("--version {}", id(n)));
    let from = if n > 1 { format!("--from {}", id(n - 1)) } else { String::new() };
    stage.host.run(&format!("ten route {process} {from} --to {}", id(n)));
    if n > 2 {
        stop_by(stage, &format!("{process}:{}", id(n - 2)), "rm --yes");
    }
}

/// A quarter, a half, then all of the requests.
fn canary(stage: &Stage, process: &str, n: usize) {
    let id = |n: usize| format!("{}-c{n}", stage.run);
    let how = format!("--version {} --canary 25,50,100 --step 2s", id(n));
    deployed(stage.host, process, &id(n), &how);
    if n > 2 {
        stop_by(stage, &format!("{process}:{}", id(n - 2)), "rm --yes");
    }
}

/// Stops an instance in some way that gives what is open `stop_timeout`, which is as long as `drain_timeout` here.
fn stop_by(stage: &Stage, instance: &str, verb: &str) {
    let drain = Drain { instance: instance.to_owned(), began_ms: now_ms(), bound_ms: DRAIN_MS };
    stage.drains.lock().expect("no panic while held").push(drain);
    stage.host.run(&format!("ten --timeout 120 {verb} {instance}"));
}

fn note_drains(stage: &Stage, process: &str, release: &str) {
    let deployment = deployment(stage.host, process, release);
    stage.drains.lock().expect("no panic while held").extend(drains(&deployment, DRAIN_MS));
}

fn deployment(host: &Host, process: &str, release: &str) -> serde_json::Value {
    let list = host.ten_json(&format!("deploys {process}"));
    let all = list["deploys"].as_array().expect("a list");
    let one = all.iter().find(|one| one["release"] == release).expect("it was begun");
    host.ten_json(&format!("deploys {process} {}", one["id"].as_str().expect("an id")))
}
