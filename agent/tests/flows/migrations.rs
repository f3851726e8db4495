//! The command of releases: run once for each instance and release, in a time of its own, and never on the way to a
//! release that was taken back. And what commands run from stays.

use std::collections::BTreeMap;
use std::time::Duration;

use tenement_agent::flows::deploys::DeployError;
use tenement_agent::flows::releases::ReleaseError;
use tenement_agent::flows::tasks::{Commands as _, RunAsk};
use tenement_agent::plan::TaskEnd;
use tenement_wire::deploys::{DeployState, Strategy};

use super::deploys::{
    APP, current, deployed, name, now, order, over, process, release, serve, world,
};
use super::fake::App;
use super::poll::until;
use super::world::{World, request};

fn migrating() -> String {
    format!("{APP}[process.app.deploy]\nrelease_command = \"{{release}}/migrate {{id}}\"\n")
}

async fn later(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

fn request_of(world: &World, of: &str) -> tokio::task::JoinHandle<bool> {
    let (agent, instance) = (world.agent.clone(), world.get(of));
    tokio::spawn(async move { request(&agent, &instance).await.is_ok() })
}

#[tokio::test]
async fn a_command_that_takes_longer_than_a_start_may_is_not_held_against_its_release() {
    let world = world(&migrating(), &["app:a"]).await;
    assert_eq!(deployed(&world, order("v2", Strategy::InPlace)).await.state, DeployState::Unproven);
    let gate = world.host.hold("task");
    let waits = request_of(&world, "app:a");
    until("its command runs", || world.host.count("task") == 1).await;
    later(Duration::from_secs(10)).await;
    gate.close();
    assert!(waits.await.unwrap(), "the start was given up");
    assert_eq!(current(&world), "v2");
}

#[tokio::test]
async fn a_client_that_hangs_up_is_not_held_against_a_release() {
    let world = world(&migrating(), &["app:a"]).await;
    deployed(&world, order("v2", Strategy::InPlace)).await;
    let gate = world.host.hold("task");
    let waits = request_of(&world, "app:a");
    until("its command runs", || world.host.count("task") == 1).await;
    waits.abort();
    until("its lease is gone", || world.get("app:a").gate.leases() == 0).await;
    gate.close();
    until("its command was noted", || world.host.count("load") > 0).await;
    serve(&world, &["app:a"]).await;
    assert_eq!(
        (current(&world), world.host.made_from(&name("app:a"))),
        ("v2".into(), Some(release("v2")))
    );
}

#[tokio::test]
async fn a_way_back_runs_no_command_a_second_time() {
    let world = world(&migrating(), &["app:a"]).await;
    serve(&world, &["app:a"]).await;
    for (to, runs) in [("v2", 2), ("v1", 2), ("v2", 2), ("v3", 3)] {
        assert_eq!(deployed(&world, now(to, 1)).await.state, DeployState::Succeeded, "{to}");
        assert_eq!(world.host.count("task"), runs, "{to}");
    }
    // Nor with another agent on the same state; but a release made anew under an old name is another one.
    world.agent.load_releases().await.unwrap();
    assert_eq!(deployed(&world, now("v1", 1)).await.state, DeployState::Succeeded);
    assert_eq!(world.host.count("task"), 3);
    assert!(world.agent.forget_release(&process(), &release("v2")).await.unwrap());
    let stored = world.agent.store.releases().await.unwrap().prepared;
    let of: Vec<_> = stored.iter().map(|(_, release)| release.as_str()).collect();
    assert_eq!(of, ["v1", "v3"]);
}

#[tokio::test]
async fn an_instance_whose_command_fails_never_stays_at_a_release_that_was_taken_back() {
    let world = world(&migrating(), &["app:a", "app:b"]).await;
    serve(&world, &["app:a", "app:b"]).await;
    world.host.breaks(&release("v2"), App::Crashes);
    let view = deployed(&world, now("v2", 1)).await;
    assert_eq!((view.state, current(&world)), (DeployState::RolledBack, "v1".into()));
    assert_eq!(
        world.host.made_from(&name("app:a")),
        Some(release("v1")),
        "v2 was its last migration"
    );
    deployed(&world, order("v3", Strategy::InPlace)).await;
    let stop = |of: &'static str| {
        let (agent, instance) = (world.agent.clone(), world.get(of));
        async move { agent.stop(&instance).await.unwrap() }
    };
    stop("app:b").await;
    serve(&world, &["app:b"]).await;
    assert!(!world.agent.deploys.is_tried(&process(), &release("v3")));
    stop("app:a").await;
    world.host.tasks_end(TaskEnd::of("exit-code", 1, 1));
    serve(&world, &["app:a"]).await;
    assert_eq!(world.agent.releases.pin_of(&name("app:a")), Some(release("v1")));
    assert_eq!(world.host.made_from(&name("app:a")), Some(release("v1")));
}

