//! The routes of scheduled jobs.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use tenement_wire::tasks::CronView;
use tenement_wire::{InstanceName, ProcessName};
use utoipa_axum::router::OpenApiRouter;

use super::access::Caller;
use super::input::Input;
use super::problem::Problem;
use super::routes::{Answer, Name, collect};
use crate::flows::events::{request, within};
use crate::flows::tasks::Commands;

type Desk = State<Arc<dyn Commands>>;

/// The routes, below `/api/v1` and `/api`.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(
    commands: Arc<dyn Commands>,
) -> OpenApiRouter<S> {
    OpenApiRouter::new()
        .routes(collect!(list_jobs))
        .routes(collect!(jobs_of_instance))
        .routes(collect!(run_job))
        .with_state(commands)
}

/// The instance and the job in the path.
struct Names(InstanceName, String);

impl<S: Send + Sync> FromRequestParts<S> for Names {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path((name, job)) = Path::<(String, String)>::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::malformed("the path is not UTF-8"))?;
        Ok(Self(name.parse().map_err(|error| Problem::invalid_name(&error))?, job))
    }
}

/// Scheduled jobs
///
/// Of all registered instances, in order of name. Each is asked of systemd, so ask for one process where there are
/// many instances.
#[utoipa::path(get, path = "/cron", tag = "instances", security(("token" = ["read"])),
    params(("process" = Option<ProcessName>, Query, description = "Only those of this process")),
    responses((status = 200, description = "The jobs", body = Vec<CronView>)))]
async fn list_jobs(
    State(commands): Desk,
    caller: Caller,
    mut input: Input,
) -> Answer<Vec<CronView>> {
    let process: Option<ProcessName> = input.parameter("process");
    input.finish(Some(()))?;
    let of = move |name: &InstanceName| {
        caller.sees(name) && process.as_ref().is_none_or(|process| name.process() == process)
    };
    Ok(Json(commands.jobs(Box::new(of)).await?))
}

/// Scheduled jobs of an instance
#[utoipa::path(get, path = "/instances/{name}/cron", tag = "instances", security(("token" = ["read"])),
    params(("name" = InstanceName, Path)),
    responses((status = 200, description = "The jobs; none too for an instance that is not registered", body = Vec<CronView>)))]
async fn jobs_of_instance(
    State(commands): Desk,
    Name(name): Name,
    input: Input,
) -> Answer<Vec<CronView>> {
    input.finish(Some(()))?;
    let of = move |one: &InstanceName| *one == name;
    Ok(Json(commands.jobs(Box::new(of)).await?))
}

/// Run a scheduled job now
///
/// It is begun, and `running` and `last_result` of the job tell how it goes. Its output is in the instance's log.
#[utoipa::path(post, path = "/instances/{name}/cron/{job}/run", tag = "instances", security(("token" = ["operator"])),
    params(("name" = InstanceName, Path), ("job" = String, Path, description = "Its name in the config")),
    responses((status = 200, description = "The job", body = CronView)),
    extensions(("x-problems" = json!(["busy", "no_release", "unknown_job"]))))]
async fn run_job(State(commands): Desk, Names(name, job): Names, input: Input) -> Answer<CronView> {
    input.finish(Some(()))?;
    let begun = tokio::spawn(within(request(), commands.run_job(&name, &job))).await;
    Ok(Json(begun.map_err(|error| Problem::internal(&error))??))
}
