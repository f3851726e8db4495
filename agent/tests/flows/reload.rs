//! A new config: what runs goes on, what starts is new, what left can come back.

use tenement_agent::flows::host::HostError;
use tenement_agent::flows::management::{ManageError, Management as _};
use tenement_agent::flows::{Lease, Phase, Served};
use tenement_agent::routes::Route;
use tenement_agent::store::{GaveUp, Origin};
use tenement_wire::InstanceName;

use super::poll::until;
use super::world::{MODES, World};

const FD: &str = "[process.fd]\ncommand = \"/app\"\n";

fn routed(world: &World, host: &str) -> bool {
    matches!(world.agent.lookup(host), Route::Instance(_))
}

#[tokio::test]
async fn a_changed_definition_is_taken_at_the_next_wake_and_not_before() {
    let world = World::with(FD, &["fd:1"]).await;
    drop(world.request("fd:1").await.unwrap());
    world.write("[process.fd]\ncommand = \"/app --new\"\n");
    world.manager.reload().await.unwrap();
    let instance = world.get("fd:1");
    assert_eq!(world.request("fd:1").await.unwrap().1, Served::Hot);
    assert_eq!(world.host.count("load"), 1, "what runs was touched");
    assert!(instance.staleness() > 0);
    world.agent.put_to_sleep(&instance).await.unwrap();
    drop(world.request("fd:1").await.unwrap());
    assert_eq!((world.host.count("load"), instance.staleness()), (2, 0));
}

#[tokio::test]
async fn what_runs_is_reached_at_its_old_address_until_it_is_started_anew() {
    let world = World::with(MODES, &["sock:1"]).await;
    drop(world.request("sock:1").await.unwrap());
    let instance = world.get("sock:1");
    let old = instance.target();
    world.write("[process.sock]\ncommand = \"/app {port}\"\n");
    world.manager.reload().await.unwrap();
    assert_eq!(instance.target(), old);
    assert_eq!(world.request("sock:1").await.unwrap().1, Served::Hot);

    world.manager.stop(&instance.name).await.unwrap();
    world.host.unload_by_hand(&instance.name).await;
    assert_eq!(world.request("sock:1").await.unwrap().1, Served::Cold);
    assert_ne!(instance.target(), old, "the new config never came into force");
}

#[tokio::test]
async fn a_change_while_units_are_loaded_leaves_them_stale() {
    let world = World::with(FD, &["fd:1"]).await;
    let gate = world.host.hold("load");
    let (agent, instance) = (world.agent.clone(), world.get("fd:1"));
    let loading = tokio::spawn({
        let instance = instance.clone();
        async move { agent.preload(vec![instance]).await }
    });
    until("it is being loaded", || world.host.count("load") == 1).await;
    instance.mark_stale();
    gate.close();
    loading.await.unwrap();
    assert!(instance.staleness() > 0, "the change was lost");
}

#[tokio::test]
async fn a_removed_process_keeps_its_instances_and_gets_them_back_with_their_leases() {
    let world = World::with(MODES, &["fd:1", "sock:1"]).await;
    let (lease, _) = world.request("fd:1").await.unwrap();
    let uuid = world.get("fd:1").uuid;
    world.write("[process.other]\ncommand = \"/app\"\n");
    world.manager.reload().await.unwrap();
    assert!(!routed(&world, "1.fd.test"));
    let listed = world.manager.list().await.unwrap();
    assert_eq!(listed.len(), 2);
    assert!(listed[0].failure.as_deref().unwrap().contains("not in the config"));
    assert_eq!(world.host.truth(&"fd:1".parse().unwrap()).service as u8, 3, "it was stopped");

    world.write(MODES);
    world.manager.reload().await.unwrap();
    let back = world.get("fd:1");
    assert_eq!((back.uuid, back.gate.leases()), (uuid, 1), "the open request is forgotten");
    assert!(!world.agent.put_to_sleep(&back).await.unwrap(), "stopped under an open request");
    assert!(routed(&world, "1.fd.test"));
    drop(lease);
    assert_eq!(world.request("fd:1").await.unwrap().1, Served::Hot);
    assert_eq!(world.manager.list().await.unwrap().len(), 2);
}

