//! The routes of deployments: begin, follow, end; and of where instances stay.
//!
//! A deployment is answered with 202 as soon as it is stored, and goes on by itself. `?wait=30s` waits for its end.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use http::StatusCode;
use tenement_wire::deploys::{
    DeployList, DeployView, MoveRoute, PinView, SetPin, StartDeploy, StartRollback, Strategy,
};
use tenement_wire::domains::ProcessRouting;
use tenement_wire::{InstanceName, ProcessName};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;

use super::access::Caller;
use super::input::Input;
use super::problem::Problem;
use super::routes::{Name, ProcessInPath, collect};
use super::seats::{Seat, Waiter};
use crate::flows::ManageError;
use crate::flows::deploys::desk::Rollouts;
use crate::flows::deploys::{Deploy, DeployError, DeployOrder};
use crate::flows::events::{request, within};

/// Longest wait, in seconds.
const WAIT_MAX: u64 = 300;
/// Steps of a canary at most.
const STEPS_MAX: usize = 100;
/// Longest step, in seconds.
const STEP_MAX: u64 = 7 * 24 * 60 * 60;
/// Most instances that are restarted side by side.
const BATCH_MAX: u64 = 1000;

type Desk = Arc<dyn Rollouts>;

/// The routes, below `/api/v1` and `/api`.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(desk: Desk) -> OpenApiRouter<S> {
    OpenApiRouter::new()
        .routes(collect!(list_deploys, start_deploy))
        .routes(collect!(show_deploy))
        .routes(collect!(abort_deploy))
        .routes(collect!(start_rollback))
        .routes(collect!(move_route))
        .routes(collect!(pin_instance, unpin_instance))
        .with_state(desk)
}

/// The process and the deployment in the path.
struct Names(ProcessName, String);

impl<S: Send + Sync> FromRequestParts<S> for Names {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path((process, id)) = Path::<(String, String)>::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::malformed("the path is not UTF-8"))?;
        let process = process.parse().map_err(|error| Problem::invalid_name(&error))?;
        // What else it may be, it is nobody's id.
        let id = id.chars().filter(|c| !c.is_control()).take(60).collect();
        Ok(Self(process, id))
    }
}

/// The parameters of a request that begins something, for the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "its fields are only described")]
struct Waiting {
    /// Answer when it is over, or after this time: `30s`, from 1s to 300s
    #[param(pattern = "^([1-9][0-9]?|[12][0-9][0-9]|300)s$")]
    wait: Option<String>,
}

struct Bound(Duration);

impl FromStr for Bound {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.strip_suffix('s').filter(|digits| {
            digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0')
        });
        match digits.and_then(|digits| digits.parse().ok()) {
            Some(seconds @ 1..=WAIT_MAX) => Ok(Self(Duration::from_secs(seconds))),
            _ => Err(format!("must be seconds such as 30s, from 1s to {WAIT_MAX}s")),
        }
    }
}

/// How long the answer waits, and whether it may.
struct Wait {
    bound: Option<Duration>,
    waiter: Waiter,
}

impl Wait {
    fn of(input: &mut Input) -> Self {
        let bound = input.parameter("wait").map(|Bound(bound)| bound);
        Self { bound, waiter: input.waiter() }
    }

    /// A seat, if it is to be waited. It is taken before anything is begun.
    fn seat(&self) -> Result<Option<(Duration, Seat)>, Problem> {
        self.bound.map(|bound| Ok((bound, self.waiter.seat()?))).transpose()
    }
}

/// Runs a change in a task of its own: a client that hangs up must not leave it half done.
async fn whole<T: Send + 'static>(
    change: impl Future<Output = Result<T, DeployError>> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::spawn(within(request(), change)).await;
    done.map_err(|error| Problem::from(ManageError::Internal(error.into())))?.map_err(Into::into)
}

type Begun = (StatusCode, Json<DeployView>);

/// 202 while it goes on, 200 once it is over.
async fn begun(deploy: Arc<Deploy>, wait: Option<(Duration, Seat)>) -> Begun {
    let mut watch = deploy.watch();
    if let Some((bound, seat)) = &wait {
        seat.rest();
        let over = watch.wait_for(|view| view.state.is_over());
        let _ = tokio::time::timeout(*bound, over).await;
    }
    let view = deploy.view();
    let status = if view.state.is_over() { StatusCode::OK } else { StatusCode::ACCEPTED };
    (status, Json(view))
}

