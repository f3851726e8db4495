//! Crashes: what is one, and when a start is given up.

use std::time::Duration;

use tenement_agent::flows::fate::Fate;
use tenement_agent::flows::host::Active;
use tenement_agent::flows::management::Management as _;
use tenement_agent::flows::observe::{Report, Unit};
use tenement_agent::flows::{Instance, Phase, WakeError};

use super::fake::App;
use super::pair::Command;
use super::poll::until;
use super::world::{MODES, World, request};

#[tokio::test]
async fn a_crash_loop_is_ended_and_its_requests_learn_the_reason() {
    for name in ["fd:1", "sock:1", "port:1"] {
        let world = World::with(MODES, &[name]).await;
        world.host.runs(App::Crashes);
        let error = world.request(name).await.unwrap_err();
        let WakeError::Failed { reason, retry_after, .. } = error else { panic!("{error}") };
        assert!(reason.contains("it exited with status 3"), "{name}: {reason}");
        assert!(retry_after <= Duration::from_secs(1));
        until("it is unloaded", || world.host.loaded() == 0).await;
        let instance = world.get(name);
        until("that is known", || instance.phase() == Phase::Dormant).await;
        assert_eq!(instance.failure().unwrap().count, 1, "{name}: given up more than once");

        world.host.runs(App::Serves(Duration::ZERO));
        instance.recovered();
        world.request(name).await.unwrap();
    }
}

#[tokio::test]
async fn a_clean_exit_that_answered_nobody_ends_in_a_failure_too() {
    for name in ["fd:1", "sock:1"] {
        let world = World::with(MODES, &[name]).await;
        world.host.runs(App::Exits);
        let error = world.request(name).await.unwrap_err();
        assert!(matches!(error, WakeError::Failed { .. }), "{name}: {error}");
    }
}

#[tokio::test]
async fn with_restart_no_the_first_crash_of_a_wake_is_the_last() {
    let world =
        World::with("[process.fd]\ncommand = \"/app\"\nrestart = \"no\"\n", &["fd:1"]).await;
    world.host.runs(App::Crashes);
    assert!(world.request("fd:1").await.is_err());
    assert!(world.host.count("up") < 3, "it was tried again and again");
}

#[tokio::test]
async fn an_unclean_end_in_our_own_stop_is_no_crash_however_late_it_is_told() {
    for lagging in [false, true] {
        for name in ["fd:1", "sock:1"] {
            let text = MODES.replace("command", "restart = \"no\"\ncommand");
            let world = World::with(&text, &[name]).await;
            world.host.runs(App::DiesBadly);
            drop(world.request(name).await.unwrap());
            let instance = world.get(name);
            for _ in 0..4 {
                if lagging {
                    world.host.lag();
                }
                world.agent.stop(&instance).await.unwrap();
                // A request comes before the last reports of the stop do.
                drop(world.request(name).await.unwrap());
                instance.waking.store(true, std::sync::atomic::Ordering::Relaxed);
                world.host.deliver();
                instance.waking.store(false, std::sync::atomic::Ordering::Relaxed);
            }
            assert!(instance.failure().is_none(), "{name}: {:?}", instance.failure());
            until("it is seen to run", || instance.phase() == Phase::Running).await;
            assert_eq!(world.host.count("unload"), 0);
        }
    }
}

#[tokio::test]
async fn an_end_by_hand_is_no_crash() {
    let world = World::with(MODES, &["fd:1"]).await;
    world.host.runs(App::DiesBadly);
    let instance = world.get("fd:1");
    for _ in 0..5 {
        drop(world.request("fd:1").await.unwrap());
        world.host.command(&instance.name, Command::Stop).await;
        until("it is seen asleep", || instance.phase() == Phase::Asleep).await;
    }
    assert!(instance.failure().is_none());
}

fn service(instance: &Instance, active: Active, auto_restart: bool) -> Report {
    Report { auto_restart, ..Report::of(instance.name.clone(), Unit::Service, active) }
}

#[tokio::test]
async fn a_crash_that_is_told_many_times_counts_once() {
    let world = World::with(MODES, &["fd:1"]).await;
    let instance = world.get("fd:1");
    world.agent.observe(&service(&instance, Active::Active, false));
    // systemd 257: failed-before-auto-restart, auto-restart, auto-restart-queued, each perhaps twice.
    for _ in 0..10 {
        world.agent.observe(&service(&instance, Active::Activating, true));
    }
    world.agent.observe(&service(&instance, Active::Activating, false));
    world.agent.observe(&service(&instance, Active::Active, false));
    tokio::task::yield_now().await;
    assert!(instance.failure().is_none());
    assert_eq!(world.host.count("unload"), 0);
}