#[tokio::test]
async fn one_that_ended_while_its_process_was_away_is_known_to_sleep() {
    let world = World::with(MODES, &["fd:1"]).await;
    drop(world.request("fd:1").await.unwrap());
    let instance = world.get("fd:1");
    world.write("[process.other]\ncommand = \"/app\"\n");
    world.manager.reload().await.unwrap();
    world.host.unload_by_hand(&instance.name).await;
    world.write(MODES);
    world.manager.reload().await.unwrap();
    assert_ne!(world.get("fd:1").phase(), Phase::Running);
    assert_eq!(world.request("fd:1").await.unwrap().1, Served::Cold);
}

#[tokio::test]
async fn a_bad_config_changes_nothing_and_is_shown() {
    let world = World::with(FD, &["fd:1"]).await;
    world.write("[process.fd]\nnonsense = 1\n");
    let error = world.manager.reload().await.unwrap_err();
    assert!(matches!(error, ManageError::ConfigRejected(_)), "{error}");
    assert!(!world.manager.config().await.unwrap().rejected.is_empty());
    assert_eq!(world.request("fd:1").await.unwrap().1, Served::Cold);
    world.write(FD);
    assert!(world.manager.reload().await.unwrap().rejected.is_empty());
}

#[tokio::test]
async fn reloads_at_the_same_time_list_each_orphan_once() {
    let world = World::with(MODES, &["fd:1", "sock:1", "port:1"]).await;
    world.write("[process.other]\ncommand = \"/app\"\n");
    let reloads = (0..8).map(|_| world.manager.reload());
    for answer in futures_util::future::join_all(reloads).await {
        answer.unwrap();
    }
    assert_eq!(world.manager.list().await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_config_names_instances_that_a_reload_registers() {
    let world = World::with(FD, &[]).await;
    world.write("[process.fd]\ncommand = \"/app\"\n[instances]\nfd = [\"a\", \"b\"]\n");
    world.manager.reload().await.unwrap();
    let asleep = world.get("fd:a");
    until("it is loaded", || asleep.phase() == Phase::Asleep).await;
    assert!(Lease::take(&asleep).is_some() || asleep.gate.is_closed());
    let error = world.manager.remove(&asleep.name, false).await.unwrap_err();
    assert!(matches!(error, ManageError::Conflict { .. }), "{error}");
}

#[tokio::test]
async fn an_instance_that_had_failed_is_failed_still_when_its_process_comes_back() {
    let world = World::new("", FD).await;
    let range = world.agent.config.load().settings.port_range;
    let name: InstanceName = "gone:1".parse().unwrap();
    let one = world.agent.store.register(name.clone(), Origin::Api, range).await.unwrap();
    let gave_up = GaveUp { reason: "it crashed too often".into(), at_ms: 1 };
    world.agent.store.set_failed(name.clone(), Some(gave_up.clone())).await.unwrap();
    // As at the start of an agent whose config lacks the process.
    world.agent.admit([one]);
    world.agent.recall_failed().await.unwrap();
    world.write(&format!("{FD}[process.gone]\ncommand = \"/app\"\n"));
    world.manager.reload().await.unwrap();
    assert_eq!(world.get("gone:1").care.failed(), Some(gave_up));
    let refused = world.request("gone:1").await.unwrap_err();
    assert!(refused.to_string().contains("it crashed too often"), "{refused}");
    world.manager.reset(&name).await.unwrap();
    drop(world.request("gone:1").await.unwrap());
}

#[tokio::test]
async fn units_that_are_loaded_in_an_older_revision_stay_stale() {
    let world = World::with(FD, &["fd:1"]).await;
    let instance = world.get("fd:1");
    instance.mark_stale();
    world.host.fail("refit", Some(HostError::Failed("it is up in an older one".into())));
    world.agent.preload(vec![instance.clone()]).await;
    assert!(instance.staleness() > 0, "the older revision was taken for the new one");
    world.host.fail("refit", None);
    world.agent.preload(vec![instance.clone()]).await;
    assert_eq!(instance.staleness(), 0);
}
