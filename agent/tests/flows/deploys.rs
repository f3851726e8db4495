//! Deployments: in place, lazily and in batches, and back; blue-green; canaries; with a new agent in the middle.

use std::sync::Arc;
use std::time::Duration;

use tenement_agent::flows::deploys::{Deploy, DeployError, DeployOrder};
use tenement_agent::flows::{Phase, Served};
use tenement_agent::plan::TaskEnd;
use tenement_agent::store::releases::{ReleaseState, StoredRelease};
use tenement_wire::deploys::{DeployState, DeployView, MoveRoute, MoveState, Strategy};
use tenement_wire::{InstanceName, ProcessName, ReleaseName};

use super::fake::App;
use super::poll::until;
use super::world::{World, request};

pub const APP: &str = "[process.app]\ncommand = \"{release}/app {socket}\"\nstop_timeout = \"100ms\"\nstartup_timeout = 2\n";
pub const FD: &str =
    "[process.app]\ncommand = \"{release}/app\"\nstop_timeout = \"100ms\"\nstartup_timeout = 2\n";

pub fn name(text: &str) -> InstanceName {
    text.parse().unwrap()
}

pub fn release(text: &str) -> ReleaseName {
    text.parse().unwrap()
}

pub fn process() -> ProcessName {
    "app".parse().unwrap()
}

/// A world whose process runs from v1, and could run from v2 and v3.
pub async fn world(config: &str, names: &[&str]) -> World {
    let world = World::with(config, names).await;
    for name in ["v1", "v2", "v3"] {
        let (process, name, state) = (process(), release(name), ReleaseState::Ready);
        let one = StoredRelease { process, name, state, at_ms: 1, doc: "{}".into() };
        world.agent.put_release(one).await.unwrap();
    }
    world.agent.set_current_release(&process(), &release("v1")).await.unwrap();
    world
}

pub fn order(to: &str, strategy: Strategy) -> DeployOrder {
    let (process, release) = (process(), release(to));
    let (now, batch, instance, steps, step) = (false, None, None, None, None);
    DeployOrder { process, release, strategy, now, batch, instance, steps, step, rollback: false }
}

pub fn now(to: &str, batch: u32) -> DeployOrder {
    DeployOrder { now: true, batch: Some(batch), ..order(to, Strategy::InPlace) }
}

pub async fn over(deploy: &Deploy) -> DeployView {
    let mut watch = deploy.watch();
    let over = watch.wait_for(|view| view.state.is_over());
    tokio::time::timeout(Duration::from_secs(30), over).await.expect("it hangs").unwrap().clone()
}

pub async fn deployed(world: &World, order: DeployOrder) -> DeployView {
    over(&world.agent.deploy(order).await.unwrap()).await
}

pub fn current(world: &World) -> String {
    world.agent.releases.current(&process()).unwrap().name.to_string()
}

pub async fn serve(world: &World, names: &[&str]) {
    for name in names {
        drop(world.request(name).await.unwrap());
    }
}

fn made_from(world: &World, of: &str) -> Option<ReleaseName> {
    world.host.made_from(&name(of))
}

#[tokio::test]
async fn running_instances_move_in_batches_and_sleeping_ones_at_their_next_start() {
    let all = ["app:a", "app:b", "app:c", "app:d"];
    let world = world(APP, &all).await;
    serve(&world, &all[..3]).await;
    world.agent.pin(&name("app:c"), Some(&release("v1"))).await.unwrap();
    let view = deployed(&world, now("v2", 2)).await;
    assert_eq!((view.state, view.previous), (DeployState::Succeeded, Some(release("v1"))));
    let moved: Vec<_> = view.moves.iter().map(|one| (one.name.to_string(), one.state)).collect();
    let is = |name: &str| (name.to_owned(), MoveState::Moved);
    assert_eq!(moved, [is("app:a"), is("app:b")], "c is pinned, d sleeps");
    assert_eq!(made_from(&world, "app:a"), Some(release("v2")));
    assert_eq!(made_from(&world, "app:c"), Some(release("v1")));
    assert_eq!(world.get("app:c").phase(), Phase::Running);
    serve(&world, &["app:d"]).await;
    assert_eq!(made_from(&world, "app:d"), Some(release("v2")));
}

