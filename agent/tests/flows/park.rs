//! Parking: who is parked, that a request always gets through, and that systemd's word counts.

use std::time::Duration;

use tenement_agent::flows::host::{Active, HostError};
use tenement_agent::flows::management::Management as _;
use tenement_agent::flows::observe::{Report, Unit};
use tenement_agent::flows::{Depth, Phase, Served};
use tenement_wire::dto::{State, Tier};

use super::fake::App;
use super::pair::Command;
use super::poll::until;
use super::world::World;

/// One process in each listen mode, each parking its last two.
const PARKING: &str = "[process.fd]\ncommand = \"/app\"\npark = 2\n\
    [process.sock]\ncommand = \"/app {socket}\"\npark = 2\n\
    [process.port]\ncommand = \"/app {port}\"\npark = 2\n\
    [process.own]\ncommand = \"/app\"\nsocket = \"/tmp/{id}.sock\"\npark = 2\n";
const ALL: [&str; 4] = ["fd:1", "sock:1", "port:1", "own:1"];

/// Wakes it and lets it sleep, until it is parked.
async fn park(world: &World, name: &str) {
    drop(world.request(name).await.unwrap());
    let instance = world.get(name);
    until("it sleeps", || instance.gate.leases() == 0).await;
    assert!(world.agent.put_to_sleep(&instance).await.unwrap());
    until("it is parked", || instance.phase() == Phase::Parked && !instance.gate.is_closed()).await;
}

#[tokio::test]
async fn an_instance_that_goes_to_sleep_is_parked_and_its_next_request_needs_nothing_of_systemd() {
    let world = World::with(PARKING, &ALL).await;
    for name in ALL {
        park(&world, name).await;
        let view = world.manager.show(&name.parse().unwrap()).await.unwrap();
        assert_eq!((view.state, view.tier), (State::Asleep, Tier::Parked), "{name}");
        let why = world.manager.why(&name.parse().unwrap()).await.unwrap();
        assert!(why.next_request.contains("without systemd"), "{}", why.next_request);
        let verbs = ["load", "start", "stop", "park", "units", "up"];
        let before = verbs.map(|verb| world.host.count(verb));
        let (lease, served) = world.request(name).await.unwrap();
        assert_eq!(served, Served::Cold, "{name}");
        let instance = world.get(name);
        until("it runs", || instance.phase() == Phase::Running).await;
        assert_eq!(before, verbs.map(|verb| world.host.count(verb)), "{name}: {verbs:?}");
        drop(lease);
    }
    assert_eq!(world.host.count("unparked"), ALL.len());
}

#[tokio::test]
async fn a_hundred_cycles_under_load_fail_no_request() {
    let world = World::with(PARKING, &ALL).await;
    for name in ALL {
        let instance = world.get(name);
        for round in 0..100 {
            drop(world.request(name).await.unwrap());
            // Requests come at every stage of stop and parking.
            let (first, second) = tokio::join!(world.agent.put_to_sleep(&instance), async {
                for _ in 0..round % 7 {
                    tokio::task::yield_now().await;
                }
                world.request(name).await.map(|_| ())
            });
            first.unwrap();
            second.unwrap_or_else(|e| panic!("{name}, round {round}: {e}"));
        }
    }
    assert!(world.host.count("parked") > 10, "hardly anything was parked");
}

#[tokio::test]
async fn only_the_most_recently_used_are_parked() {
    let world = World::with(PARKING, &["fd:1", "fd:2", "fd:3", "fd:4"]).await;
    for name in ["fd:1", "fd:2", "fd:3", "fd:4"] {
        park(&world, name).await;
        // Uses are told apart by the millisecond.
        tokio::time::timeout(Duration::from_millis(3), std::future::pending::<()>()).await.ok();
    }
    until("two are left", || {
        let phase = |name| world.get(name).phase();
        phase("fd:1") == Phase::Asleep && phase("fd:2") == Phase::Asleep
    })
    .await;
    assert_eq!(world.get("fd:3").phase(), Phase::Parked);
    assert_eq!(world.get("fd:4").phase(), Phase::Parked);
}

