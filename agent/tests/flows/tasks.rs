//! One-off commands: beside an instance, and ended with whoever asked for them.

use std::collections::BTreeMap;
use std::time::Duration;

use tenement_agent::flows::Phase;
use tenement_agent::flows::host::HostError;
use tenement_agent::flows::management::ManageError;
use tenement_agent::flows::tasks::{Commands as _, Output, RunAsk, run_command};
use tenement_agent::plan::TaskEnd;

use super::poll::until;
use super::world::{MODES, World};

fn ask() -> RunAsk {
    let command = vec!["true".to_owned()];
    let timeout = Duration::from_secs(60);
    RunAsk { command, env: BTreeMap::new(), timeout, terminal: None }
}

async fn end(world: &World) -> Option<u8> {
    let mut session = world.agent.run(&world.get("fd:1").name, ask()).await.unwrap();
    while let Some(output) = session.output.recv().await {
        if let Output::End(end) = output {
            return Some(end.exit_status);
        }
    }
    None
}

#[tokio::test]
async fn a_command_tells_how_it_ended_and_wakes_nobody() {
    let world = World::with(MODES, &["fd:1"]).await;
    assert_eq!(end(&world).await, Some(0));
    world.host.tasks_end(TaskEnd::of("exit-code", 1, 3));
    assert_eq!(end(&world).await, Some(3));
    world.host.tasks_end(TaskEnd::of("signal", 2, 15));
    assert_eq!(end(&world).await, Some(143));
    assert_eq!(world.get("fd:1").phase(), Phase::Dormant);
    assert_eq!((world.host.count("up"), world.host.count("end_task")), (0, 0));
}

#[tokio::test]
async fn a_command_whose_caller_is_gone_is_ended() {
    let world = World::with(MODES, &["fd:1"]).await;
    let gate = world.host.hold("task");
    let session = world.agent.run(&world.get("fd:1").name, ask()).await.unwrap();
    until("it runs", || world.host.count("task") == 1).await;
    drop(session);
    until("it is ended", || world.host.count("end_task") == 1).await;
    let (agent, instance) = (world.agent.clone(), world.get("fd:1"));
    let command = tokio::spawn(async move {
        let (with, timeout) = (instance.particulars(), Duration::from_secs(60));
        run_command(&agent, &instance, &with, "release", vec!["x".into()], timeout).await
    });
    until("it runs", || world.host.count("task") == 2).await;
    command.abort();
    until("it is ended", || world.host.count("end_task") == 2).await;
    gate.close();
}

#[tokio::test]
async fn a_command_that_can_not_be_run_is_refused_before_anything_is_said_of_it() {
    let world = World::with(MODES, &["fd:1"]).await;
    let why = HostError::Config("the program `nope` was not found".into());
    world.host.fail("start_task", Some(why));
    let name = world.get("fd:1").name.clone();
    let error = world.agent.run(&name, ask()).await.unwrap_err();
    assert!(matches!(error, ManageError::Invalid { field: "command", .. }), "{error}");
    let error = world.agent.run(&"fd:2".parse().unwrap(), ask()).await.unwrap_err();
    assert!(matches!(error, ManageError::NotFound { .. }), "{error}");
}

#[tokio::test]
async fn only_so_many_commands_run_at_once() {
    let world = World::with(MODES, &["fd:1"]).await;
    let gate = world.host.hold("task");
    let name = world.get("fd:1").name.clone();
    let mut sessions = Vec::new();
    let error = loop {
        match world.agent.run(&name, ask()).await {
            Ok(session) => sessions.push(session),
            Err(error) => break error,
        }
        assert!(sessions.len() < 1000, "there is no bound");
    };
    assert!(matches!(error, ManageError::TooMany { .. }), "{error}");
    gate.close();
    sessions.clear();
    let again = async {
        while world.agent.run(&name, ask()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), again).await.expect("there is room again");
}