#[tokio::test]
async fn a_restart_counts_once_whether_or_not_the_failure_is_told_before_it() {
    for failed_first in [false, true] {
        let world = World::with(MODES, &["fd:1"]).await;
        let instance = world.get("fd:1");
        world.agent.observe(&service(&instance, Active::Active, false));
        if failed_first {
            world.agent.observe(&service(&instance, Active::Failed, false));
        }
        for _ in 0..3 {
            world.agent.observe(&service(&instance, Active::Activating, true));
        }
        world.agent.observe(&service(&instance, Active::Activating, false));
        world.agent.observe(&service(&instance, Active::Active, false));
        let restarts = instance.restarts.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(restarts, 1, "told of the failure first: {failed_first}");
    }
}

#[tokio::test]
async fn a_crash_with_leftover_processes_is_still_one() {
    let world = World::with(MODES, &["fd:1"]).await;
    let instance = world.get("fd:1");
    for _ in 0..3 {
        world.agent.observe(&service(&instance, Active::Active, false));
        world.agent.observe(&service(&instance, Active::Deactivating, false));
        world.agent.observe(&service(&instance, Active::Activating, true));
    }
    until("it is given up", || instance.failure().is_some()).await;
}

#[tokio::test]
async fn the_only_report_of_our_stop_may_be_that_it_failed() {
    let text = "[process.fd]\ncommand = \"/app\"\nrestart = \"no\"\n";
    let world = World::with(text, &["fd:1"]).await;
    drop(world.request("fd:1").await.unwrap());
    let instance = world.get("fd:1");
    world.host.lag();
    world.agent.stop(&instance).await.unwrap();
    world.host.lose();
    // systemd may leave out states that it went through quickly; meanwhile the next request waits.
    let waiting = &instance.waking;
    waiting.store(true, std::sync::atomic::Ordering::Relaxed);
    world.agent.observe(&service(&instance, Active::Failed, false));
    tokio::task::yield_now().await;
    assert!(instance.failure().is_none(), "{:?}", instance.failure());
    // The same after a start is one.
    world.agent.observe(&service(&instance, Active::Active, false));
    world.agent.observe(&service(&instance, Active::Failed, false));
    until("it is given up", || instance.failure().is_some()).await;
}

#[tokio::test]
async fn a_wake_during_the_unload_of_a_crash_loop_waits_and_its_start_is_not_undone() {
    for name in ["fd:1", "sock:1"] {
        let world = World::with(MODES, &[name]).await;
        world.host.runs(App::Crashes);
        let unload = world.host.hold("unload");
        let (agent, instance) = (world.agent.clone(), world.get(name));
        let first = tokio::spawn({
            let instance = instance.clone();
            async move { request(&agent, &instance).await.map(drop) }
        });
        until("it is being given up", || world.host.count("unload") == 1).await;
        first.abort();
        world.host.runs(App::Serves(Duration::ZERO));
        let manager = world.manager.clone();
        let name = instance.name.clone();
        let wake = tokio::spawn(async move { manager.wake(&name).await });
        until("the operator's chance is noted", || instance.failure().is_none()).await;
        let loads = world.host.count("load");
        tokio::task::yield_now().await;
        assert_eq!(world.host.count("load"), loads, "loaded while it was being unloaded");
        unload.close();
        wake.await.unwrap().unwrap();
        assert_eq!((instance.phase(), world.host.loaded()), (Phase::Running, 1));
        assert_eq!(world.host.truth(&instance.name).service, Active::Active);
    }
}

#[tokio::test]
async fn a_process_that_died_is_told_from_one_that_was_stopped_and_one_that_lives() {
    let wait = Duration::from_millis(20);
    let result = |report: Report, result: &str| Report { result: result.into(), ..report };
    for (reports, expected) in [
        (vec![], Fate::Lives),
        (vec![(Active::Active, false, "success")], Fate::Lives),
        (vec![(Active::Deactivating, false, "success")], Fate::Stopped),
        (vec![(Active::Inactive, false, "success")], Fate::Stopped),
        (vec![(Active::Activating, true, "exit-code")], Fate::Died),
        // systemd 254 and newer pass through `failed-before-auto-restart`.
        (vec![(Active::Activating, false, "oom-kill")], Fate::Died),
        (vec![(Active::Deactivating, false, "signal")], Fate::Died),
        (vec![(Active::Failed, false, "signal"), (Active::Active, false, "")], Fate::Died),
    ] {
        let world = World::with(MODES, &["fd:1"]).await;
        let instance = world.get("fd:1");
        world.agent.observe(&service(&instance, Active::Active, false));
        let mark = instance.mark();
        for (active, again, how) in &reports {
            world.agent.observe(&result(service(&instance, *active, *again), how));
        }
        assert_eq!(instance.fate(mark, wait).await, expected, "{reports:?}");
    }
}

#[tokio::test]
async fn an_unclean_end_in_our_own_stop_is_no_death() {
    let world = World::with(MODES, &["fd:1"]).await;
    world.host.runs(App::DiesBadly);
    drop(world.request("fd:1").await.unwrap());
    let instance = world.get("fd:1");
    until("it is seen to run", || instance.phase() == Phase::Running).await;
    let mark = instance.mark();
    world.agent.stop(&instance).await.unwrap();
    assert_eq!(instance.fate(mark, Duration::ZERO).await, Fate::Stopped);
}
