//! Wakes in the metrics: from which tier, and how they ended.

use std::time::Duration;

use tenement_agent::flows::metrics::wakes::{OUTCOMES, Outcome, TIERS};
use tenement_agent::flows::{Phase, Tenants as _};
use tenement_wire::dto::Tier;
use tokio::time::Instant;

use super::fake::App;
use super::poll::until;
use super::world::{MODES, World};

/// What was counted, without zeros.
fn wakes(world: &World) -> Vec<(Tier, Outcome, u64)> {
    let counts = world.agent.metrics.wakes.counts();
    let of = |tier: usize| {
        OUTCOMES.iter().zip(counts[tier]).map(move |(outcome, n)| (TIERS[tier], *outcome, n))
    };
    (0..TIERS.len()).flat_map(of).filter(|(.., n)| *n > 0).collect()
}

#[tokio::test]
async fn a_wake_counts_by_its_tier_and_how_it_ended() {
    let world = World::with(MODES, &["fd:1", "sock:1"]).await;
    drop(world.request("fd:1").await.unwrap());
    assert_eq!(wakes(&world), [(Tier::Dormant, Outcome::Ok, 1)]);
    let took = world.agent.metrics.wakes.took().map(|spread| spread.count());
    assert_eq!(took, [0, 0, 0, 1], "its duration counts with it");
    world.host.runs(App::Crashes);
    world.request("sock:1").await.unwrap_err();
    assert_eq!(wakes(&world)[1..], [(Tier::Dormant, Outcome::Failed, 1)]);
    world.request("sock:1").await.unwrap_err();
    assert_eq!(wakes(&world)[2..], [(Tier::Dormant, Outcome::Refused, 1)], "a back-off runs");
}

#[tokio::test]
async fn a_start_that_takes_too_long_and_a_client_that_leaves_are_told_apart() {
    let text = "[process.sock]\ncommand = \"/app {socket}\"\nstartup_timeout = \"100ms\"\n";
    let world = World::with(text, &["sock:1", "sock:2"]).await;
    world.host.runs(App::Mute);
    world.request("sock:1").await.unwrap_err();
    assert_eq!(wakes(&world), [(Tier::Dormant, Outcome::TimedOut, 1)]);
    let gate = world.host.hold("load");
    let (agent, instance) = (world.agent.clone(), world.get("sock:2"));
    let client = tokio::spawn(async move { agent.ensure(&instance).await.map(|_| ()) });
    until("the wake is under way", || world.host.count("load") == 2).await;
    client.abort();
    let _ = client.await;
    assert_eq!(wakes(&world)[1..], [(Tier::Dormant, Outcome::Abandoned, 1)]);
    gate.close();
}

#[tokio::test]
async fn who_comes_back_for_it_later_leaves_a_wake_that_went_well() {
    let world = World::with(MODES, &["fd:1", "sock:1"]).await;
    for (name, at) in [("sock:1", 1), ("fd:1", 2)] {
        let instance = world.get(name);
        let (agent, woken) = (world.agent.clone(), instance.clone());
        let waits = tokio::spawn(async move { agent.awaken(&woken, Instant::now()).await });
        if name == "fd:1" {
            // The browser's own connection, which is gone meanwhile.
            until("it can be connected to", || instance.phase() == Phase::Asleep).await;
            super::world::knock(&instance.target()).await.unwrap();
        }
        let lease = tokio::time::timeout(Duration::from_secs(10), waits).await.unwrap().unwrap();
        drop(lease.unwrap());
        assert_eq!(wakes(&world), [(Tier::Dormant, Outcome::Ok, at)], "{name}");
        assert_eq!(instance.wakes.load(std::sync::atomic::Ordering::Relaxed), 1, "{name}");
    }
}
