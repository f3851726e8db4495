//! What instances run from: the release of their process, or the one that they stay at.

use std::collections::BTreeMap;
use std::time::Duration;

use tenement_agent::flows::management::{ManageError, Management as _, Spawn};
use tenement_agent::flows::tasks::{Commands as _, RunAsk};
use tenement_agent::store::releases::{ReleaseState, StoredRelease};
use tenement_wire::{ProcessName, ReleaseName};

use super::world::World;

const APP: &str = "[process.app]\ncommand = \"{release}/app\"\n";

fn release(name: &str, state: ReleaseState) -> StoredRelease {
    let process = "app".parse().unwrap();
    StoredRelease { process, name: name.parse().unwrap(), state, at_ms: 1, doc: "{}".into() }
}

async fn world() -> (World, ProcessName, [ReleaseName; 2]) {
    let world = World::with(APP, &["app:a", "app:b"]).await;
    for name in ["v1", "v2"] {
        world.agent.put_release(release(name, ReleaseState::Ready)).await.unwrap();
    }
    (world, "app".parse().unwrap(), ["v1", "v2"].map(|name| name.parse().unwrap()))
}

#[tokio::test]
async fn without_a_release_nothing_is_started_stopped_or_counted_as_a_failure() {
    let world = World::with(APP, &["app:a"]).await;
    let name = "app:a".parse().unwrap();
    let ask = RunAsk {
        command: vec!["true".into()],
        env: BTreeMap::new(),
        timeout: Duration::from_secs(1),
        terminal: None,
    };
    let spawn =
        Spawn { process: "app".parse().unwrap(), ids: vec!["b".parse().unwrap()], start: true };
    let errors = [
        world.manager.wake(&name).await.map(drop),
        world.manager.restart(&name).await.map(drop),
        world.manager.spawn(spawn).await.map(drop),
        world.agent.run(&name, ask).await.map(drop),
    ];
    for error in errors {
        assert!(matches!(error, Err(ManageError::NoRelease { .. })), "{error:?}");
    }
    let touched = ["load", "start", "unload"].map(|verb| world.host.count(verb));
    assert_eq!(touched[1..], [0, 0], "start and unload");
    assert!(world.get("app:a").failure().is_none());
    assert!(world.agent.get(&"app:b".parse().unwrap()).is_some(), "it is registered");
}

#[tokio::test]
async fn a_release_that_has_come_to_be_needed_is_not_forgotten() {
    let (world, app, [v1, v2]) = world().await;
    world.agent.set_current_release(&app, &v1).await.unwrap();
    world.agent.pin(&"app:a".parse().unwrap(), Some(&v2)).await.unwrap();
    for (release, why) in [(&v1, "app runs from it"), (&v2, "app:a is pinned to it")] {
        let error = world.agent.forget_release(&app, release).await.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    world.agent.pin(&"app:a".parse().unwrap(), None).await.unwrap();
    assert!(world.agent.forget_release(&app, &v2).await.unwrap());
}

#[tokio::test]
async fn instances_move_to_the_current_release_at_their_next_start() {
    let (world, app, [v1, v2]) = world().await;
    world.agent.set_current_release(&app, &v1).await.unwrap();
    drop(world.request("app:a").await.unwrap());
    let instance = world.get("app:a");
    assert_eq!((instance.release(), instance.staleness()), (Some(v1.clone()), 0));
    world.agent.set_current_release(&app, &v2).await.unwrap();
    assert!(instance.staleness() > 0, "its next start would be from the old one");
    assert_eq!(world.host.count("load"), 1, "what runs was touched");
    assert_eq!(instance.particulars().release, Some(v2.clone()));
    let current = world.agent.releases.current(&app).unwrap();
    assert_eq!((current.name, current.previous), (v2, Some(v1)));
}

#[tokio::test]
async fn a_pinned_instance_stays_where_it_is() {
    let (world, app, [v1, v2]) = world().await;
    world.agent.set_current_release(&app, &v1).await.unwrap();
    let pinned = "app:b".parse().unwrap();
    world.agent.pin(&pinned, Some(&v1)).await.unwrap();
    world.agent.set_current_release(&app, &v2).await.unwrap();
    assert_eq!(world.get("app:a").release(), Some(v2.clone()));
    assert_eq!(world.get("app:b").release(), Some(v1.clone()));
    assert!(world.agent.forget_release(&app, &v1).await.is_err(), "somebody stays at it");
    world.agent.pin(&pinned, None).await.unwrap();
    assert_eq!(world.get("app:b").release(), Some(v2));
    assert!(world.agent.forget_release(&app, &v1).await.unwrap());
    assert_eq!(world.agent.releases.current(&app).unwrap().previous, None);
}

#[tokio::test]
async fn only_a_ready_release_is_run_from() {
    let (world, app, [v1, _]) = world().await;
    world.agent.put_release(release("v3", ReleaseState::Building)).await.unwrap();
    for name in ["v3", "v4"] {
        let error = world.agent.set_current_release(&app, &name.parse().unwrap()).await;
        assert!(matches!(error, Err(ManageError::UnknownRelease { .. })), "{error:?}");
    }
    world.agent.set_current_release(&app, &v1).await.unwrap();
    assert!(world.agent.forget_release(&app, &v1).await.is_err(), "the process runs from it");
    let stored = world.agent.load_releases().await.unwrap();
    assert!(stored.is_empty(), "{stored:?}");
    assert_eq!(world.agent.releases.current(&app).unwrap().name, v1, "it is stored");
}
