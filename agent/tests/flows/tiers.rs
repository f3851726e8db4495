//! Tiers: the steps down in their order, and the way back up for the first request.

use std::sync::Arc;
use std::time::Duration;

use tenement_agent::flows::host::{Active, HostError, Lacks};
use tenement_agent::flows::management::Management as _;
use tenement_agent::flows::{Depth, Instance, Phase, Served};
use tenement_agent::store::{GaveUp, Origin};

use super::poll::until;
use super::world::{World, request};

const COOL: &str = "[process.fd]\ncommand = \"/app\"\nidle_timeout = \"30s\"\n\
    reclaim_after = \"5s\"\nfreeze_after = \"10s\"\ndormant_after = \"60s\"\n";
const FREEZES: &str = "[process.fd]\ncommand = \"/app\"\nidle_timeout = 0\nfreeze_after = \"5s\"\n\
    [process.sock]\ncommand = \"/app {socket}\"\nidle_timeout = 0\nfreeze_after = \"5s\"\n";

async fn awake(text: &str, name: &str) -> (World, Arc<Instance>) {
    let world = World::with(text, &[name]).await;
    world.manager.wake(&name.parse().unwrap()).await.unwrap();
    let instance = world.get(name);
    assert_eq!(instance.phase(), Phase::Running);
    tokio::time::pause();
    (world, instance)
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
async fn the_steps_down_come_in_order_each_at_its_time() {
    let (world, instance) = awake(COOL, "fd:1").await;
    pass(4).await;
    assert_eq!(instance.depth(), Depth::None);
    pass(2).await;
    assert_eq!((instance.phase(), instance.depth()), (Phase::Running, Depth::Reclaimed));
    pass(5).await;
    assert_eq!(instance.phase(), Phase::Frozen);
    assert!(world.host.frozen(&instance.name));
    pass(20).await;
    assert_eq!(instance.phase(), Phase::Asleep);
    let counts = ["reclaim", "freeze", "stop"].map(|verb| world.host.count(verb));
    assert_eq!(counts, [1, 1, 1]);
}

#[tokio::test]
async fn a_request_thaws_a_frozen_one_and_its_idle_time_begins_anew() {
    for name in ["fd:1", "sock:1"] {
        let (world, instance) = awake(FREEZES, name).await;
        pass(6).await;
        assert_eq!(instance.phase(), Phase::Frozen, "{name}");
        tokio::time::resume();
        let (lease, served) = world.request(name).await.unwrap();
        assert_eq!(served, Served::Cold);
        assert!(!world.host.frozen(&instance.name));
        assert_eq!((instance.phase(), world.host.count("thaw")), (Phase::Running, 1));
        drop(lease);
        tokio::time::pause();
        pass(4).await;
        assert_eq!(instance.phase(), Phase::Running, "{name} was frozen too soon");
        pass(2).await;
        assert_eq!(instance.phase(), Phase::Frozen, "{name}");
        assert_eq!(world.host.count("stop"), 0);
        tokio::time::resume();
    }
}

#[tokio::test]
async fn many_requests_at_once_join_one_thaw() {
    let (world, instance) = awake(FREEZES, "fd:1").await;
    pass(6).await;
    tokio::time::resume();
    let hold = world.host.hold("thaw");
    let requests: Vec<_> = (0..20)
        .map(|_| {
            let (agent, instance) = (world.agent.clone(), instance.clone());
            tokio::spawn(async move { request(&agent, &instance).await.map(|(_, served)| served) })
        })
        .collect();
    until("all wait", || instance.gate.leases() == 20).await;
    hold.close();
    for request in requests {
        assert_eq!(request.await.unwrap().unwrap(), Served::Cold);
    }
    assert_eq!(world.host.count("thaw"), 1);
}

#[tokio::test]
async fn a_request_during_the_freeze_waits_for_it_and_thaws() {
    let (world, instance) = awake(FREEZES, "fd:1").await;
    let hold = world.host.hold("freeze");
    pass(6).await;
    assert_eq!(world.host.count("freeze"), 1);
    tokio::time::resume();
    let (agent, one) = (world.agent.clone(), instance.clone());
    let waiting = tokio::spawn(async move { request(&agent, &one).await.map(|(_, s)| s) });
    hold.close();
    assert_eq!(waiting.await.unwrap().unwrap(), Served::Cold);
    assert!(!world.host.frozen(&instance.name));
}

#[tokio::test]
async fn a_failed_freeze_leaves_it_running_and_is_not_tried_again_until_it_is_used() {
    let (world, instance) = awake(FREEZES, "fd:1").await;
    world.host.fail("freeze", Some(HostError::Failed("as scripted".into())));
    pass(60).await;
    assert_eq!(instance.phase(), Phase::Running);
    assert_eq!((world.host.count("freeze"), world.host.count("thaw")), (1, 1));
    world.host.fail("freeze", None);
    instance.touch();
    instance.changed.notify_waiters();
    pass(6).await;
    assert_eq!(instance.phase(), Phase::Frozen);
}

#[tokio::test]
async fn a_host_without_a_freezer_leaves_the_step_out() {
    let (world, instance) = awake(COOL, "fd:1").await;
    assert_eq!(world.agent.unmet(), [""; 0]);
    world.host.lack(Lacks { reclaim: true, freeze: true });
    let told = world.manager.config().await.unwrap().unmet;
    assert!(told[0].contains("`reclaim_after` of process `fd`") && told[0].contains("zram"));
    assert!(told[1].contains("`freeze_after` of process `fd`") && told.len() == 2, "{told:?}");
    pass(29).await;
    assert_eq!((instance.phase(), instance.depth()), (Phase::Running, Depth::None));
    pass(2).await;
    assert_eq!(instance.phase(), Phase::Asleep);
    assert_eq!(world.host.count("freeze") + world.host.count("reclaim"), 0);
}

#[tokio::test]
async fn a_request_to_a_reclaimed_one_is_hot_and_ends_that() {
    let (world, instance) = awake(COOL, "fd:1").await;
    pass(6).await;
    assert_eq!(instance.depth(), Depth::Reclaimed);
    tokio::time::resume();
    assert_eq!(world.request("fd:1").await.unwrap().1, Served::Hot);
    assert_eq!(instance.depth(), Depth::None);
}

#[tokio::test]
async fn freezing_and_thawing_by_hand_is_followed() {
    let (world, instance) = awake(FREEZES, "fd:1").await;
    tokio::time::resume();
    world.host.freeze_by_hand(&instance.name, true, true);
    until("it is known to be frozen", || instance.phase() == Phase::Frozen).await;
    world.host.freeze_by_hand(&instance.name, false, true);
    until("it is known to run", || instance.phase() == Phase::Running).await;
}

#[tokio::test]
async fn an_agent_that_starts_learns_who_is_frozen_before_any_request() {
    let (world, instance) = awake(FREEZES, "fd:1").await;
    tokio::time::resume();
    world.host.freeze_by_hand(&instance.name, true, false);
    world.agent.resync().await.unwrap();
    assert_eq!(instance.phase(), Phase::Frozen);
    assert_eq!(world.request("fd:1").await.unwrap().1, Served::Cold);
    assert!(!world.host.frozen(&instance.name));
}

#[tokio::test]
async fn a_frozen_one_is_stopped_restarted_and_removed_like_any_other() {
    let (world, instance) = awake(FREEZES, "fd:1").await;
    let name = instance.name.clone();
    pass(6).await;
    tokio::time::resume();
    world.manager.restart(&name).await.unwrap();
    assert_eq!(instance.phase(), Phase::Running);
    tokio::time::pause();
    pass(6).await;
    assert_eq!(instance.phase(), Phase::Frozen);
    tokio::time::resume();
    world.manager.stop(&name).await.unwrap();
    assert_eq!((instance.phase(), instance.depth()), (Phase::Asleep, Depth::None));
    world.manager.wake(&name).await.unwrap();
    world.host.freeze_by_hand(&name, true, true);
    until("it is frozen", || instance.phase() == Phase::Frozen).await;
    world.manager.remove(&name, false).await.unwrap();
    assert_eq!(world.host.loaded(), 0);
}

#[tokio::test]
async fn a_busy_app_is_neither_frozen_nor_stopped_until_it_says_otherwise() {
    let (world, instance) = awake(COOL, "fd:1").await;
    world.host.set_busy(Some("a held busy lock"));
    pass(120).await;
    assert_eq!(instance.phase(), Phase::Running);
    let why = world.manager.why(&instance.name).await.unwrap();
    assert_eq!(why.holds, ["a held busy lock"]);
    assert!(world.manager.sleep(&instance.name, false).await.is_err(), "it was put to sleep");
    world.host.set_busy(None);
    pass(4).await;
    assert_eq!(instance.phase(), Phase::Asleep);
}

#[tokio::test]
async fn a_keep_warm_window_holds_above_frozen_and_its_end_lets_go() {
    let text = format!("{COOL}keep_warm = [\"Mon 08:00-09:00\"]\n");
    let (world, instance) = awake(&text, "fd:1").await;
    world.host.set_time((0, 500));
    pass(90).await;
    assert_eq!((instance.phase(), instance.depth()), (Phase::Running, Depth::Reclaimed));
    world.host.set_time((0, 540));
    pass(61).await;
    assert_eq!(instance.phase(), Phase::Asleep);
}

#[tokio::test]
async fn min_running_keeps_the_last_used_and_no_more() {
    let text = format!("{COOL}min_running = 1\n");
    let world = World::with(&text, &["fd:1", "fd:2", "fd:3"]).await;
    for name in ["fd:1", "fd:3", "fd:2"] {
        world.manager.wake(&name.parse().unwrap()).await.unwrap();
    }
    tokio::time::pause();
    let last = world.get("fd:2");
    tokio::time::advance(Duration::from_millis(50)).await;
    last.touch();
    pass(200).await;
    let phases = ["fd:1", "fd:2", "fd:3"].map(|name| world.get(name).phase());
    assert_eq!(phases[1], Phase::Running);
    assert!(phases[0] != Phase::Running && phases[2] != Phase::Running, "{phases:?}");
}

#[tokio::test]
async fn one_long_asleep_is_unloaded_after_dormant_after() {
    let (world, instance) = awake(COOL, "fd:1").await;
    let dir = tempfile::tempdir().unwrap();
    let tide = tokio::spawn(world.agent.clone().tide(dir.path().join("none")));
    pass(40).await;
    assert_eq!(instance.phase(), Phase::Asleep);
    pass(40).await;
    assert_eq!(instance.phase(), Phase::Asleep, "it was unloaded too soon");
    pass(40).await;
    assert_eq!(instance.phase(), Phase::Dormant);
    tide.abort();
}

#[tokio::test]
async fn the_last_used_are_started_with_the_agent_until_min_running_of_them_run() {
    let text = "[process.fd]\ncommand = \"/app\"\nmin_running = 2\n";
    let world = World::with(text, &["fd:1", "fd:2", "fd:3"]).await;
    world.agent.fill_up().await;
    let running = world.agent.all().iter().filter(|one| one.phase() == Phase::Running).count();
    assert_eq!(running, 2);
    world.agent.fill_up().await;
    assert_eq!(world.host.count("up"), 2, "more were started than asked for");
}

#[tokio::test]
async fn one_that_has_failed_or_backs_off_takes_nobodys_place_among_min_running() {
    let text = "[process.fd]\ncommand = \"/app\"\nmin_running = 1\n";
    for for_good in [false, true] {
        let world = World::with(text, &["fd:1", "fd:2"]).await;
        world.manager.wake(&"fd:1".parse().unwrap()).await.unwrap();
        let first = world.get("fd:1");
        // It crashes over and over, and was used last.
        first.fail("as scripted".into());
        if for_good {
            world.host.unload_by_hand(&first.name).await;
            first.care.set_failed(GaveUp { reason: "as scripted".into(), at_ms: 1 });
        }
        world.agent.fill_up().await;
        assert_eq!(world.get("fd:2").phase(), Phase::Running, "{for_good}");
    }
}

async fn register_many(world: &World, count: usize) {
    let names = (0..count).map(|n| format!("fd:n{n}").parse().unwrap()).collect();
    let all = world.agent.store.register_many(names, Origin::Api, (20_000, 60_000)).await;
    world.agent.admit(all.unwrap());
}

#[tokio::test]
async fn under_memory_pressure_those_who_are_busy_are_passed_over_and_few_are_asked_at_once() {
    let text = "[process.fd]\ncommand = \"/app\"\nidle_timeout = \"1h\"\n";
    let world = World::new("", text).await;
    register_many(&world, 40).await;
    world.agent.all().iter().for_each(|one| one.set_service(Active::Active));
    world.host.set_busy(Some("a report"));
    assert_eq!(world.agent.ease(8).await, 0);
    assert_eq!(world.host.count("busy"), 32);
    assert_eq!(world.agent.ease(8).await, 0);
    assert_eq!(world.host.count("busy"), 40, "the others had no turn");
    assert_eq!(world.agent.ease(8).await, 0);
    assert_eq!(world.host.count("busy"), 72);
    world.host.set_busy(None);
    assert_eq!(world.agent.ease(8).await, 8);
}

#[tokio::test]
async fn a_look_at_ten_thousand_instances_compares_each_with_few_others() {
    let text = "[process.fd]\ncommand = \"/app\"\nmin_running = 9\ndormant_after = \"1h\"\n";
    let world = World::new("", text).await;
    register_many(&world, 10_000).await;
    let begin = std::time::Instant::now();
    world.agent.look_over(&mut std::collections::HashSet::new());
    world.manager.list().await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_configured_step_that_the_host_lacks_is_warned_of_once_per_process_and_cause() {
    let text = format!("{COOL}[process.two]\ncommand = \"/app\"\nfreeze_after = \"1s\"\n");
    let world = World::with(&text, &["fd:1", "fd:2", "two:1"]).await;
    assert_eq!(world.agent.warn_of_lacks(), 0, "nothing is lacking");
    world.host.lack(Lacks { reclaim: true, freeze: true });
    assert_eq!(world.agent.warn_of_lacks(), 3);
    assert_eq!(world.agent.warn_of_lacks(), 0, "it was said again");
}

#[tokio::test]
async fn instances_are_started_when_their_window_begins_and_only_then() {
    let text = "[process.fd]\ncommand = \"/app\"\nkeep_warm = [\"Mon 08:00-09:00\"]\n";
    let world = World::with(text, &["fd:1", "fd:2"]).await;
    let mut warm = std::collections::HashSet::new();
    world.host.set_time((0, 479));
    world.agent.look_over(&mut warm);
    assert_eq!(world.host.count("start"), 0);
    world.host.set_time((0, 480));
    world.agent.look_over(&mut warm);
    until("both run", || world.agent.all().iter().all(|one| one.phase() == Phase::Running)).await;
    world.manager.stop(&"fd:1".parse().unwrap()).await.unwrap();
    world.agent.look_over(&mut warm);
    assert_eq!(world.host.count("start"), 2, "one that was stopped in its window was started");
}

#[tokio::test]
async fn under_memory_pressure_the_coldest_go_one_step_down_first_and_those_in_use_never() {
    let world = World::with(COOL, &["fd:1", "fd:2", "fd:3"]).await;
    tokio::time::pause();
    for name in ["fd:2", "fd:1", "fd:3"] {
        world.manager.wake(&name.parse().unwrap()).await.unwrap();
        pass(1).await;
    }
    let _lease = tenement_agent::flows::Lease::take(&world.get("fd:2")).unwrap();
    assert_eq!(world.agent.ease(1).await, 1);
    let depths = || ["fd:1", "fd:2", "fd:3"].map(|name| world.get(name).depth());
    assert_eq!(depths(), [Depth::Reclaimed, Depth::None, Depth::None], "not the coldest");
    assert_eq!(world.agent.ease(8).await, 2);
    assert_eq!(depths(), [Depth::Frozen, Depth::None, Depth::Reclaimed]);
}

#[tokio::test]
async fn steps_under_pressure_begin_with_it_and_end_with_it() {
    let (world, instance) =
        awake(&COOL.replace("5s", "1h").replace("10s", "2h").replace("30s", "3h"), "fd:1").await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("memory.pressure");
    let stalled = |us: u64| std::fs::write(&file, format!("some avg10=0.00 total={us}\n")).unwrap();
    stalled(1_000_000);
    let tide = tokio::spawn(world.agent.clone().tide(file.clone()));
    pass(3).await;
    assert_eq!(instance.depth(), Depth::None, "there was no pressure");
    stalled(2_000_000);
    pass(2).await;
    assert_eq!(instance.depth(), Depth::Reclaimed);
    pass(3).await;
    assert_eq!(instance.depth(), Depth::Reclaimed, "the pressure had ended");
    tide.abort();
}
