//! Falling asleep: after the idle time, never in use, and always in the end.

use std::time::Duration;

use tenement_agent::flows::host::HostError;
use tenement_agent::flows::management::Management as _;
use tenement_agent::flows::{Lease, Phase};

use super::fake::App;
use super::pair::Command;
use super::poll::until;
use super::world::{MODES, World};

const FIVE: &str = "[process.fd]\ncommand = \"/app\"\nidle_timeout = \"5s\"\n";

async fn awake(text: &str) -> World {
    let world = World::with(text, &["fd:1"]).await;
    world.manager.wake(&"fd:1".parse().unwrap()).await.unwrap();
    assert_eq!(world.get("fd:1").phase(), Phase::Running);
    tokio::time::pause();
    world
}

/// Lets `seconds` pass, and everybody have a look at the clock.
async fn pass(seconds: u64) {
    for _ in 0..seconds * 10 {
        tokio::time::advance(Duration::from_millis(100)).await;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn an_open_lease_keeps_awake_and_its_end_starts_the_idle_time() {
    let world = awake(FIVE).await;
    let instance = world.get("fd:1");
    let lease = Lease::take(&instance).unwrap();
    pass(60).await;
    assert_eq!(instance.phase(), Phase::Running, "it was stopped under a lease");
    drop(lease);
    pass(4).await;
    assert_eq!(instance.phase(), Phase::Running, "it was stopped too soon");
    pass(2).await;
    assert_eq!(instance.phase(), Phase::Asleep);
    assert_eq!(world.host.count("stop"), 1);
}

#[tokio::test]
async fn one_started_by_hand_long_after_its_last_use_gets_its_whole_idle_time() {
    let world = awake(FIVE).await;
    let instance = world.get("fd:1");
    pass(6).await;
    assert_eq!(instance.phase(), Phase::Asleep);
    pass(600).await;
    world.host.command(&instance.name, Command::Start).await;
    pass(4).await;
    assert_eq!(instance.phase(), Phase::Running);
    pass(2).await;
    assert_eq!(instance.phase(), Phase::Asleep);
}

#[tokio::test]
async fn zero_means_never() {
    let world = awake("[process.fd]\ncommand = \"/app\"\nidle_timeout = \"0\"\n").await;
    tokio::time::advance(Duration::from_secs(1_000_000)).await;
    pass(1).await;
    assert_eq!(world.get("fd:1").phase(), Phase::Running);
}

#[tokio::test]
async fn a_stop_that_failed_is_tried_again_after_another_idle_time() {
    let world = awake(FIVE).await;
    let instance = world.get("fd:1");
    world.host.fail("stop", Some(HostError::Unreachable("the helper is away".into())));
    pass(6).await;
    assert_eq!((instance.phase(), world.host.count("stop")), (Phase::Running, 1));
    assert!(!instance.gate.is_closed());
    pass(3).await;
    assert_eq!(world.host.count("stop"), 1, "it was hammered");
    world.host.fail("stop", None);
    pass(4).await;
    assert_eq!(instance.phase(), Phase::Asleep);
}

#[tokio::test]
async fn a_failed_stop_leaves_an_app_with_its_own_listener_running_and_watched() {
    let text = "[process.sock]\ncommand = \"/app {socket}\"\nidle_timeout = \"50ms\"\n";
    let world = World::with(text, &["sock:1"]).await;
    world.host.fail("stop", Some(HostError::Unreachable("the helper is away".into())));
    drop(world.request("sock:1").await.unwrap());
    let instance = world.get("sock:1");
    until("a stop has failed", || world.host.count("stop") > 0).await;
    until("it is seen to run", || instance.phase() == Phase::Running).await;
    world.host.fail("stop", None);
    until("it sleeps", || instance.phase() == Phase::Asleep).await;
}

#[tokio::test]
async fn an_app_that_hangs_in_its_start_is_stopped_when_nobody_waits_for_it() {
    let text = "[process.sock]\ncommand = \"/app {socket}\"\nidle_timeout = \"50ms\"\n\
                startup_timeout = \"100ms\"\n";
    let world = World::with(text, &["sock:1"]).await;
    world.host.runs(App::Mute);
    assert!(world.request("sock:1").await.is_err());
    let instance = world.get("sock:1");
    until("it is stopped", || instance.phase() == Phase::Asleep).await;
}

#[tokio::test]
async fn a_watch_during_a_forced_stop_waits_for_its_end() {
    let world = awake("[process.fd]\ncommand = \"/app\"\nidle_timeout = \"10ms\"\n").await;
    let instance = world.get("fd:1");
    let gate = world.host.hold("stop");
    let (agent, one) = (world.agent.clone(), instance.clone());
    let stop = tokio::spawn(async move { agent.stop(&one).await });
    // On one thread: a watch that looked again and again would let nobody else run.
    pass(2).await;
    gate.close();
    stop.await.unwrap().unwrap();
    pass(1).await;
    assert_eq!((instance.phase(), world.host.count("stop")), (Phase::Asleep, 1));
}

#[tokio::test]
async fn a_new_idle_timeout_counts_for_what_runs_already() {
    let world = awake("[process.fd]\ncommand = \"/app\"\nidle_timeout = \"0\"\n").await;
    let instance = world.get("fd:1");
    tokio::time::resume();
    world.write("[process.fd]\ncommand = \"/app\"\nidle_timeout = \"20ms\"\n");
    world.manager.reload().await.unwrap();
    until("it sleeps", || instance.phase() == Phase::Asleep).await;
}

#[tokio::test]
async fn room_is_made_by_unloading_the_longest_idle_and_never_one_in_use() {
    let world = World::new("loaded_max = 3", MODES).await;
    let mut leases = Vec::new();
    for id in 1..=6 {
        let name = format!("fd:{id}");
        world.register(&name).await;
        let (lease, _) = world.request(&name).await.unwrap();
        if id == 1 {
            // The one used longest ago, and in use.
            leases.push(lease);
        } else {
            drop(lease);
            assert!(world.agent.put_to_sleep(&world.get(&name)).await.unwrap());
        }
        tokio::time::timeout(Duration::from_millis(3), std::future::pending::<()>()).await.ok();
    }
    until("there is room", || world.host.loaded() <= 3).await;
    assert_eq!(world.get("fd:1").phase(), Phase::Running);
    assert_eq!(world.get("fd:2").phase(), Phase::Dormant);
    assert_eq!(world.get("fd:3").phase(), Phase::Dormant);
    assert_eq!(world.get("fd:6").phase(), Phase::Asleep, "the one used last was unloaded");
}
