//! Limits that the agent enforces, and `ten set`.

use std::collections::BTreeMap;

use tenement_agent::flows::{ManageError, Management as _, Phase, Refusal, Turn, WakeError};
use tenement_wire::Limit;

use super::world::World;

const PROCESS: &str = "[process.fd]\ncommand = \"/app\"\nmemory_max = \"64M\"\n\
    requests_max = 2\ndisk_max = \"1M\"\n[process.fd.max]\nmemory_max = \"128M\"\n";

fn changes(list: &[(Limit, Option<u64>)]) -> BTreeMap<Limit, Option<u64>> {
    list.iter().copied().collect()
}

#[tokio::test]
async fn ten_set_keeps_applies_and_clamps_limits() {
    let world = World::with(PROCESS, &["fd:1"]).await;
    drop(world.request("fd:1").await.unwrap());
    let name = world.get("fd:1").name.clone();
    let asked = changes(&[(Limit::MemoryMax, Some(256 << 20)), (Limit::FilesMax, Some(100))]);
    let set = world.manager.set(&name, asked).await.unwrap();
    assert_eq!(set.limits.get(Limit::MemoryMax), Some(128 << 20));
    assert_eq!(set.clamped, [Limit::MemoryMax]);
    assert_eq!(set.at_next_start, [Limit::FilesMax], "memory_max counts at once");
    assert_eq!(world.host.applied().unwrap(), set.overrides);
    let stored = world.agent.store.all().await.unwrap();
    assert_eq!(stored[0].overrides, set.overrides);
    let view = world.manager.show(&name).await.unwrap();
    assert_eq!(view.limits, set.limits);
    // Its units are of the old limits, so that the next start makes them anew.
    assert!(world.get("fd:1").staleness() > 0);

    let back = changes(&[(Limit::MemoryMax, None), (Limit::FilesMax, None)]);
    let set = world.manager.set(&name, back).await.unwrap();
    assert_eq!(set.limits.get(Limit::MemoryMax), Some(64 << 20));
    assert!(set.overrides.is_empty() && set.clamped.is_empty());
}

#[tokio::test]
async fn limits_that_contradict_each_other_change_nothing() {
    let world = World::with(PROCESS, &["fd:1"]).await;
    let name = world.get("fd:1").name.clone();
    let asked = changes(&[(Limit::MemoryHigh, Some(100 << 20))]);
    let error = world.manager.set(&name, asked).await.unwrap_err();
    assert!(matches!(error, ManageError::Invalid { field: "limits", .. }), "{error}");
    assert_eq!(world.host.count("apply"), 0);
    assert!(world.agent.store.all().await.unwrap()[0].overrides.is_empty());
}

#[tokio::test]
async fn requests_in_flight_follow_the_limit_of_now() {
    let world = World::with(PROCESS, &["fd:1"]).await;
    let instance = world.get("fd:1");
    let turn = || Turn::take(&instance);
    let mut turns = vec![turn().unwrap(), turn().unwrap()];
    assert_eq!(turn().unwrap_err(), Refusal::Busy);
    let more = changes(&[(Limit::RequestsMax, Some(3))]);
    world.manager.set(&instance.name, more).await.unwrap();
    turns.push(turn().unwrap());
    assert_eq!(turn().unwrap_err(), Refusal::Busy);
    world.write("[process.fd]\ncommand = \"/app\"\n");
    let none = changes(&[(Limit::RequestsMax, None)]);
    world.manager.set(&instance.name, none).await.unwrap();
    world.manager.reload().await.unwrap();
    turns.extend((0..1_000).map(|_| turn().unwrap()));
}

#[tokio::test]
async fn full_data_stops_the_instance_until_data_is_deleted_or_the_limit_raised() {
    let world = World::with(PROCESS, &["fd:1"]).await;
    drop(world.request("fd:1").await.unwrap());
    let instance = world.get("fd:1");
    world.host.data_is(1 << 20);
    world.agent.measure(&instance).await;
    assert_eq!(instance.phase(), Phase::Asleep);
    assert_eq!(Turn::take(&instance).unwrap_err(), Refusal::DiskFull);
    let error = world.request("fd:1").await.unwrap_err();
    assert!(matches!(error, WakeError::DiskFull { .. }), "{error}");
    let view = world.manager.show(&instance.name).await.unwrap();
    assert!(view.failure.unwrap().contains("disk_max is 1M"));
    assert!(world.manager.wake(&instance.name).await.is_err());

    let more = changes(&[(Limit::DiskMax, Some(2 << 20))]);
    world.manager.set(&instance.name, more).await.unwrap();
    drop(world.request("fd:1").await.unwrap());

    world.host.data_is(3 << 20);
    world.agent.measure(&instance).await;
    assert_eq!(instance.phase(), Phase::Asleep);
    world.host.data_is(1 << 10);
    world.manager.wake(&instance.name).await.unwrap();
    drop(world.request("fd:1").await.unwrap());
}
