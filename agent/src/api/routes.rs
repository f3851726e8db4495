//! The routes, under `/api/v1` and the same under `/api`. `docs/API.md` describes them.

use std::future::Future;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::routing::{get, post, put};
use axum::{Json, Router, middleware};
use http::{Method, StatusCode, Uri};
use tenement_wire::dto::{
    ConfigCheck, ConfigView, Health, InstanceList, InstanceView, LimitsSet, Removed,
    State as Doing, Version, Why,
};
use tenement_wire::status::{History, StateDatabase};
use tenement_wire::{InstanceName, ProcessName};

use super::input::Input;
use super::logs;
use super::problem::Problem;
use super::secrets;
use super::trace::trace;
use crate::flows::logbook::{Logs, NoLogs};
use crate::flows::{ManageError, Management, Spawn};

pub(super) type Answer<T> = Result<Json<T>, Problem>;
type Manager<M> = State<Arc<M>>;

/// The API of an agent without an index of logs.
pub fn router<M: Management>(management: Arc<M>) -> Router {
    router_with_logs(management, Arc::new(NoLogs { reason: "this agent keeps no index".into() }))
}

/// The whole API. It needs no more than `serve` to be reachable.
pub fn router_with_logs<M: Management>(management: Arc<M>, logs: Arc<dyn Logs>) -> Router {
    let desk = logs::Desk::new(logs);
    let routes = || routes::<M>().merge(logs::routes(desk.clone()));
    Router::new()
        .nest("/api/v1", routes())
        .nest("/api", routes())
        .fallback(|uri: Uri| async move { Problem::no_route(uri.path()) })
        .layer(middleware::from_fn(trace))
        .with_state(management)
}

fn routes<M: Management>() -> Router<Arc<M>> {
    Router::new()
        .route("/instances", get(list::<M>).post(spawn::<M>))
        .route("/instances/{name}", get(show::<M>).patch(set::<M>).delete(remove::<M>))
        .route("/instances/{name}/wake", post(wake::<M>))
        .route("/instances/{name}/sleep", post(sleep::<M>))
        .route("/instances/{name}/stop", post(stop::<M>))
        .route("/instances/{name}/restart", post(restart::<M>))
        .route("/instances/{name}/reset", post(reset::<M>))
        .route("/instances/{name}/why", get(why::<M>))
        .route("/instances/{name}/history", get(history::<M>))
        .route("/instances/{name}/secrets", get(secrets::list::<M>))
        .route(
            "/instances/{name}/secrets/{secret}",
            put(secrets::set::<M>).delete(secrets::remove::<M>),
        )
        .route("/config", get(config::<M>))
        .route("/config/check", post(config_check::<M>))
        .route("/config/reload", post(reload::<M>))
        .route("/state", get(state::<M>))
        .route("/version", get(version::<M>))
        .route("/health", get(health))
        .method_not_allowed_fallback(|method: Method| async move {
            Problem::method_not_allowed(&method)
        })
}

/// The instance in the path.
pub(super) struct Name(pub(super) InstanceName);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::malformed("the path is not UTF-8"))?;
        text.parse().map(Self).map_err(|error| Problem::invalid_name(&error))
    }
}

/// Runs a verb in a task of its own: a client that hangs up must not leave it half done, and a panic
/// must not take the connection with it.
pub(super) async fn detached<T, F>(verb: F) -> Answer<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T, ManageError>> + Send + 'static,
{
    match tokio::spawn(verb).await {
        Ok(result) => Ok(Json(result?)),
        Err(error) => Err(ManageError::Internal(Box::new(error)).into()),
    }
}

async fn list<M: Management>(State(m): Manager<M>, mut input: Input) -> Answer<InstanceList> {
    let process: Option<ProcessName> = input.parameter("process");
    let state: Option<Doing> = input.parameter("state");
    input.finish(Some(()))?;
    let Json(mut instances) = detached(async move { m.list().await }).await?;
    instances.retain(|view| {
        process.as_ref().is_none_or(|p| view.name.process() == p)
            && state.is_none_or(|s| view.state == s)
    });
    Ok(Json(InstanceList { instances }))
}

