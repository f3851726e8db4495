//! Thousands of interleavings on several threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tenement_agent::flows::lease::Closed;
use tenement_agent::flows::{Lease, Phase};
use tokio::task::JoinSet;

use super::world::{MODES, World, request};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_idle_stop_and_a_lease_never_overlap() {
    let world = World::with(MODES, &["fd:1"]).await;
    let instance = world.get("fd:1");
    let (using, stopping) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let stops = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..6 {
        let (instance, using, stopping) = (instance.clone(), using.clone(), stopping.clone());
        tasks.spawn(async move {
            for turn in 0..5_000 {
                let Some(lease) = Lease::take(&instance) else {
                    tokio::task::yield_now().await;
                    continue;
                };
                using.fetch_add(1, Ordering::SeqCst);
                assert!(!stopping.load(Ordering::SeqCst), "a lease during a stop");
                if turn % 3 == 0 {
                    tokio::task::yield_now().await;
                }
                assert!(!stopping.load(Ordering::SeqCst), "a stop during a lease");
                using.fetch_sub(1, Ordering::SeqCst);
                drop(lease);
            }
        });
    }
    for _ in 0..2 {
        let (instance, using) = (instance.clone(), using.clone());
        let (stopping, stops) = (stopping.clone(), stops.clone());
        tasks.spawn(async move {
            for _ in 0..20_000 {
                if let Some(closed) = Closed::if_idle(&instance) {
                    assert!(!stopping.swap(true, Ordering::SeqCst), "two stops at once");
                    assert_eq!(using.load(Ordering::SeqCst), 0, "a stop under a lease");
                    stops.fetch_add(1, Ordering::Relaxed);
                    stopping.store(false, Ordering::SeqCst);
                    drop(closed);
                }
                tokio::task::yield_now().await;
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    assert!(stops.load(Ordering::Relaxed) > 0, "nothing was tried");
    assert_eq!((instance.gate.leases(), instance.gate.is_closed()), (0, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_request_is_lost_between_stops_loads_and_wakes() {
    let names = ["fd:1", "sock:1", "port:1"];
    let world = World::with(MODES, &names).await;
    let done = Arc::new(AtomicBool::new(false));
    let mut requests = JoinSet::new();
    for name in names {
        for _ in 0..4 {
            let (agent, instance) = (world.agent.clone(), world.get(name));
            requests.spawn(async move {
                for _ in 0..150 {
                    let answer = request(&agent, &instance).await;
                    assert!(answer.is_ok(), "{}: {answer:?}", instance.name);
                    drop(answer);
                    tokio::task::yield_now().await;
                }
            });
        }
    }
    let mut disturbers = JoinSet::new();
    for name in names {
        let (agent, instance, done) = (world.agent.clone(), world.get(name), done.clone());
        disturbers.spawn(async move {
            while !done.load(Ordering::Relaxed) {
                agent.put_to_sleep(&instance).await.unwrap();
                if instance.phase() == Phase::Asleep {
                    instance.mark_stale();
                    agent.preload(vec![instance.clone()]).await;
                }
                agent.resync().await.unwrap();
                tokio::task::yield_now().await;
            }
        });
    }
    while let Some(task) = requests.join_next().await {
        task.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    while let Some(task) = disturbers.join_next().await {
        task.unwrap();
    }
    for name in names {
        let instance = world.get(name);
        assert_eq!((instance.gate.leases(), instance.gate.is_closed()), (0, false), "{name}");
        assert!(instance.failure().is_none(), "{name}: {:?}", instance.failure());
        world.request(name).await.unwrap();
    }
}
