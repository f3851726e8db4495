//! What made an instance change its state is told apart, and survives the agent.

use std::time::Duration;

use tenement_agent::flows::host::Active;
use tenement_agent::flows::management::Management as _;
use tenement_agent::flows::observe::{Report, Unit};
use tenement_agent::flows::{Instance, Phase};
use tenement_agent::store::history::History;

use super::fake::App;
use super::pair::Command;
use super::poll::until;
use super::world::{MODES, World};

/// A world that keeps a history, with `names` registered.
async fn world(settings: &str, processes: &str, names: &[&str]) -> (World, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(settings, processes).await;
    let history = History::open(&dir.path().join("history.db"));
    assert!(world.agent.history.set(history).is_ok());
    for name in names {
        world.register(name).await;
    }
    (world, dir)
}

/// The changes of an instance, oldest first, as `from>to cause`.
async fn told(world: &World, name: &str) -> Vec<String> {
    let history = world.manager.history(&name.parse().unwrap(), 100).await.unwrap();
    let line = |e: &tenement_wire::status::HistoryEntry| {
        format!("{}>{} {}", e.from, e.to, e.cause.as_str())
    };
    history.entries.iter().rev().map(line).collect()
}

#[tokio::test]
async fn requests_operators_idleness_and_hands_are_told_apart() {
    for name in ["fd:1", "sock:1", "port:1"] {
        let (world, _dir) = world("", MODES, &[name]).await;
        let instance = world.get(name);
        drop(world.request(name).await.unwrap());
        until("it is seen to run", || instance.phase() == Phase::Running).await;
        assert_eq!(
            told(&world, name).await,
            ["dormant>asleep request", "asleep>starting request", "starting>running request"],
            "{name}"
        );
        world.manager.stop(&instance.name).await.unwrap();
        let all = told(&world, name).await;
        assert_eq!(all[3..], ["running>stopping operator", "stopping>asleep operator"], "{name}");
        world.manager.wake(&instance.name).await.unwrap();
        let all = told(&world, name).await;
        assert_eq!(all[5..], ["asleep>starting operator", "starting>running operator"], "{name}");
        world.host.command(&instance.name, Command::Stop).await;
        until("it is seen asleep", || instance.phase() == Phase::Asleep).await;
        let all = told(&world, name).await;
        assert_eq!(all[7..], ["running>stopping by-hand", "stopping>asleep by-hand"], "{name}");
        world.host.command(&instance.name, Command::Start).await;
        until("it is seen to run", || instance.phase() == Phase::Running).await;
        let all = told(&world, name).await;
        assert_eq!(all[9..], ["asleep>starting by-hand", "starting>running by-hand"], "{name}");
    }
}

#[tokio::test]
async fn parking_is_told_as_one_change_and_as_nobodys_hand() {
    let processes = "[process.sock]\ncommand = \"/app {socket}\"\npark = 1\n";
    let (world, _dir) = world("", processes, &["sock:1"]).await;
    let instance = world.get("sock:1");
    drop(world.request("sock:1").await.unwrap());
    until("it is seen to run", || instance.phase() == Phase::Running).await;
    assert!(world.agent.put_to_sleep(&instance).await.unwrap());
    until("it is parked", || instance.phase() == Phase::Parked && !instance.gate.is_closed()).await;
    let all = told(&world, "sock:1").await;
    assert_eq!(all.last().map(String::as_str), Some("asleep>parked idle"), "{all:?}");
    assert_eq!(all.iter().filter(|one| one.contains(">starting")).count(), 1, "{all:?}");
    drop(world.request("sock:1").await.unwrap());
    until("it is seen to run", || instance.phase() == Phase::Running).await;
    let since = told(&world, "sock:1").await.split_off(all.len());
    assert!(since.iter().all(|one| one.ends_with("request")), "{since:?}");
}

#[tokio::test]
async fn a_stop_of_a_parked_instance_is_told_as_no_start() {
    let processes = "[process.sock]\ncommand = \"/app {socket}\"\npark = 1\n";
    let (world, _dir) = world("", processes, &["sock:1"]).await;
    let instance = world.get("sock:1");
    drop(world.request("sock:1").await.unwrap());
    until("it is seen to run", || instance.phase() == Phase::Running).await;
    assert!(world.agent.put_to_sleep(&instance).await.unwrap());
    until("it is parked", || instance.phase() == Phase::Parked && !instance.gate.is_closed()).await;
    let before = told(&world, "sock:1").await.len();
    world.manager.stop(&instance.name).await.unwrap();
    let since = told(&world, "sock:1").await.split_off(before);
    assert_eq!(since, ["parked>stopping operator", "stopping>asleep operator"]);
}

