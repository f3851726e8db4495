//! Waking: one load and one start for all who ask, and none is forgotten.

use std::time::Duration;

use tenement_agent::flows::host::HostError;
use tenement_agent::flows::{Phase, Served, WakeError};
use tokio::task::JoinSet;

use super::fake::App;
use super::pair::Command;
use super::poll::until;
use super::world::{MODES, World, request};

const ONE_OF_EACH: [&str; 4] = ["fd:1", "sock:1", "port:1", "own:1"];

#[tokio::test]
async fn two_hundred_first_requests_cause_one_load_and_one_start_in_each_mode() {
    for name in ONE_OF_EACH {
        let world = World::with(MODES, &[name]).await;
        world.host.runs(App::Serves(Duration::from_millis(20)));
        let mut requests = JoinSet::new();
        for _ in 0..200 {
            let (agent, instance) = (world.agent.clone(), world.get(name));
            requests.spawn(async move { request(&agent, &instance).await });
        }
        for answer in requests.join_all().await {
            assert!(answer.is_ok(), "{name}: {answer:?}");
        }
        assert_eq!(world.host.count("load"), 1, "{name}");
        assert_eq!(world.host.count("up"), 1, "{name}");
        assert_eq!(world.get(name).wakes.load(std::sync::atomic::Ordering::Relaxed), 1, "{name}");
        assert_eq!(world.request(name).await.unwrap().1, Served::Hot, "{name}");
    }
}

#[tokio::test]
async fn a_wake_survives_the_clients_that_asked_for_it() {
    for name in ["sock:1", "port:1"] {
        let world = World::with(MODES, &[name]).await;
        let gate = world.host.hold("load");
        let (agent, instance) = (world.agent.clone(), world.get(name));
        let client = tokio::spawn(async move { request(&agent, &instance).await });
        until("the wake is under way", || world.host.count("load") == 1).await;
        client.abort();
        assert!(client.await.unwrap_err().is_cancelled());
        gate.close();
        let instance = world.get(name);
        until("it runs", || instance.phase() == Phase::Running).await;
        assert_eq!((world.host.count("load"), world.host.count("up")), (1, 1));
    }
}

#[tokio::test]
async fn a_request_during_a_stop_waits_and_is_served_by_the_next_start() {
    for name in ONE_OF_EACH {
        let world = World::with(MODES, &[name]).await;
        drop(world.request(name).await.unwrap());
        let gate = world.host.hold("stop");
        let (agent, instance) = (world.agent.clone(), world.get(name));
        let stop = tokio::spawn({
            let (agent, instance) = (agent.clone(), instance.clone());
            async move { agent.stop(&instance).await }
        });
        until("the stop is under way", || world.host.count("stop") == 1).await;
        let waiting = tokio::spawn({
            let instance = instance.clone();
            async move { request(&agent, &instance).await }
        });
        tokio::task::yield_now().await;
        assert_eq!(instance.gate.leases(), 0, "a lease was given during a stop");
        gate.close();
        stop.await.unwrap().unwrap();
        let (_, served) = waiting.await.unwrap().unwrap();
        assert_eq!((served, world.host.count("up")), (Served::Cold, 2), "{name}");
    }
}

#[tokio::test]
async fn a_stop_that_is_given_up_lets_requests_in_again() {
    let world = World::with(MODES, &["fd:1"]).await;
    let (lease, _) = world.request("fd:1").await.unwrap();
    let (agent, instance) = (world.agent.clone(), world.get("fd:1"));
    let stop = tokio::spawn(async move { agent.stop(&instance).await });
    let instance = world.get("fd:1");
    until("the gate is closed", || instance.gate.is_closed()).await;
    stop.abort();
    let _ = stop.await;
    assert!(!instance.gate.is_closed(), "the gate stays closed for ever");
    drop(lease);
    assert_eq!(world.request("fd:1").await.unwrap().1, Served::Hot);
}

#[tokio::test]
async fn a_failed_load_backs_off_longer_each_time_and_then_works() {
    let world = World::with(MODES, &["fd:1"]).await;
    world.host.fail("load", Some(HostError::Failed("no such user".into())));
    tokio::time::pause();
    let mut loads = 0;
    for back_off in [1, 2, 4, 8, 16, 32, 60, 60] {
        loads += 1;
        let first = world.request("fd:1").await.unwrap_err();
        let WakeError::Failed { reason, retry_after, .. } = first else { panic!("{first}") };
        assert_eq!((reason.as_str(), retry_after), ("no such user", Duration::from_secs(back_off)));
        // Until then nobody is asked.
        assert!(world.request("fd:1").await.is_err());
        assert_eq!(world.host.count("load"), loads);
        tokio::time::advance(retry_after).await;
    }
    tokio::time::resume();
    world.host.fail("load", None);
    assert_eq!(world.request("fd:1").await.unwrap().1, Served::Cold);
    assert!(world.get("fd:1").failure().is_none(), "an answer did not clear the failure");
}

