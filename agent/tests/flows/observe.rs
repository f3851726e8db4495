//! Reports of systemd: lost, doubled, late, and of what people do by hand.

use tenement_agent::flows::host::{Active, HostError};
use tenement_agent::flows::instance::mono_ms;
use tenement_agent::flows::observe::{Report, Unit};
use tenement_agent::flows::{Phase, Served};

use super::pair::Command;
use super::poll::until;
use super::world::{MODES, World};

#[tokio::test]
async fn a_resync_finds_out_what_events_did_not_tell() {
    let world = World::with(MODES, &["fd:1", "sock:1", "port:1"]).await;
    drop(world.request("fd:1").await.unwrap());
    drop(world.request("sock:1").await.unwrap());
    world.agent.preload(vec![world.get("port:1")]).await;
    world.host.lag();
    world.host.command(&"fd:1".parse().unwrap(), Command::Stop).await;
    world.host.unload_by_hand(&"sock:1".parse().unwrap()).await;
    world.host.command(&"port:1".parse().unwrap(), Command::Start).await;
    world.host.lose();
    assert_eq!(world.agent.resync().await.unwrap(), 1);
    assert_eq!(world.get("fd:1").phase(), Phase::Asleep);
    assert_eq!(world.get("sock:1").phase(), Phase::Dormant);
    let port = world.get("port:1");
    until("the one that runs is known to listen", || port.phase() == Phase::Running).await;
}

#[tokio::test]
async fn reports_of_what_was_before_a_load_do_not_undo_it() {
    let world = World::with(MODES, &["fd:1"]).await;
    let instance = world.get("fd:1");
    let socket = |active| Report::of(instance.name.clone(), Unit::Socket, active);
    world.host.lag();
    world.host.report(socket(Active::Inactive));
    world.agent.preload(vec![instance.clone()]).await;
    assert_eq!(instance.phase(), Phase::Asleep);
    world.agent.observe(&socket(Active::Absent));
    assert_eq!(instance.phase(), Phase::Asleep, "systemd has not told of the load yet");
    world.host.deliver();
    assert_eq!(instance.phase(), Phase::Asleep);
    // What comes after the signal of the load counts again.
    world.host.unload_by_hand(&instance.name).await;
    assert_eq!(instance.phase(), Phase::Dormant);
}

#[tokio::test]
async fn a_listing_does_not_undo_what_came_after_it_was_begun() {
    let world = World::with(MODES, &["fd:1"]).await;
    let gate = world.host.hold("list");
    let agent = world.agent.clone();
    let listing = tokio::spawn(async move { agent.resync().await });
    until("the list is asked for", || world.host.count("list") == 1).await;
    let begun = mono_ms();
    until("the clock has moved on", || mono_ms() > begun).await;
    drop(world.request("fd:1").await.unwrap());
    gate.close();
    listing.await.unwrap().unwrap();
    assert_eq!(world.get("fd:1").phase(), Phase::Running);
}

#[tokio::test]
async fn a_resync_that_fails_changes_nothing() {
    let world = World::with(MODES, &["fd:1"]).await;
    drop(world.request("fd:1").await.unwrap());
    world.host.fail("list", Some(HostError::Unreachable("no bus".into())));
    assert!(world.agent.resync().await.is_err());
    assert_eq!(world.get("fd:1").phase(), Phase::Running);
}

#[tokio::test]
async fn what_cant_be_learnt_of_one_keeps_a_resync_from_none_of_the_others() {
    let world = World::with(MODES, &["fd:1", "sock:1"]).await;
    drop(world.request("fd:1").await.unwrap());
    drop(world.request("sock:1").await.unwrap());
    world.host.lag();
    for name in ["fd:1", "sock:1"] {
        world.host.command(&name.parse().unwrap(), Command::Stop).await;
    }
    world.host.lose();
    let failed = || Some(HostError::Failed("as scripted".into()));
    world.host.fail("list one", failed());
    world.host.fail("units", failed());
    world.agent.resync().await.unwrap();
    let [first, other] = ["fd:1", "sock:1"].map(|name| world.get(name));
    assert_eq!((first.phase(), other.phase()), (Phase::Running, Phase::Asleep));
    // Asked for itself, it can be learnt.
    world.host.fail("units", None);
    world.agent.resync().await.unwrap();
    assert_eq!(first.phase(), Phase::Asleep);
}

#[tokio::test]
async fn a_restarted_agent_adopts_what_runs_and_checks_its_units_at_the_next_wake() {
    let world = World::with(MODES, &["fd:1"]).await;
    drop(world.request("fd:1").await.unwrap());
    let before = world.get("fd:1");
    world.agent.dismiss(&before.name);
    let adopted = world.register("fd:1").await;
    assert_eq!(adopted.phase(), Phase::Dormant, "nothing was asked yet");
    world.agent.resync().await.unwrap();
    assert_eq!(world.request("fd:1").await.unwrap().1, Served::Hot);
    assert!(adopted.staleness() > 0, "its units may be of an older config");
    world.agent.put_to_sleep(&adopted).await.unwrap();
    let loads = world.host.count("load");
    drop(world.request("fd:1").await.unwrap());
    assert_eq!((world.host.count("load"), adopted.staleness()), (loads + 1, 0));
    world.agent.resync().await.unwrap();
    assert_eq!(adopted.staleness(), 0, "a daemon-reload makes no unit stale");
}

#[tokio::test]
async fn units_unloaded_by_hand_are_loaded_again_by_the_next_request() {
    for name in ["fd:1", "sock:1", "port:1", "own:1"] {
        for told in [true, false] {
            let world = World::with(MODES, &[name]).await;
            drop(world.request(name).await.unwrap());
            let instance = world.get(name);
            world.agent.put_to_sleep(&instance).await.unwrap();
            if !told {
                world.host.lag();
            }
            world.host.unload_by_hand(&instance.name).await;
            let phase = if told { Phase::Dormant } else { Phase::Asleep };
            assert_eq!(instance.phase(), phase, "{name}");
            assert_eq!(world.request(name).await.unwrap().1, Served::Cold, "{name}");
            assert_eq!((world.host.count("load"), world.host.count("up")), (2, 2), "{name}");
        }
    }
}

#[tokio::test]
async fn late_and_doubled_reports_of_the_past_end_in_the_truth() {
    for name in ["fd:1", "sock:1", "port:1"] {
        let world = World::with(MODES, &[name]).await;
        let instance = world.get(name);
        for _ in 0..10 {
            // Starts and stops whose reports come all at once, each twice, when all is over.
            world.host.lag();
            drop(world.request(name).await.unwrap());
            world.agent.stop(&instance).await.unwrap();
            let up = world.host.count("up");
            world.host.deliver();
            until("it is seen asleep", || instance.phase() == Phase::Asleep).await;
            assert_eq!(world.host.truth(&instance.name).service, Active::Inactive);
            assert_eq!(world.host.count("up"), up, "{name}: an old report started it");
            drop(world.request(name).await.unwrap());
            world.agent.stop(&instance).await.unwrap();
        }
        assert!(instance.failure().is_none(), "{name}: {:?}", instance.failure());
    }
}