#[tokio::test]
async fn auto_parks_as_many_as_memory_bears_over_all_processes() {
    let text = "[process.fd]\ncommand = \"/app\"\n[process.more]\ncommand = \"/app\"\n";
    let world = World::with(text, &["fd:1", "more:1", "fd:2"]).await;
    world.host.has_memory(60_000_000);
    for name in ["fd:1", "more:1", "fd:2"] {
        park(&world, name).await;
        tokio::time::timeout(Duration::from_millis(3), std::future::pending::<()>()).await.ok();
    }
    until("the oldest has left", || world.get("fd:1").phase() == Phase::Asleep).await;
    assert_eq!(world.get("more:1").phase(), Phase::Parked);
    assert_eq!(world.get("fd:2").phase(), Phase::Parked);
}

#[tokio::test]
async fn a_stop_does_not_park_and_ends_a_parking() {
    let world = World::with(PARKING, &["fd:1"]).await;
    let (instance, name) = (world.get("fd:1"), "fd:1".parse().unwrap());
    drop(world.request("fd:1").await.unwrap());
    world.manager.stop(&name).await.unwrap();
    assert_eq!((instance.phase(), world.host.count("park")), (Phase::Asleep, 0));
    park(&world, "fd:1").await;
    world.manager.stop(&name).await.unwrap();
    assert_eq!((instance.phase(), world.host.count("park")), (Phase::Asleep, 1));
    // Asleep already, so there is nothing that a second call could do.
    world.manager.sleep(&name, false).await.unwrap();
    assert_eq!((instance.phase(), world.host.count("park")), (Phase::Asleep, 1));
}

#[tokio::test]
async fn waking_by_hand_starts_the_app_of_a_parked_instance() {
    let world = World::with(PARKING, &ALL).await;
    for name in ALL {
        park(&world, name).await;
        world.manager.wake(&name.parse().unwrap()).await.unwrap();
        let instance = world.get(name);
        until("it runs", || instance.phase() == Phase::Running).await;
        assert!(!world.host.truth(&instance.name).parked, "{name} is parked");
    }
}

#[tokio::test]
async fn an_instance_is_parked_even_if_no_report_has_said_yet_that_it_ran() {
    let world = World::with(PARKING, &["fd:1"]).await;
    let instance = world.get("fd:1");
    // Its units are there, and no report of them comes.
    drop(world.request("fd:1").await.unwrap());
    world.manager.stop(&instance.name).await.unwrap();
    world.host.lag();
    drop(world.request("fd:1").await.unwrap());
    assert_eq!(instance.phase(), Phase::Asleep);
    assert!(world.agent.put_to_sleep(&instance).await.unwrap());
    until("it is parked", || world.host.count("parked") == 1).await;
    world.host.deliver();
    until("it is seen to be", || instance.phase() == Phase::Parked).await;
}

#[tokio::test]
async fn a_report_of_the_parking_that_comes_after_a_request_changes_nothing() {
    let world = World::with(PARKING, &["fd:1"]).await;
    park(&world, "fd:1").await;
    let instance = world.get("fd:1");
    let (lease, _) = world.request("fd:1").await.unwrap();
    let (name, unit) = (instance.name.clone(), Unit::Service);
    let late = Report { parked: true, ..Report::of(name, unit, Active::Active) };
    world.agent.observe(&late);
    assert_eq!((instance.phase(), instance.depth()), (Phase::Running, Depth::None));
    drop(lease);
    // It is watched, though no report said that it came up.
    assert!(instance.watched.load(std::sync::atomic::Ordering::Relaxed));
}

#[tokio::test]
async fn lost_reports_are_made_up_for_by_asking() {
    let world = World::with(PARKING, &["fd:1"]).await;
    drop(world.request("fd:1").await.unwrap());
    let instance = world.get("fd:1");
    world.host.lag();
    assert!(world.agent.put_to_sleep(&instance).await.unwrap());
    until("it is parked", || instance.phase() == Phase::Parked).await;
    world.host.lose();
    drop(world.request("fd:1").await.unwrap());
}