/// List the deployments of a process
#[utoipa::path(get, path = "/processes/{process}/deploys", tag = "releases", security(("token" = ["read"])),
    params(("process" = ProcessName, Path)),
    responses((status = 200, description = "The newest first", body = DeployList)),
    extensions(("x-problems" = json!(["unknown_process"]))))]
async fn list_deploys(
    State(desk): State<Desk>,
    ProcessInPath(process): ProcessInPath,
    input: Input,
) -> Result<Json<DeployList>, Problem> {
    input.finish(Some(()))?;
    Ok(Json(DeployList { deploys: desk.list(&process)? }))
}

/// Move a process to a release
///
/// It goes on by itself; there is one at a time for each process. Its events have its id in `detail.deploy`.
#[utoipa::path(post, path = "/processes/{process}/deploys", tag = "releases", security(("token" = ["operator"])),
    params(("process" = ProcessName, Path), Waiting),
    request_body = StartDeploy,
    responses(
        (status = 202, description = "It goes on", body = DeployView),
        (status = 200, description = "It is over: `state` says how it went", body = DeployView),
    ),
    extensions(("x-problems" = json!(["unknown_process", "unknown_release", "no_releases", "deploy_running"]))))]
async fn start_deploy(
    State(desk): State<Desk>,
    ProcessInPath(process): ProcessInPath,
    mut input: Input,
) -> Result<Begun, Problem> {
    let wait = Wait::of(&mut input);
    let release = input.required("release");
    let strategy = input.optional("strategy").unwrap_or(Strategy::InPlace);
    let now = input.switch("now", false);
    let batch = batch(&mut input);
    let instance = input.optional("instance");
    let steps = input.numbers("steps", 1..=100, STEPS_MAX);
    if steps.as_ref().is_some_and(|s| s.last() != Some(&100) || !s.is_sorted_by(|a, b| a < b)) {
        input.wrong::<()>("steps", "must grow to 100, such as [5, 25, 50, 100]");
    }
    let step = input.number("step_s", 1..=STEP_MAX).map(Duration::from_secs);
    let own = instance.is_some() && strategy == Strategy::InPlace;
    let canary = (steps.is_some() || step.is_some()) && strategy != Strategy::Canary;
    for (wrong, field, goes) in [
        (own, "instance", "goes with blue-green and canary"),
        (canary, "strategy", "must be canary where steps are"),
        (now && strategy != Strategy::InPlace, "now", "goes with in-place"),
    ] {
        if wrong {
            input.wrong::<()>(field, goes);
        }
    }
    let order = release.map(|release| DeployOrder {
        process,
        release,
        strategy,
        now,
        batch,
        instance,
        steps,
        step,
        rollback: false,
    });
    let order = input.finish(order)?;
    let wait = wait.seat()?;
    let deploy = whole(async move { desk.begin(order).await }).await?;
    Ok(begun(deploy, wait).await)
}

fn batch(input: &mut Input) -> Option<u32> {
    input.number("batch", 1..=BATCH_MAX).and_then(|batch| u32::try_from(batch).ok())
}

/// Show a deployment
#[utoipa::path(get, path = "/processes/{process}/deploys/{id}", tag = "releases", security(("token" = ["read"])),
    params(("process" = ProcessName, Path), ("id" = String, Path, min_length = 1, max_length = 60)),
    responses((status = 200, description = "As it is now", body = DeployView)),
    extensions(("x-problems" = json!(["unknown_process", "unknown_deploy"]))))]
async fn show_deploy(
    State(desk): State<Desk>,
    Names(process, id): Names,
    input: Input,
) -> Result<Json<DeployView>, Problem> {
    input.finish(Some(()))?;
    Ok(Json(desk.get(&process, &id)?.view()))
}

