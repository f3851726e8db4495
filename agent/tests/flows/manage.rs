//! The verbs of `ten` where they meet requests, each other and failures.

use tenement_agent::flows::domains::Wish;
use tenement_agent::flows::host::HostError;
use tenement_agent::flows::management::{ManageError, Management as _, Spawn};
use tenement_agent::flows::{Phase, Served, Tenants as _, WakeError};
use tenement_agent::routes::Route;
use tenement_agent::token::Reach;

use super::fake::App;
use super::poll::until;
use super::world::{MODES, World, request};

fn spawn(ids: &[&str], start: bool) -> Spawn {
    let ids = ids.iter().map(|id| id.parse().unwrap()).collect();
    Spawn { process: "fd".parse().unwrap(), ids, start }
}

#[tokio::test]
async fn requests_during_a_removal_are_told_that_it_is_gone() {
    let world = World::with(MODES, &["fd:1"]).await;
    drop(world.request("fd:1").await.unwrap());
    let instance = world.get("fd:1");
    let gate = world.host.hold("unload");
    let (manager, name) = (world.manager.clone(), instance.name.clone());
    let removal = tokio::spawn(async move { manager.remove(&name, false).await });
    until("it is being removed", || world.host.count("unload") == 1).await;
    let error = request(&world.agent, &instance).await.unwrap_err();
    assert!(matches!(error, WakeError::Gone { .. }), "{error}");
    let error = world.manager.remove(&instance.name, false).await.unwrap_err();
    assert!(matches!(error, ManageError::Conflict { .. }), "{error}");
    gate.close();
    removal.await.unwrap().unwrap();
    assert!(matches!(request(&world.agent, &instance).await, Err(WakeError::Gone { .. })));
    assert!(matches!(world.agent.lookup("1.fd.test"), Route::UnknownInstance));
    assert_eq!((world.host.loaded(), world.agent.store.all().await.unwrap().len()), (0, 0));
}

#[tokio::test]
async fn a_purge_that_failed_leaves_it_registered_and_reachable() {
    let world = World::with(MODES, &["fd:1"]).await;
    world.host.fail("purge", Some(HostError::Failed("a mount point is in there".into())));
    let name = "fd:1".parse().unwrap();
    assert!(world.manager.remove(&name, true).await.is_err());
    assert_eq!(world.agent.store.all().await.unwrap().len(), 1);
    assert_eq!(world.request("fd:1").await.unwrap().1, Served::Cold);
    world.host.fail("purge", None);
    assert!(world.manager.remove(&name, true).await.unwrap().purged);
}

#[tokio::test]
async fn a_removal_that_is_given_up_leaves_it_reachable() {
    let world = World::with(MODES, &["fd:1"]).await;
    let gate = world.host.hold("unload");
    let (manager, name) = (world.manager.clone(), "fd:1".parse().unwrap());
    let removal = tokio::spawn(async move { manager.remove(&name, false).await });
    until("it is being removed", || world.host.count("unload") == 1).await;
    removal.abort();
    let _ = removal.await;
    gate.close();
    world.request("fd:1").await.unwrap();
}

#[tokio::test]
async fn explicit_ids_that_exist_change_nothing_and_absent_ones_mean_one_to_n() {
    let text = MODES.replacen("command", "instances = 3\ncommand", 1);
    let world = World::with(&text, &["fd:2"]).await;
    let error = world.manager.spawn(spawn(&["1", "2"], false)).await.unwrap_err();
    assert!(matches!(&error, ManageError::AlreadyExists { names } if names.len() == 1), "{error}");
    assert_eq!(world.agent.all().len(), 1);
    let views = world.manager.spawn(spawn(&[], true)).await.unwrap();
    let names: Vec<_> = views.iter().map(|view| view.name.to_string()).collect();
    assert_eq!(names, ["fd:1", "fd:2", "fd:3"]);
    assert_eq!(world.host.count("up"), 3);
}

#[tokio::test]
async fn of_two_that_spawn_the_same_id_at_once_one_learns_that_it_exists() {
    let world = World::with(MODES, &[]).await;
    let spawns = (0..10).map(|_| world.manager.spawn(spawn(&["x"], false)));
    let answers = futures_util::future::join_all(spawns).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
}

#[tokio::test]
async fn requests_that_spawn_the_same_name_at_once_share_one_instance() {
    let text = "[process.fd]\ncommand = \"/app\"\nspawn_on_request = true\n";
    let world = World::with(text, &[]).await;
    let name = "fd:new".parse().unwrap();
    let spawns = (0..20).map(|_| world.agent.spawn(&name));
    let instances = futures_util::future::join_all(spawns).await;
    let uuid = world.get("fd:new").uuid;
    assert!(instances.into_iter().all(|one| one.unwrap().uuid == uuid));
    assert_eq!(world.agent.store.all().await.unwrap().len(), 1);
}