#[tokio::test]
async fn another_agent_finds_out_what_is_parked_and_forgets_old_flags() {
    let world = World::with(PARKING, &["fd:1", "sock:1"]).await;
    for name in ["fd:1", "sock:1"] {
        park(&world, name).await;
        let instance = world.get(name);
        // All that a new agent knows.
        instance.set_depth(Depth::None);
        instance.mark_stale();
    }
    let forgotten = world.host.count("forget");
    world.agent.resync().await.unwrap();
    assert!(world.host.count("forget") > forgotten);
    for name in ["fd:1", "sock:1"] {
        assert_eq!(world.get(name).phase(), Phase::Parked);
        drop(world.request(name).await.unwrap());
    }
    assert_eq!(world.host.count("unparked"), 2, "a parked one of the same revision was stopped");
}

#[tokio::test]
async fn a_parked_instance_of_an_older_revision_is_not_woken_but_started_anew() {
    let world = World::with(PARKING, &ALL).await;
    for name in ALL {
        park(&world, name).await;
        world.get(name).mark_stale();
        world.host.fail("fits", Some(HostError::Failed("another revision".into())));
        drop(world.request(name).await.unwrap());
        world.host.fail("fits", None);
    }
    assert_eq!(world.host.count("unparked"), 0);
}

#[tokio::test]
async fn what_starts_in_full_when_it_should_park_is_stopped_and_not_tried_again() {
    let world = World::with(PARKING, &["fd:1"]).await;
    world.host.lacks_stub();
    let instance = world.get("fd:1");
    for _ in 0..2 {
        drop(world.request("fd:1").await.unwrap());
        assert!(world.agent.put_to_sleep(&instance).await.unwrap());
        until("it is stopped", || instance.phase() == Phase::Asleep && !instance.gate.is_closed())
            .await;
    }
    until("it was given up", || world.host.count("stop") == 3).await;
    assert_eq!(world.host.count("park"), 1);
}

#[tokio::test]
async fn a_parking_that_fails_leaves_a_sleeping_instance_and_no_flag() {
    let world = World::with(PARKING, &["fd:1"]).await;
    world.host.fail("park", Some(HostError::Unreachable("the helper is away".into())));
    let instance = world.get("fd:1");
    drop(world.request("fd:1").await.unwrap());
    assert!(world.agent.put_to_sleep(&instance).await.unwrap());
    until("it was tried", || world.host.count("park") == 1).await;
    until("the flag is gone", || world.host.count("forget") >= 1).await;
    until("the gate is open", || !instance.gate.is_closed()).await;
    assert_eq!(instance.phase(), Phase::Asleep);
    world.host.fail("park", None);
    park(&world, "fd:1").await;
}

#[tokio::test]
async fn a_crashing_instance_is_not_parked() {
    let world = World::with(PARKING, &["fd:1"]).await;
    let instance = world.get("fd:1");
    drop(world.request("fd:1").await.unwrap());
    instance.fail("it crashed".into());
    assert!(world.agent.put_to_sleep(&instance).await.unwrap());
    assert_eq!((instance.phase(), world.host.count("park")), (Phase::Asleep, 0));
}

#[tokio::test]
async fn a_crash_at_the_wake_from_parking_counts_like_any_other() {
    let world = World::with(PARKING, &["fd:1"]).await;
    park(&world, "fd:1").await;
    world.host.runs(App::Crashes);
    let instance = world.get("fd:1");
    let (lease, _) = world.agent.ensure_awake(&instance).await.unwrap();
    let _ = super::world::knock(&instance.target()).await;
    until("it is given up", || instance.failure().is_some()).await;
    drop(lease);
}

#[tokio::test]
async fn a_service_that_was_started_by_hand_is_the_app_and_sleeps_as_ever() {
    let text = "[process.fd]\ncommand = \"/app\"\nidle_timeout = \"50ms\"\npark = 1\n";
    let world = World::with(text, &["fd:1"]).await;
    let instance = world.get("fd:1");
    drop(world.request("fd:1").await.unwrap());
    until("it is parked", || instance.phase() == Phase::Parked).await;
    world.manager.stop(&instance.name).await.unwrap();
    world.host.command(&instance.name, Command::Start).await;
    assert!(!world.host.truth(&instance.name).parked);
    until("it is parked again", || instance.phase() == Phase::Parked).await;
}