#[tokio::test]
async fn requests_wait_while_their_instance_is_replaced_and_none_fails() {
    let world = world(APP, &["app:a"]).await;
    serve(&world, &["app:a"]).await;
    world.host.runs(App::Serves(Duration::from_millis(50)));
    let (agent, instance) = (world.agent.clone(), world.get("app:a"));
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let ended = stop.clone();
    let load = tokio::spawn(async move {
        let mut served = 0;
        while !ended.load(std::sync::atomic::Ordering::Relaxed) {
            drop(request(&agent, &instance).await.expect("a request failed"));
            served += 1;
        }
        served
    });
    for (n, to) in ["v2", "v1", "v2", "v3", "v1"].into_iter().enumerate() {
        let view = deployed(&world, now(to, 1)).await;
        assert_eq!(view.state, DeployState::Succeeded, "{n}: {view:?}");
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(load.await.unwrap() > 5);
}

#[tokio::test]
async fn open_web_sockets_have_their_time_while_requests_go_on() {
    let config = format!("{APP}[process.app.deploy]\ndrain_timeout = \"2s\"\n");
    for stays in [true, false] {
        let world = world(&config, &["app:a"]).await;
        let (lease, _) = world.request("app:a").await.unwrap();
        let tunnel = lease.of_tunnel();
        let deploy = world.agent.deploy(now("v2", 1)).await.unwrap();
        let told = || deploy.view().log.iter().any(|line| line.text.contains("1 open WebSocket"));
        until("it is given notice", told).await;
        let begun = std::time::Instant::now();
        serve(&world, &["app:a"]).await;
        assert!(begun.elapsed() < Duration::from_secs(1), "a request waited for a WebSocket");
        assert_eq!(made_from(&world, "app:a"), Some(release("v1")));
        let kept = stays.then_some(tunnel);
        let view = over(&deploy).await;
        assert_eq!(view.state, DeployState::Succeeded);
        assert_eq!(begun.elapsed() >= Duration::from_millis(1800), stays, "{:?}", begun.elapsed());
        let waited = view.moves[0].took_ms.unwrap();
        assert!(waited < 1500, "requests waited {waited} ms");
        drop(kept);
        serve(&world, &["app:a"]).await;
    }
}

#[tokio::test]
async fn an_instance_that_is_not_ready_takes_everybody_back() {
    for (config, app) in
        [(APP, App::Crashes), (APP, App::Mute), (FD, App::Crashes), (FD, App::Mute)]
    {
        let all = ["app:a", "app:b", "app:c"];
        let world = world(config, &all).await;
        serve(&world, &all).await;
        let good = deployed(&world, now("v2", 1)).await;
        assert_eq!(good.state, DeployState::Succeeded, "{good:?}");
        world.host.breaks(&release("v3"), app);
        let view = deployed(&world, now("v3", 1)).await;
        assert_eq!(view.state, DeployState::RolledBack, "{app:?}");
        assert_eq!(view.failed, Some(name("app:a")));
        assert!(view.reason.as_ref().is_some_and(|why| !why.is_empty()), "{app:?}");
        assert_eq!(current(&world), "v2");
        let before = world.agent.releases.current(&process()).unwrap().previous;
        assert_eq!(before, Some(release("v1")), "as if it had never been moved");
        for one in all {
            assert_eq!(
                made_from(&world, one),
                Some(release("v2")),
                "{app:?} {one}: {:?}",
                view.log
            );
            let (_, served) = world.request(one).await.unwrap();
            assert_eq!(served, Served::Hot, "{one}");
        }
    }
}

#[tokio::test]
async fn without_automatic_rollback_it_stays_where_it_failed() {
    let config = format!("{APP}[process.app.deploy]\nauto_rollback = false\n");
    let world = world(&config, &["app:a", "app:b"]).await;
    serve(&world, &["app:a", "app:b"]).await;
    world.host.breaks(&release("v2"), App::Crashes);
    let view = deployed(&world, now("v2", 1)).await;
    assert_eq!(view.state, DeployState::Failed);
    assert_eq!((current(&world), view.moves[1].state), ("v2".into(), MoveState::Waiting));
    let back = DeployOrder::back(process(), true, None);
    let view = over(&world.agent.roll_back(back, None).await.unwrap()).await;
    assert_eq!((view.state, current(&world)), (DeployState::Succeeded, "v1".into()));
    serve(&world, &["app:a", "app:b"]).await;
}

#[tokio::test]
async fn the_first_start_that_fails_takes_a_release_back_and_its_request_is_served() {
    for (config, app) in [(APP, App::Crashes), (FD, App::Crashes), (APP, App::Mute)] {
        let world = world(config, &["app:a", "app:b"]).await;
        world.host.breaks(&release("v2"), app);
        let deploy = world.agent.deploy(order("v2", Strategy::InPlace)).await.unwrap();
        assert_eq!(over(&deploy).await.state, DeployState::Unproven);
        assert_eq!(current(&world), "v2");
        drop(world.request("app:a").await.unwrap_or_else(|e| panic!("{app:?}: {e}")));
        assert_eq!(
            (current(&world), made_from(&world, "app:a")),
            ("v1".into(), Some(release("v1")))
        );
        until("it says so", || deploy.view().state == DeployState::RolledBack).await;
        assert_eq!(deploy.view().failed, Some(name("app:a")));
        let ups = world.host.count("up");
        serve(&world, &["app:b"]).await;
        assert_eq!(world.host.count("up"), ups + 1, "something started on the broken release");
        assert_eq!(made_from(&world, "app:b"), Some(release("v1")));
    }
}

#[tokio::test]
async fn a_request_that_comes_while_a_release_is_being_taken_back_waits_for_that() {
    for verb in ["stop", "unload", "load"] {
        let world = world(APP, &["app:a"]).await;
        world.host.breaks(&release("v2"), App::Crashes);
        deployed(&world, order("v2", Strategy::InPlace)).await;
        let ask = || {
            let (agent, instance) = (world.agent.clone(), world.get("app:a"));
            tokio::spawn(async move { request(&agent, &instance).await.map(drop) })
        };
        let first = ask();
        let instance = world.get("app:a");
        until("its start has failed", || instance.failure().is_some()).await;
        let gate = world.host.hold(verb);
        let second = ask();
        tokio::task::yield_now().await;
        gate.close();
        first.await.unwrap().unwrap_or_else(|e| panic!("{verb}: {e}"));
        second.await.unwrap().unwrap_or_else(|e| panic!("{verb}: {e}"));
        assert_eq!(made_from(&world, "app:a"), Some(release("v1")));
    }
}

#[tokio::test]
async fn a_start_that_works_proves_a_release() {
    let world = world(FD, &["app:a", "app:b"]).await;
    let deploy = world.agent.deploy(order("v2", Strategy::InPlace)).await.unwrap();
    assert_eq!(over(&deploy).await.state, DeployState::Unproven);
    serve(&world, &["app:a"]).await;
    until("it is proven", || deploy.view().state == DeployState::Succeeded).await;
    // What breaks later is that instance's trouble.
    world.host.breaks(&release("v2"), App::Crashes);
    assert!(world.request("app:b").await.is_err() || current(&world) == "v2");
    assert_eq!(current(&world), "v2");
}

#[tokio::test]
async fn the_command_of_releases_runs_once_for_each_instance_before_its_start() {
    let config =
        format!("{APP}[process.app.deploy]\nrelease_command = \"{{release}}/migrate {{id}}\"\n");
    let world = world(&config, &["app:a", "app:b"]).await;
    serve(&world, &["app:a"]).await;
    assert_eq!(world.host.count("start_task"), 1);
    let view = deployed(&world, now("v2", 1)).await;
    assert_eq!(view.state, DeployState::Succeeded, "{view:?}");
    assert_eq!(world.host.count("start_task"), 2, "b sleeps, and moves when it is woken");
    serve(&world, &["app:b", "app:a"]).await;
    assert_eq!(world.host.count("start_task"), 3);
    let (ups, starts) = (world.host.count("up"), world.host.count("start"));
    world.host.tasks_end(TaskEnd::of("exit-code", 1, 3));
    let view = deployed(&world, now("v3", 1)).await;
    assert_eq!(view.state, DeployState::RolledBack, "{view:?}");
    assert!(view.reason.unwrap().contains("release_command failed"));
    assert_eq!((current(&world), made_from(&world, "app:a")), ("v2".into(), Some(release("v2"))));
    assert!(world.host.count("up") <= ups + 1 && world.host.count("start") == starts);
    serve(&world, &["app:a", "app:b"]).await;
}

#[tokio::test]
async fn one_deployment_at_a_time_and_an_abort_puts_everything_back() {
    let world = world(APP, &["app:a", "app:b"]).await;
    serve(&world, &["app:a", "app:b"]).await;
    let gate = world.host.hold("stop");
    let deploy = world.agent.deploy(now("v2", 1)).await.unwrap();
    until("it has begun", || world.host.count("stop") > 0).await;
    let second = world.agent.deploy(now("v3", 1)).await;
    let Err(DeployError::Running { id, .. }) = second else { panic!("{second:?}") };
    assert_eq!(id, deploy.view().id);
    world.agent.abort_deploy(&process(), &id, "uid 0").await.unwrap();
    gate.close();
    let view = over(&deploy).await;
    assert_eq!((view.state, current(&world)), (DeployState::Aborted, "v1".into()));
    assert_eq!(made_from(&world, "app:a"), Some(release("v1")));
    let error = world.agent.abort_deploy(&process(), &id, "uid 0").await.unwrap_err();
    assert!(matches!(error, DeployError::Over { .. }), "{error}");
    assert_eq!(world.agent.deploys.of(&process()).len(), 1);
}

#[tokio::test]
async fn blue_and_green_swap_their_weights_in_one_step_and_never_to_one_that_is_not_healthy() {
    let world = world(APP, &["app:v1"]).await;
    world.agent.pin(&name("app:v1"), Some(&release("v1"))).await.unwrap();
    serve(&world, &["app:v1"]).await;
    let view = deployed(&world, order("v2", Strategy::BlueGreen)).await;
    assert_eq!(view.state, DeployState::Succeeded, "{view:?}");
    assert_eq!(world.get("app:v2").phase(), Phase::Running);
    assert_eq!(made_from(&world, "app:v2"), Some(release("v2")));
    let weight = |of: &str| world.agent.domains.weight(&name(of));
    assert_eq!((weight("app:v1"), weight("app:v2")), (None, Some(0)));
    let swap = |from: &str, to: &str, force| MoveRoute {
        from: Some(from.parse().unwrap()),
        to: to.parse().unwrap(),
        force,
    };
    let routing = world.agent.move_route(&process(), swap("v1", "v2", false)).await.unwrap();
    assert_eq!((weight("app:v1"), weight("app:v2")), (Some(0), Some(100)));
    assert_eq!(routing.weights.len(), 2);
    // A broken one is made, and nothing ever leads to it.
    world.host.breaks(&release("v3"), App::Crashes);
    let view = deployed(&world, order("v3", Strategy::BlueGreen)).await;
    assert_eq!((view.state, view.failed), (DeployState::RolledBack, Some(name("app:v3"))));
    assert_eq!(weight("app:v3"), Some(0));
    let error = world.agent.move_route(&process(), swap("v2", "v3", false)).await.unwrap_err();
    assert!(matches!(error, DeployError::NotHealthy { .. }), "{error}");
    assert_eq!((weight("app:v2"), weight("app:v3")), (Some(100), Some(0)));
    let again = world.agent.deploy(order("v2", Strategy::BlueGreen)).await.unwrap_err();
    assert!(again.to_string().contains("has a weight"), "{again}");
    let (process, version) = (process(), release("2.0"));
    let one = StoredRelease {
        process,
        name: version,
        state: ReleaseState::Ready,
        at_ms: 1,
        doc: "{}".into(),
    };
    world.agent.put_release(one).await.unwrap();
    let no_id = world.agent.deploy(order("2.0", Strategy::BlueGreen)).await.unwrap_err();
    assert!(no_id.to_string().contains("can't be the id of an instance"), "{no_id}");
}

pub fn canary(to: &str, step: Duration) -> DeployOrder {
    let steps = Some(vec![10, 50, 100]);
    DeployOrder { steps, step: Some(step), ..order(to, Strategy::Canary) }
}

fn answered(world: &World, of: &str, status: u16, count: u32) {
    let meter = world.get(of);
    (0..count).for_each(|_| meter.meter().answered(status, Duration::from_millis(2)));
}

#[tokio::test]
async fn a_canary_gets_its_shares_and_then_all() {
    let world = world(APP, &["app:v1"]).await;
    let deploy = world.agent.deploy(canary("v2", Duration::from_secs(1))).await.unwrap();
    let weight = |of: &str| world.agent.domains.weight(&name(of));
    until("it has a tenth", || weight("app:v2") == Some(1000)).await;
    assert_eq!(weight("app:v1"), Some(9000));
    until("the first step is watched", || !deploy.view().steps.is_empty()).await;
    answered(&world, "app:v2", 200, 30);
    answered(&world, "app:v1", 200, 270);
    until("it has half", || weight("app:v2") == Some(5000)).await;
    let first = deploy.view().steps[0].clone();
    assert_eq!((first.canary.requests, first.verdict.as_deref()), (30, Some("passed")));
    answered(&world, "app:v2", 200, 30);
    let view = over(&deploy).await;
    assert_eq!(view.state, DeployState::Succeeded, "{view:?}");
    assert_eq!((weight("app:v1"), weight("app:v2")), (Some(0), Some(100)));
    assert!(world.agent.get(&name("app:v1")).is_some(), "it stays, to go back to");
}

#[tokio::test]
async fn a_canary_with_half_its_requests_failing_gets_none_a_second_later() {
    let world = world(APP, &["app:v1"]).await;
    let deploy = world.agent.deploy(canary("v2", Duration::from_secs(600))).await.unwrap();
    until("its first step is watched", || !deploy.view().steps.is_empty()).await;
    answered(&world, "app:v1", 200, 180);
    answered(&world, "app:v2", 200, 10);
    answered(&world, "app:v2", 500, 10);
    let view = over(&deploy).await;
    assert_eq!((view.state, view.failed), (DeployState::RolledBack, Some(name("app:v2"))));
    let why = view.reason.unwrap();
    assert!(
        why.contains("50.0 % errors (10 of 20 requests), the others 0.0 % (0 of 180)"),
        "{why}"
    );
    assert_eq!(view.steps[0].canary.error_percent, 50.0);
    let weight = |of: &str| world.agent.domains.weight(&name(of));
    assert_eq!((weight("app:v1"), weight("app:v2")), (None, Some(0)), "as before");
}
