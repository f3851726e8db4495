//! The routes that make an instance run or rest. All are idempotent: to wake what runs answers with it.

use std::sync::Arc;

use axum::extract::State;
use tenement_wire::InstanceName;
use tenement_wire::dto::InstanceView;
use utoipa_axum::router::OpenApiRouter;

use super::input::Input;
use super::routes::{Answer, Manager, Name, collect};
use super::wait::{Wait, Waiting};
use crate::flows::Management;

/// The routes, below `/api/v1` and `/api`.
pub(super) fn routes<M: Management>() -> OpenApiRouter<Arc<M>> {
    OpenApiRouter::new()
        .routes(collect!(M => wake))
        .routes(collect!(M => start))
        .routes(collect!(M => sleep))
        .routes(collect!(M => stop))
        .routes(collect!(M => restart))
        .routes(collect!(M => reset))
}

/// Make an instance run
#[utoipa::path(post, path = "/instances/{name}/wake", tag = "instances", security(("token" = ["operator"])),
    params(("name" = InstanceName, Path), Waiting),
    responses((status = 200, description = "It can be reached", body = InstanceView)),
    extensions(("x-problems" = json!(["busy", "no_release", "start_failed", "timed_out", "not_reached"]))))]
async fn wake<M: Management>(
    State(m): Manager<M>,
    Name(name): Name,
    mut input: Input,
) -> Answer<InstanceView> {
    let wait = Wait::of(&mut input);
    input.finish(Some(()))?;
    let doer = m.clone();
    wait.after(m, async move { doer.wake(&name).await }).await
}

/// Make an instance run: another name of wake
#[utoipa::path(post, path = "/instances/{name}/start", tag = "instances", security(("token" = ["operator"])),
    params(("name" = InstanceName, Path), Waiting),
    responses((status = 200, description = "It can be reached", body = InstanceView)),
    extensions(("x-problems" = json!(["busy", "no_release", "start_failed", "timed_out", "not_reached"]))))]
async fn start<M: Management>(m: Manager<M>, name: Name, input: Input) -> Answer<InstanceView> {
    wake(m, name, input).await
}

/// Put an instance to sleep
///
/// The next request wakes it. Open requests are an error without `force`.
#[utoipa::path(post, path = "/instances/{name}/sleep", tag = "instances", security(("token" = ["operator"])),
    params(
        ("name" = InstanceName, Path),
        Waiting,
        ("force" = Option<bool>, Query, description = "Cut off what is open"),
    ),
    responses((status = 200, description = "It sleeps", body = InstanceView)),
    extensions(("x-problems" = json!(["busy", "in_use", "stop_failed", "timed_out", "not_reached"]))))]
async fn sleep<M: Management>(
    State(m): Manager<M>,
    Name(name): Name,
    mut input: Input,
) -> Answer<InstanceView> {
    let force = input.flag("force");
    let wait = Wait::of(&mut input);
    input.finish(Some(()))?;
    let doer = m.clone();
    wait.after(m, async move { doer.sleep(&name, force).await }).await
}

/// Stop an instance whatever is open
///
/// It stays registered, and a request wakes it again.
#[utoipa::path(post, path = "/instances/{name}/stop", tag = "instances", security(("token" = ["operator"])),
    params(("name" = InstanceName, Path), Waiting),
    responses((status = 200, description = "It is stopped", body = InstanceView)),
    extensions(("x-problems" = json!(["busy", "stop_failed", "timed_out", "not_reached"]))))]
async fn stop<M: Management>(
    State(m): Manager<M>,
    Name(name): Name,
    mut input: Input,
) -> Answer<InstanceView> {
    let wait = Wait::of(&mut input);
    input.finish(Some(()))?;
    let doer = m.clone();
    wait.after(m, async move { doer.stop(&name).await }).await
}

/// Stop an instance, make its units anew from the config and start it
#[utoipa::path(post, path = "/instances/{name}/restart", tag = "instances", security(("token" = ["operator"])),
    params(("name" = InstanceName, Path), Waiting),
    responses((status = 200, description = "It can be reached", body = InstanceView)),
    extensions(("x-problems" = json!(["busy", "no_release", "start_failed", "stop_failed", "timed_out", "not_reached"]))))]
async fn restart<M: Management>(
    State(m): Manager<M>,
    Name(name): Name,
    mut input: Input,
) -> Answer<InstanceView> {
    let wait = Wait::of(&mut input);
    input.finish(Some(()))?;
    let doer = m.clone();
    wait.after(m, async move { doer.restart(&name).await }).await
}

/// Give an instance that has failed for good a new chance
///
/// Its next request starts it.
#[utoipa::path(post, path = "/instances/{name}/reset", tag = "instances", security(("token" = ["operator"])),
    params(("name" = InstanceName, Path), Waiting),
    responses((status = 200, description = "As it is now", body = InstanceView)),
    extensions(("x-problems" = json!(["busy", "timed_out", "not_reached"]))))]
async fn reset<M: Management>(
    State(m): Manager<M>,
    Name(name): Name,
    mut input: Input,
) -> Answer<InstanceView> {
    let wait = Wait::of(&mut input);
    input.finish(Some(()))?;
    let doer = m.clone();
    wait.after(m, async move { doer.reset(&name).await }).await
}