/// End a deployment
///
/// Everything is put back as it was before it.
#[utoipa::path(post, path = "/processes/{process}/deploys/{id}/abort", tag = "releases", security(("token" = ["operator"])),
    params(("process" = ProcessName, Path), ("id" = String, Path, min_length = 1, max_length = 60), Waiting),
    responses(
        (status = 202, description = "It is being put back", body = DeployView),
        (status = 200, description = "It is put back", body = DeployView),
    ),
    extensions(("x-problems" = json!(["unknown_process", "unknown_deploy", "deploy_over"]))))]
async fn abort_deploy(
    State(desk): State<Desk>,
    caller: Caller,
    Names(process, id): Names,
    mut input: Input,
) -> Result<Begun, Problem> {
    let wait = Wait::of(&mut input);
    input.finish(Some(()))?;
    let wait = wait.seat()?;
    let deploy = whole(desk.abort(process, id, caller.to_string())).await?;
    Ok(begun(deploy, wait).await)
}

/// Go back to the release before, or to another one
#[utoipa::path(post, path = "/processes/{process}/rollback", tag = "releases", security(("token" = ["operator"])),
    params(("process" = ProcessName, Path), Waiting),
    request_body = StartRollback,
    responses(
        (status = 202, description = "It goes on", body = DeployView),
        (status = 200, description = "It is over: `state` says how it went", body = DeployView),
    ),
    extensions(("x-problems" = json!(["unknown_process", "unknown_release", "no_release", "no_releases", "deploy_running"]))))]
async fn start_rollback(
    State(desk): State<Desk>,
    ProcessInPath(process): ProcessInPath,
    mut input: Input,
) -> Result<Begun, Problem> {
    let wait = Wait::of(&mut input);
    let to = input.optional("to");
    let now = input.switch("now", false);
    let batch = batch(&mut input);
    input.finish(Some(()))?;
    let wait = wait.seat()?;
    let order = DeployOrder::back(process, now, batch);
    let deploy = whole(async move { desk.back(order, to).await }).await?;
    Ok(begun(deploy, wait).await)
}

/// Move the requests of a process from one instance to another
///
/// The weights of both change in one step. Open requests end where they are.
#[utoipa::path(post, path = "/processes/{process}/route", tag = "releases", security(("token" = ["operator"])),
    params(("process" = ProcessName, Path)),
    request_body = MoveRoute,
    responses((status = 200, description = "The weights as they are now", body = ProcessRouting)),
    extensions(("x-problems" = json!(["unknown_process", "unknown_instance", "not_healthy", "deploy_running"]))))]
async fn move_route(
    State(desk): State<Desk>,
    ProcessInPath(process): ProcessInPath,
    mut input: Input,
) -> Result<Json<ProcessRouting>, Problem> {
    let from = input.optional("from");
    let to = input.required("to");
    let force = input.switch("force", false);
    let change = input.finish(to.map(|to| MoveRoute { from, to, force }))?;
    Ok(Json(whole(async move { desk.route(process, change).await }).await?))
}

/// Have an instance stay at a release
///
/// It counts from its next start on; no deployment moves it until it is unpinned.
#[utoipa::path(put, path = "/instances/{name}/pin", tag = "releases", security(("token" = ["operator"])),
    params(("name" = InstanceName, Path)),
    request_body = SetPin,
    responses((status = 200, description = "It stays there", body = PinView)),
    extensions(("x-problems" = json!(["unknown_process", "unknown_release", "no_releases"]))))]
async fn pin_instance(
    State(desk): State<Desk>,
    Name(name): Name,
    mut input: Input,
) -> Result<Json<PinView>, Problem> {
    let release = input.required("release");
    let release = input.finish(release)?;
    Ok(Json(whole(async move { desk.pin(name, Some(release)).await }).await?))
}

/// Have an instance go with its process again
#[utoipa::path(delete, path = "/instances/{name}/pin", tag = "releases", security(("token" = ["operator"])),
    params(("name" = InstanceName, Path)),
    responses((status = 200, description = "It runs from the current release from its next start on", body = PinView)),
    extensions(("x-problems" = json!(["unknown_process", "no_releases"]))))]
async fn unpin_instance(
    State(desk): State<Desk>,
    Name(name): Name,
    input: Input,
) -> Result<Json<PinView>, Problem> {
    input.finish(Some(()))?;
    Ok(Json(whole(async move { desk.pin(name, None).await }).await?))
}