#[tokio::test]
async fn sleep_after_the_idle_time_is_told_as_that() {
    let processes = "[process.fd]\ncommand = \"/app\"\nidle_timeout = \"1s\"\n";
    let (world, _dir) = world("", processes, &["fd:1"]).await;
    let instance = world.get("fd:1");
    drop(world.request("fd:1").await.unwrap());
    until("it is seen to run", || instance.phase() == Phase::Running).await;
    until("it sleeps", || instance.phase() == Phase::Asleep).await;
    let all = told(&world, "fd:1").await;
    assert_eq!(all[3..], ["running>stopping idle", "stopping>asleep idle"]);
}

fn report(instance: &Instance, active: Active, auto_restart: bool, result: &str) -> Report {
    let (name, result) = (instance.name.clone(), result.to_owned());
    Report { auto_restart, result, ..Report::of(name, Unit::Service, active) }
}

#[tokio::test]
async fn crashes_restarts_and_kills_for_memory_are_told_apart() {
    let (world, _dir) = world("", MODES, &["fd:1"]).await;
    let instance = world.get("fd:1");
    let report = |active, again, result: &str| {
        world.agent.observe(&report(&instance, active, again, result));
    };
    report(Active::Active, false, "success");
    // systemd 254 and newer pass through `failed-before-auto-restart`.
    report(Active::Activating, false, "signal");
    report(Active::Activating, true, "signal");
    report(Active::Active, false, "success");
    // Some of its processes are left over.
    report(Active::Deactivating, false, "oom-kill");
    report(Active::Activating, true, "oom-kill");
    report(Active::Active, false, "success");
    report(Active::Inactive, false, "success");
    assert_eq!(
        told(&world, "fd:1").await,
        [
            "dormant>running by-hand",
            "running>starting crash",
            "starting>running restart",
            "running>stopping oom",
            "stopping>starting oom",
            "starting>running restart",
            "running>dormant by-hand",
        ]
    );
}

#[tokio::test]
async fn a_start_that_keeps_crashing_ends_with_its_units_unloaded_for_that() {
    let (world, _dir) = world("", MODES, &["fd:1"]).await;
    world.host.runs(App::Crashes);
    assert!(world.request("fd:1").await.is_err());
    until("it is unloaded", || world.get("fd:1").phase() == Phase::Dormant).await;
    let all = told(&world, "fd:1").await;
    assert!(all.last().unwrap().ends_with(">dormant crash"), "{all:?}");
}

#[tokio::test]
async fn the_next_agent_goes_on_where_the_history_ended_and_a_new_namesake_begins_anew() {
    let (world, dir) = world("", MODES, &["fd:1"]).await;
    let instance = world.get("fd:1");
    drop(world.request("fd:1").await.unwrap());
    until("it is seen to run", || instance.phase() == Phase::Running).await;
    let before = told(&world, "fd:1").await;
    world.agent.history.get().unwrap().close().await;

    // The next agent finds it dormant, as after a reboot.
    let next = World::new("", MODES).await;
    let history = History::open(&dir.path().join("history.db"));
    assert!(next.agent.history.set(history).is_ok());
    next.agent.admit([instance.registered()]);
    next.agent.publish();
    next.agent.resync().await.unwrap();
    let all = told(&next, "fd:1").await;
    assert_eq!(all[..before.len()], before);
    assert_eq!(all[before.len()..], ["running>dormant agent-start"]);
    next.agent.resync().await.unwrap();
    assert_eq!(told(&next, "fd:1").await.len(), before.len() + 1, "told twice");

    next.manager.remove(&instance.name, false).await.unwrap();
    next.register("fd:1").await;
    assert_eq!(told(&next, "fd:1").await, [""; 0]);
    tokio::time::timeout(Duration::from_secs(20), next.request("fd:1")).await.unwrap().unwrap();
    assert!(!told(&next, "fd:1").await.is_empty());
}
