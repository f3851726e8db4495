//! Deployments with a new agent, or without the unit helper, in the middle.

use std::sync::Arc;
use std::time::Duration;

use tenement_agent::flows::agent::Agent;
use tenement_agent::flows::host::HostError;
use tenement_wire::deploys::{DeployState, MoveState, Strategy};

use super::deploys::{
    APP, FD, canary, current, name, now, order, over, process, release, serve, world,
};
use super::fake::FakeHost;
use super::poll::until;
use super::world::World;

/// Another agent on the same state and host, as after a kill.
async fn another(world: &World) -> Arc<Agent<FakeHost>> {
    let (config, dir) = ((**world.agent.config.load()).clone(), world.agent.run_dir.clone());
    let agent = Agent::new(world.host.clone(), world.agent.store.clone(), config, dir);
    let registered = agent.store.all().await.unwrap();
    let stored = agent.load_releases().await.unwrap();
    agent.admit(registered);
    agent.domains.load().await.unwrap();
    agent.publish();
    agent.resync().await.unwrap();
    agent.resume_deploys(stored);
    agent
}

#[tokio::test]
async fn a_new_agent_goes_on_with_the_rest_of_a_rolling_deployment() {
    let all = ["app:a", "app:b", "app:c"];
    let world = world(FD, &all).await;
    serve(&world, &all).await;
    let gate = world.host.hold("unload");
    let deploy = world.agent.deploy(now("v2", 1)).await.unwrap();
    until("one has moved", || deploy.view().moves.iter().any(|m| m.state == MoveState::Moved))
        .await;
    gate.close();
    // The old one is not told: whatever it does beside, both lead to the same.
    let agent = another(&world).await;
    let resumed = agent.deploys.get(&process(), &deploy.view().id).unwrap();
    let view = over(&resumed).await;
    assert_eq!(view.state, DeployState::Succeeded, "{view:?}");
    assert!(view.moves.iter().all(|one| one.state == MoveState::Moved), "{view:?}");
    assert_eq!(agent.releases.current(&process()).unwrap().name, release("v2"));
}

#[tokio::test]
async fn a_new_agent_leads_a_canary_on_from_its_step_and_knows_what_is_on_trial() {
    let world = world(APP, &["app:v1"]).await;
    let deploy = world.agent.deploy(canary("v2", Duration::from_secs(600))).await.unwrap();
    until("its first step is watched", || !deploy.view().steps.is_empty()).await;
    let id = deploy.view().id;
    let agent = another(&world).await;
    let resumed = agent.deploys.get(&process(), &id).unwrap();
    assert_eq!((resumed.view().state, resumed.view().steps.len()), (DeployState::Running, 1));
    assert!(agent.deploy(now("v3", 1)).await.is_err(), "it was forgotten");
    agent.abort_deploy(&process(), &id, "uid 0").await.unwrap();
    assert_eq!(over(&resumed).await.state, DeployState::Aborted);
    assert_eq!(agent.domains.weight(&name("app:v2")), Some(0));
    let fresh = agent.deploy(order("v3", Strategy::InPlace)).await.unwrap();
    assert_eq!(over(&fresh).await.state, DeployState::Unproven);
    let agent = another(&world).await;
    let again = agent.deploys.get(&process(), &fresh.view().id).unwrap();
    assert_eq!(again.view().state, DeployState::Unproven);
    assert!(agent.deploys.is_tried(&process(), &release("v3")), "the trial was forgotten");
}

#[tokio::test]
async fn a_helper_that_is_away_is_not_held_against_a_release() {
    let world = world(APP, &["app:a"]).await;
    let deploy = world.agent.deploy(order("v2", Strategy::InPlace)).await.unwrap();
    assert_eq!(over(&deploy).await.state, DeployState::Unproven);
    world.host.fail("load", Some(HostError::Unreachable("gone".into())));
    assert!(world.request("app:a").await.is_err());
    assert_eq!(current(&world), "v2");
    world.host.fail("load", None);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(2)).await;
    tokio::time::resume();
    drop(world.request("app:a").await.unwrap());
    assert_eq!(current(&world), "v2");
}
