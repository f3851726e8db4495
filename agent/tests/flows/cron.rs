//! Timers of scheduled jobs follow the config and the instances that there are.

use tenement_agent::flows::host::{HostError, LeftOver};
use tenement_agent::flows::management::Management as _;
use tenement_wire::TaskTag;

use super::poll::takes;
use super::world::World;

const JOBS: &str = "[process.fd]\ncommand = \"/app\"\n\
    [process.fd.cron.nightly]\nschedule = \"daily\"\ncommand = \"/job {id}\"\ninstances = [\"1\"]\n";

#[tokio::test]
async fn timers_are_made_once_and_again_when_something_has_changed() {
    let world = World::with(JOBS, &["fd:1", "fd:2"]).await;
    let tag = TaskTag::cron("nightly").unwrap();
    world.agent.set_timers().await;
    let name = world.get("fd:1").name.clone();
    assert_eq!(world.host.timers(), [(name.clone(), true, vec![tag.clone()])]);
    world.agent.set_timers().await;
    assert_eq!(world.host.timers().len(), 1, "nothing has changed");
    // A secret or a limit, say.
    world.get("fd:1").mark_stale();
    world.agent.set_timers().await;
    assert_eq!(world.host.timers().len(), 2);
    world.write(&JOBS.replace("\"1\"", "\"2\""));
    world.manager.reload().await.unwrap();
    world.agent.set_timers().await;
    let last: Vec<_> = world.host.timers().split_off(2);
    assert!(last.iter().any(|(whose, keep, _)| *whose == name && !keep), "{last:?}");
    assert!(last.iter().any(|(whose, keep, _)| whose.id().as_str() == "2" && *keep), "{last:?}");
    world.manager.remove(&"fd:2".parse().unwrap(), false).await.unwrap();
    let (whose, keep, known) = world.host.timers().pop().unwrap();
    assert_eq!((whose.to_string().as_str(), keep, known), ("fd:2", false, vec![tag]));
}

#[tokio::test(start_paused = true)]
async fn a_timer_that_can_not_be_made_is_tried_again_and_what_is_left_over_is_taken_away() {
    let world = World::with(JOBS, &["fd:1"]).await;
    let tag = TaskTag::cron("gone").unwrap();
    let run: TaskTag = "run-1".parse().unwrap();
    let gone = "fd:9".parse().unwrap();
    let commands = vec![(world.get("fd:1").name.clone(), run)];
    world.host.leave(LeftOver { timers: vec![(gone, tag)], commands });
    world.host.fail("set_timers", Some(HostError::Failed("no such time zone".into())));
    let keeping = tokio::spawn(world.agent.clone().keep_timers());
    let asked = async {
        while world.host.count("set_timers") < 4 {
            takes(std::time::Duration::from_secs(1)).await;
        }
        world.host.fail("set_timers", None);
        while world.host.timers().len() < 2 {
            takes(std::time::Duration::from_secs(1)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(600), asked).await.expect("tried again");
    assert_eq!(world.host.count("end_task"), 1, "a command of an agent that is gone");
    let timers = world.host.timers();
    assert!(timers.iter().any(|(whose, keep, _)| whose.to_string() == "fd:9" && !keep));
    assert!(timers.iter().any(|(whose, keep, _)| whose.to_string() == "fd:1" && *keep));
    keeping.abort();
}