async fn spawn<M: Management>(
    State(m): Manager<M>,
    mut input: Input,
) -> Result<(StatusCode, Json<InstanceList>), Problem> {
    let process: Option<ProcessName> = input.required("process");
    let ids = input.list("ids");
    let start = input.switch("start", true);
    let request = input.finish(process.map(|process| Spawn { process, ids, start }))?;
    let Json(instances) = detached(async move { m.spawn(request).await }).await?;
    Ok((StatusCode::CREATED, Json(InstanceList { instances })))
}

async fn show<M: Management>(
    State(m): Manager<M>,
    Name(name): Name,
    input: Input,
) -> Answer<InstanceView> {
    input.finish(Some(()))?;
    detached(async move { m.show(&name).await }).await
}

async fn set<M: Management>(
    State(m): Manager<M>,
    Name(name): Name,
    mut input: Input,
) -> Answer<LimitsSet> {
    let changes = input.limits("limits");
    let changes = input.finish(Some(changes))?;
    detached(async move { m.set(&name, changes).await }).await
}

async fn remove<M: Management>(
    State(m): Manager<M>,
    Name(name): Name,
    mut input: Input,
) -> Answer<Removed> {
    let purge = input.flag("purge");
    input.finish(Some(()))?;
    detached(async move { m.remove(&name, purge).await }).await
}

async fn wake<M: Management>(
    State(m): Manager<M>,
    Name(name): Name,
    input: Input,
) -> Answer<InstanceView> {
    input.finish(Some(()))?;
    detached(async move { m.wake(&name).await }).await
}

async fn sleep<M: Management>(
    State(m): Manager<M>,
    Name(name): Name,
    mut input: Input,
) -> Answer<InstanceView> {
    let force = input.flag("force");
    input.finish(Some(()))?;
    detached(async move { m.sleep(&name, force).await }).await
}

async fn stop<M: Management>(
    State(m): Manager<M>,
    Name(name): Name,
    input: Input,
) -> Answer<InstanceView> {
    input.finish(Some(()))?;
    detached(async move { m.stop(&name).await }).await
}

async fn restart<M: Management>(
    State(m): Manager<M>,
    Name(name): Name,
    input: Input,
) -> Answer<InstanceView> {
    input.finish(Some(()))?;
    detached(async move { m.restart(&name).await }).await
}

async fn reset<M: Management>(
    State(m): Manager<M>,
    Name(name): Name,
    input: Input,
) -> Answer<InstanceView> {
    input.finish(Some(()))?;
    detached(async move { m.reset(&name).await }).await
}

async fn why<M: Management>(State(m): Manager<M>, Name(name): Name, input: Input) -> Answer<Why> {
    input.finish(Some(()))?;
    detached(async move { m.why(&name).await }).await
}

/// How many entries of a history are asked for.
struct Limit(u32);

impl FromStr for Limit {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(limit @ 1..=100) => Ok(Self(limit)),
            _ => Err("must be a number from 1 to 100"),
        }
    }
}

async fn history<M: Management>(
    State(m): Manager<M>,
    Name(name): Name,
    mut input: Input,
) -> Answer<History> {
    let Limit(limit) = input.parameter("limit").unwrap_or(Limit(100));
    input.finish(Some(()))?;
    detached(async move { m.history(&name, limit).await }).await
}

async fn config<M: Management>(State(m): Manager<M>, input: Input) -> Answer<ConfigView> {
    input.finish(Some(()))?;
    detached(async move { m.config().await }).await
}

async fn config_check<M: Management>(
    State(m): Manager<M>,
    mut input: Input,
) -> Answer<ConfigCheck> {
    let files = input.files("files");
    let files = input.finish(Some(files))?;
    detached(async move { m.config_check(files).await }).await
}

async fn reload<M: Management>(State(m): Manager<M>, input: Input) -> Answer<ConfigView> {
    input.finish(Some(()))?;
    detached(async move { m.reload().await }).await
}

async fn state<M: Management>(State(m): Manager<M>, input: Input) -> Answer<StateDatabase> {
    input.finish(Some(()))?;
    detached(async move { m.state().await }).await
}

async fn version<M: Management>(State(m): Manager<M>, input: Input) -> Answer<Version> {
    input.finish(Some(()))?;
    detached(async move { m.version().await }).await
}

/// Answers as long as the agent accepts; it asks nothing of systemd.
async fn health(input: Input) -> Answer<Health> {
    input.finish(Some(Json(Health { status: "ok".into() })))
}
