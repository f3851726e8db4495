//! Health: when a start is finished, what checks may not do, and when an instance is given up.

use std::time::Duration;

use tenement_agent::flows::health::Health;
use tenement_agent::flows::{Management as _, Phase, WakeError};
use tenement_wire::dto::{HealthState, State};

use super::fake::App;
use super::poll::until;
use super::world::World;

const RULES: &str = "health = \"/up\"\nhealth_interval = 1\nunhealthy_threshold = 2\n\
    max_restarts = 1\nstartup_timeout = 1\nstop_timeout = \"100ms\"\n";

fn processes() -> String {
    ["fd", "sock {socket}", "port {port}"]
        .map(|text| {
            let name = text.split(' ').next().unwrap();
            format!("[process.{name}]\ncommand = \"/{text}\"\n{RULES}")
        })
        .concat()
}

#[tokio::test]
async fn a_start_is_finished_only_when_healthy_in_every_listen_mode() {
    for name in ["fd:1", "sock:1", "port:1"] {
        let world = World::with(&processes(), &[name]).await;
        world.host.says(503);
        let (agent, instance) = (world.agent.clone(), world.get(name));
        let request = tokio::spawn(async move { agent.ensure_awake(&instance).await.map(drop) });
        until("it was asked twice", || world.host.count("check") >= 2).await;
        assert!(!request.is_finished(), "{name}: served while unwell");
        assert_eq!(world.get(name).phase(), Phase::Starting, "{name}");
        world.host.says(200);
        request.await.unwrap().unwrap();
        assert_eq!(world.get(name).care.health(), Health::Healthy, "{name}");
        let view = world.manager.show(&name.parse().unwrap()).await.unwrap();
        assert_eq!((view.state, view.health), (State::Running, Some(HealthState::Healthy)));
    }
}

#[tokio::test]
async fn a_start_that_never_gets_healthy_times_out_with_the_last_answer_and_fails_in_the_end() {
    let world = World::with(&processes(), &["fd:1"]).await;
    world.host.says(503);
    let error = world.request("fd:1").await.unwrap_err();
    assert!(matches!(error, WakeError::TimedOut { .. }), "{error}");
    assert!(error.to_string().contains("answered with 503"), "{error}");
    let instance = world.get("fd:1");
    until("it is given up", || instance.care.has_failed()).await;
    until("it is unloaded", || world.host.loaded() == 0).await;
}

#[tokio::test]
async fn checks_neither_wake_an_instance_nor_keep_it_awake() {
    let text = processes().replace("max_restarts", "idle_timeout = 2\nmax_restarts");
    let world = World::with(&text, &["fd:1"]).await;
    drop(world.request("fd:1").await.unwrap());
    let instance = world.get("fd:1");
    until("it was checked beside its start", || world.host.count("check") >= 2).await;
    until("it sleeps", || instance.phase() == Phase::Asleep).await;
    let (ups, checks) = (world.host.count("up"), world.host.count("check"));
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(60)).await;
    tokio::time::resume();
    assert_eq!((world.host.count("up"), world.host.count("check")), (ups, checks));
    assert_eq!(instance.phase(), Phase::Asleep);
}

#[tokio::test]
async fn an_unhealthy_instance_is_restarted_then_given_up_until_it_is_reset() {
    let world = World::with(&processes(), &["fd:1"]).await;
    drop(world.request("fd:1").await.unwrap());
    let instance = world.get("fd:1");
    world.host.says(500);
    until("it is restarted", || world.host.count("up") == 2).await;
    until("it is given up", || instance.care.has_failed() && world.host.loaded() == 0).await;
    let error = world.request("fd:1").await.unwrap_err();
    assert!(matches!(error, WakeError::GaveUp { .. }), "{error}");
    let name = "fd:1".parse().unwrap();
    let why = world.manager.why(&name).await.unwrap();
    assert_eq!(
        (why.instance.state, why.instance.health),
        (State::Failed, Some(HealthState::Failed))
    );
    assert!(why.reason.contains("500") && why.reason.contains("ten reset fd:1"), "{}", why.reason);
    // The next agent knows it too.
    assert_eq!(world.agent.store.failed().await.unwrap().len(), 1);
    world.host.says(200);
    let view = world.manager.reset(&name).await.unwrap();
    assert_eq!(view.state, State::Asleep);
    assert_eq!(world.agent.store.failed().await.unwrap().len(), 0);
    world.request("fd:1").await.unwrap();
}

#[tokio::test]
async fn crashes_beyond_the_cap_are_final_with_or_without_a_health_check() {
    let text = "[process.fd]\ncommand = \"/app\"\nmax_restarts = 2\n";
    let world = World::with(text, &["fd:1"]).await;
    world.host.runs(App::Crashes);
    assert!(world.request("fd:1").await.is_err());
    let instance = world.get("fd:1");
    until("it is given up", || instance.care.has_failed() && world.host.loaded() == 0).await;
    let starts = world.host.count("up");
    let error = world.request("fd:1").await.unwrap_err();
    assert!(matches!(error, WakeError::GaveUp { .. }), "{error}");
    assert!(error.to_string().contains("it exited with status 3"), "{error}");
    assert_eq!(world.host.count("up"), starts, "it was started again");
    // The cap, and one more that systemd may begin until it is unloaded.
    assert!(starts <= 4, "{starts} starts");
}

#[tokio::test]
async fn one_that_is_reset_while_it_is_given_up_can_be_woken_at_once() {
    let text = processes().replace("100ms", "10s").replace("max_restarts = 1", "max_restarts = 0");
    let world = World::with(&text, &["fd:1"]).await;
    let (lease, _) = world.request("fd:1").await.unwrap();
    let instance = world.get("fd:1");
    world.host.says(500);
    until("its requests get their time to end", || {
        instance.care.has_failed() && instance.gate.is_closed()
    })
    .await;
    world.host.says(200);
    let (manager, name) = (world.manager.clone(), instance.name.clone());
    let wake = tokio::spawn(async move { manager.wake(&name).await });
    until("it has its new chance", || !instance.care.has_failed()).await;
    drop(lease);
    wake.await.unwrap().unwrap();
    until("it runs", || instance.phase() == Phase::Running).await;
    assert_eq!(world.host.count("unload"), 0, "it was unloaded under the operator's start");
}