#[tokio::test]
async fn an_app_that_never_listens_times_out_at_its_startup_timeout() {
    let text = "[process.sock]\ncommand = \"/app {socket}\"\nstartup_timeout = \"200ms\"\n";
    let world = World::with(text, &["sock:1"]).await;
    world.host.runs(App::Mute);
    let started = tokio::time::Instant::now();
    let error = world.request("sock:1").await.unwrap_err();
    assert!(
        matches!(error, WakeError::TimedOut { after, .. } if after.as_millis() == 200),
        "{error}"
    );
    assert!(started.elapsed() >= Duration::from_millis(200));
    assert_eq!(world.get("sock:1").phase(), Phase::Starting);
    assert!(world.get("sock:1").failure().unwrap().reason.contains("listen"));
}

#[tokio::test]
async fn a_service_that_ended_unheard_while_it_was_awaited_is_started_again() {
    let world = World::with(MODES, &["sock:1"]).await;
    world.host.runs(App::Mute);
    let (agent, instance) = (world.agent.clone(), world.get("sock:1"));
    let waiting = tokio::spawn(async move { request(&agent, &instance).await });
    until("it is up", || world.host.count("up") == 1).await;
    world.host.runs(App::Serves(Duration::ZERO));
    world.host.command(&"sock:1".parse().unwrap(), Command::Stop).await;
    assert_eq!(waiting.await.unwrap().unwrap().1, Served::Cold);
    assert_eq!(world.host.count("up"), 2);
}

#[tokio::test]
async fn a_start_by_hand_is_found_out_and_wakes_nothing_when_it_ends() {
    for name in ["sock:1", "port:1", "own:1", "fd:1"] {
        let world = World::with(MODES, &[name]).await;
        let instance = world.get(name);
        world.agent.preload(vec![instance.clone()]).await;
        world.host.runs(App::Serves(Duration::from_millis(5)));
        world.host.command(&instance.name, Command::Start).await;
        until("it is seen to run", || instance.phase() == Phase::Running).await;
        assert_eq!(world.request(name).await.unwrap().1, Served::Hot, "{name}");
        world.host.runs(App::Mute);
        world.host.command(&instance.name, Command::Stop).await;
        world.host.command(&instance.name, Command::Start).await;
        world.host.command(&instance.name, Command::Stop).await;
        until("it is seen asleep", || instance.phase() == Phase::Asleep).await;
        assert_eq!(world.host.count("up"), 2, "{name} was started by nobody");
        assert!(instance.failure().is_none());
    }
}

#[tokio::test]
async fn a_broken_connection_has_systemd_asked_again() {
    for name in ONE_OF_EACH {
        let world = World::with(MODES, &[name]).await;
        drop(world.request(name).await.unwrap());
        world.host.lag();
        world.host.command(&world.get(name).name, Command::Stop).await;
        world.host.lose();
        let instance = world.get(name);
        assert_eq!(instance.phase(), Phase::Running, "{name}: the stop was not to be heard of");
        let before = world.host.count("units");
        let (lease, _) = world.request(name).await.unwrap();
        drop(lease);
        // With a socket of systemd's, the connection itself has woken it.
        assert!(name == "fd:1" || world.host.count("units") > before, "{name}");
        assert_eq!(world.host.count("up"), 2, "{name}");
    }
}

#[tokio::test]
async fn a_wake_that_panics_is_not_joined_for_ever() {
    let world = World::with(MODES, &["sock:1"]).await;
    world.host.panic("load");
    let error = world.request("sock:1").await.unwrap_err();
    assert!(matches!(error, WakeError::Failed { .. }), "{error}");
    assert_eq!(world.request("sock:1").await.unwrap().1, Served::Cold);
}

#[tokio::test]
async fn a_preload_or_idle_stop_that_panics_leaves_the_gate_open_and_the_watch_alive() {
    let text = "[process.fd]\ncommand = \"/app\"\nidle_timeout = \"20ms\"\n";
    let world = World::with(text, &["fd:1"]).await;
    let instance = world.get("fd:1");
    world.host.panic("load");
    let (agent, one) = (world.agent.clone(), instance.clone());
    assert!(tokio::spawn(async move { agent.preload(vec![one]).await }).await.is_err());
    assert!(!instance.gate.is_closed(), "the gate stays closed for ever");
    world.host.panic("stop");
    drop(world.request("fd:1").await.unwrap());
    until("the idle stop has panicked", || world.host.count("stop") == 1).await;
    until("the gate is open again", || !instance.gate.is_closed()).await;
    drop(world.request("fd:1").await.unwrap());
    until("it is watched again", || world.host.count("stop") > 1).await;
}