#[tokio::test]
async fn strangers_cannot_register_names_that_can_never_work() {
    let text = "[process.fd]\ncommand = \"/app\"\nspawn_on_request = true\n";
    let world = World::with(text, &[]).await;
    // Its socket's path would be too long.
    let name = format!("{}:{}", "fd", "x".repeat(63)).parse().unwrap();
    let deep = std::path::Path::new("/run").join("d".repeat(60));
    let agent = tenement_agent::flows::agent::Agent::new(
        super::fake::FakeHost::default(),
        world.agent.store.clone(),
        (*world.agent.config.load_full()).clone(),
        deep,
    );
    assert!(matches!(agent.spawn(&name).await, Err(WakeError::Gone { .. })));
    assert!(world.agent.store.all().await.unwrap().is_empty());
}

#[tokio::test]
async fn no_free_port_is_an_error_of_the_one_who_spawns_and_of_nobody_else() {
    let world = World::with(MODES, &["fd:1"]).await;
    let ids: Vec<String> = (0..16).map(|n| format!("n{n}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    assert!(world.manager.spawn(spawn(&ids, false)).await.is_err(), "16 ports, one taken");
    assert_eq!(world.agent.all().len(), 1);
    assert_eq!(world.request("fd:1").await.unwrap().1, Served::Cold);
}

#[tokio::test]
async fn sleep_refuses_what_is_in_use_and_stop_does_not() {
    let text = MODES.replace("command", "stop_timeout = \"20ms\"\ncommand");
    let world = World::with(&text, &["sock:1"]).await;
    let (lease, _) = world.request("sock:1").await.unwrap();
    let name = "sock:1".parse().unwrap();
    let error = world.manager.sleep(&name, false).await.unwrap_err();
    assert!(matches!(error, ManageError::InUse { .. }), "{error}");
    world.manager.stop(&name).await.unwrap();
    assert_eq!(world.get("sock:1").phase(), Phase::Asleep);
    drop(lease);
    assert_eq!(world.request("sock:1").await.unwrap().1, Served::Cold);
}

#[tokio::test]
async fn a_stop_after_one_that_failed_is_no_success() {
    let world = World::with(MODES, &["sock:1"]).await;
    drop(world.request("sock:1").await.unwrap());
    let name = "sock:1".parse().unwrap();
    world.host.fail("stop", Some(HostError::Failed("no".into())));
    let (one, two) = tokio::join!(world.manager.stop(&name), world.manager.stop(&name));
    assert!(matches!(one, Err(ManageError::StopFailed { .. })), "{one:?}");
    assert!(one.is_err() && two.is_err());
    assert_eq!(world.request("sock:1").await.unwrap().1, Served::Hot);
}

#[tokio::test]
async fn an_operators_wake_does_not_wait_for_the_back_off() {
    let world = World::with(MODES, &["sock:1"]).await;
    world.host.runs(App::Crashes);
    assert!(world.request("sock:1").await.is_err());
    until("it is unloaded", || world.host.loaded() == 0).await;
    world.host.runs(App::Serves(std::time::Duration::ZERO));
    assert!(world.request("sock:1").await.is_err(), "the back-off is not over");
    let view = world.manager.wake(&"sock:1".parse().unwrap()).await.unwrap();
    assert!(view.failure.is_none());
    assert_eq!(world.request("sock:1").await.unwrap().1, Served::Hot);
}

#[tokio::test]
async fn custom_domains_end_with_a_purge_and_stay_with_data_that_is_kept() {
    let world = World::with(MODES, &["fd:1"]).await;
    let wish = || Wish {
        name: "shop.customer.com".parse().unwrap(),
        target: "fd:1".parse().unwrap(),
        by: "uid 0".into(),
        reach: Reach::Host,
    };
    let name = "fd:1".parse().unwrap();
    world.agent.domains.add(wish()).await.unwrap();
    let kept = world.manager.remove(&name, false).await.unwrap();
    assert_eq!(kept.domains, ["shop.customer.com"]);
    assert_eq!(world.agent.store.routing().await.unwrap().domains.len(), 1);
    world.register("fd:1").await;
    let purged = world.manager.remove(&name, true).await.unwrap();
    assert_eq!(purged.domains, ["shop.customer.com"]);
    assert_eq!(world.agent.store.routing().await.unwrap().domains.len(), 0);
    world.register("fd:1").await;
    let shown = world.agent.domains.show(&wish().name, &Reach::Host);
    assert!(shown.is_err(), "a namesake has none of them");
}