#[tokio::test]
async fn a_new_instance_whose_commands_fail_is_started_on_no_release() {
    let world = world(&migrating(), &["app:a"]).await;
    serve(&world, &["app:a"]).await;
    assert_eq!(deployed(&world, now("v2", 1)).await.state, DeployState::Succeeded);
    world.register("app:new").await;
    world.host.tasks_end(TaskEnd::of("exit-code", 1, 1));
    let error = world.request("app:new").await.unwrap_err().to_string();
    assert!(error.contains("release_command failed") && error.contains("at v1"), "{error}");
    assert_eq!(world.agent.releases.pin_of(&name("app:new")), None);
    assert_eq!(world.host.made_from(&name("app:new")), None);
}

#[tokio::test]
async fn a_release_that_a_command_runs_from_stays_until_that_has_ended() {
    let world = world(APP, &["app:a"]).await;
    let gate = world.host.hold("task");
    let (command, timeout) = (vec!["true".to_owned()], Duration::from_secs(60));
    let ask = RunAsk { command, env: BTreeMap::new(), timeout, terminal: None };
    let mut session = world.agent.run(&name("app:a"), ask).await.unwrap();
    for to in ["v2", "v3"] {
        world.agent.set_current_release(&process(), &release(to)).await.unwrap();
    }
    let error = world.agent.remove_release(&process(), &release("v1")).await.unwrap_err();
    assert!(error.to_string().contains("a command runs from it"), "{error}");
    gate.close();
    while session.output.recv().await.is_some() {}
    let gone = || async { world.agent.remove_release(&process(), &release("v1")).await.is_ok() };
    for _ in 0..100 {
        if gone().await {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("nothing needs it any more");
}

#[tokio::test]
async fn to_use_a_release_is_a_deployment_with_a_trial_and_one_at_a_time() {
    let world = world(APP, &["app:a"]).await;
    serve(&world, &["app:a"]).await;
    let gate = world.host.hold("up");
    let moving = world.agent.deploy(now("v3", 1)).await.unwrap();
    let error = world.agent.adopt_release(&process(), &release("v2")).await.unwrap_err();
    assert!(matches!(error, ReleaseError::Deploy(DeployError::Running { .. })), "{error}");
    gate.close();
    over(&moving).await;
    world.host.breaks(&release("v2"), App::Crashes);
    world.agent.adopt_release(&process(), &release("v2")).await.unwrap();
    assert_eq!(current(&world), "v2");
    assert!(world.agent.deploys.is_tried(&process(), &release("v2")));
    world.agent.stop(&world.get("app:a")).await.unwrap();
    serve(&world, &["app:a"]).await;
    assert_eq!(current(&world), "v3", "it was not taken back");
    let deploys = world.agent.deploys.of(&process());
    until("it says so", || deploys[0].view().state == DeployState::RolledBack).await;
    // What it runs from already is no deployment.
    world.agent.adopt_release(&process(), &release("v3")).await.unwrap();
    assert_eq!(world.agent.deploys.of(&process()).len(), 2);
    let none = world.agent.adopt_release(&process(), &release("v9")).await.unwrap_err();
    assert!(matches!(none, ReleaseError::Unknown { .. }), "{none}");
}

#[tokio::test]
async fn releases_of_a_process_that_is_out_of_the_config_can_be_removed() {
    let world = world(APP, &[]).await;
    deployed(&world, order("v2", Strategy::InPlace)).await;
    let error = world.agent.remove_release(&process(), &release("v2")).await.unwrap_err();
    assert!(error.to_string().contains("app runs from it"), "{error}");
    let mut config = (**world.agent.config.load()).clone();
    config.processes.clear();
    world.agent.config.store(config.into());
    for gone in ["v1", "v2", "v3"] {
        world.agent.remove_release(&process(), &release(gone)).await.unwrap();
    }
    assert!(world.agent.store.releases().await.unwrap().releases.is_empty());
}

#[tokio::test]
async fn an_end_that_was_asked_for_is_stored_before_it_is_answered() {
    let world = world(&migrating(), &["app:a"]).await;
    serve(&world, &["app:a"]).await;
    // A command that hangs does not keep it from ending.
    let gate = world.host.hold("task");
    let deploy = world.agent.deploy(now("v2", 1)).await.unwrap();
    until("its command runs", || world.host.count("task") == 2).await;
    let id = deploy.view().id;
    world.agent.abort_deploy(&process(), &id, "uid 0").await.unwrap();
    let stored = world.agent.store.releases().await.unwrap().deploys;
    assert!(stored[0].doc.contains("\"back\":\"aborted\""), "{}", stored[0].doc);
    let view = over(&deploy).await;
    assert_eq!((view.state, current(&world)), (DeployState::Aborted, "v1".into()));
    gate.close();
    serve(&world, &["app:a"]).await;
    assert_eq!(world.host.made_from(&name("app:a")), Some(release("v1")));
}
