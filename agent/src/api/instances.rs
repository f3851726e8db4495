//! The routes of instances that say and change what is registered. Those that make them run are in
//! [`super::verbs`].

use std::str::FromStr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use tenement_wire::dto::{
    InstanceList, InstanceView, LimitsChange, LimitsSet, Removed, SpawnRequest, State as Doing, Why,
};
use tenement_wire::status::History;
use tenement_wire::{InstanceId, InstanceName, ProcessName, Scope};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;

use super::access::Caller;
use super::input::Input;
use super::problem::Problem;
use super::routes::{Answer, Manager, Name, collect, detached};
use super::wait::{Wait, Waiting};
use crate::flows::{ManageError, Management, Spawn};

/// The routes, below `/api/v1` and `/api`.
pub(super) fn routes<M: Management>() -> OpenApiRouter<Arc<M>> {
    OpenApiRouter::new()
        .routes(collect!(M => list, spawn))
        .routes(collect!(M => show, set, remove))
        .routes(collect!(M => why))
        .routes(collect!(M => history))
}

/// List instances
///
/// Page by page: `next` is the `cursor` of the next page.
#[utoipa::path(get, path = "/instances", operation_id = "list_instances", tag = "instances",
    security(("token" = ["read"])),
    params(Filter),
    responses((status = 200, description = "In order of name", body = InstanceList)))]
async fn list<M: Management>(
    State(m): Manager<M>,
    caller: Caller,
    mut input: Input,
) -> Answer<InstanceList> {
    let process: Option<ProcessName> = input.parameter("process");
    let state: Option<Doing> = input.parameter("state");
    let Text(text) = input.parameter("text").unwrap_or_default();
    let Page(limit) = input.parameter("limit").unwrap_or(Page(PAGE_MAX));
    let cursor: Option<InstanceName> = input.parameter("cursor");
    input.finish(Some(()))?;
    let Json(mut instances) = detached(async move { m.list().await }).await?;
    instances.retain(|view| {
        caller.sees(&view.name)
            && process.as_ref().is_none_or(|p| view.name.process() == p)
            && state.is_none_or(|s| view.state == s)
            && (text.is_empty()
                || view.name.to_string().contains(&text)
                || view.url.contains(&text))
    });
    let total = instances.len() as u64;
    if let Some(cursor) = cursor {
        instances.retain(|view| view.name > cursor);
    }
    let more = instances.len() > limit;
    instances.truncate(limit);
    let next = instances.last().filter(|_| more).map(|view| view.name.clone());
    Ok(Json(InstanceList { instances, total, next }))
}

/// Instances on one page at most.
const PAGE_MAX: usize = 1000;

/// The parameters of a list, for the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "its fields are only described")]
struct Filter {
    /// Only instances of this process
    process: Option<ProcessName>,
    /// Only those in this state
    #[param(inline)]
    state: Option<Doing>,
    /// Only those with this text in their name or URL
    #[param(min_length = 1, max_length = 100)]
    text: Option<String>,
    /// Instances at most (1000)
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Only those after this one: the `next` of the page before
    cursor: Option<InstanceName>,
}

struct Page(usize);

impl FromStr for Page {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(limit @ 1..=PAGE_MAX) => Ok(Self(limit)),
            _ => Err(format!("must be a number from 1 to {PAGE_MAX}")),
        }
    }
}

#[derive(Default)]
struct Text(String);

impl FromStr for Text {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.chars().count() {
            1..=100 => Ok(Self(text.to_owned())),
            _ => Err("must have 1 to 100 characters"),
        }
    }
}

/// Register instances, and start them
///
/// Explicit ids are registered all or none. Without ids it means `1..=instances` of the config, and those
/// that exist are kept. An instance whose start failed stays registered.
#[utoipa::path(post, path = "/instances", tag = "instances", security(("token" = ["operator"])),
    params(Waiting),
    request_body = SpawnRequest,
    responses((status = 201, description = "Every instance that was meant", body = InstanceList)),
    extensions(("x-problems" = json!(["unknown_process", "already_exists", "busy", "no_free_port", "no_release", "start_failed", "timed_out", "not_reached"]))))]
async fn spawn<M: Management>(
    State(m): Manager<M>,
    caller: Caller,
    mut input: Input,
) -> Result<(StatusCode, Json<InstanceList>), Problem> {
    let process: Option<ProcessName> = input.required("process");
    let ids = input.list("ids");
    let start = input.switch("start", true);
    let wait = Wait::of(&mut input);
    let request = input.finish(process.map(|process| Spawn { process, ids, start }))?;
    may_spawn(&caller, &request)?;
    let seat = wait.seat()?;
    let spawner = m.clone();
    let Json(spawned) = detached(async move { spawner.spawn(request).await }).await?;
    let total = spawned.len() as u64;
    // One time for all of them.
    let deadline = wait.begin(seat.as_ref());
    let mut instances = Vec::with_capacity(spawned.len());
    for view in spawned {
        instances.push(wait.until(m.clone(), view, deadline).await?.0);
    }
    Ok((StatusCode::CREATED, Json(InstanceList { instances, total, next: None })))
}

/// A restricted caller registers what they would see then, and learns nothing of other processes.
fn may_spawn(caller: &Caller, spawn: &Spawn) -> Result<(), Problem> {
    let Spawn { process, ids, .. } = spawn;
    if !caller.sees_process(process) {
        let (process, known) = (process.clone(), Vec::new());
        return Err(ManageError::UnknownProcess { process, known }.into());
    }
    let seen = |id: &InstanceId| caller.sees(&InstanceName::new(process.clone(), id.clone()));
    let unnamed = ids.is_empty() && caller.reach().instance().is_some();
    if unnamed || !ids.iter().all(seen) {
        return Err(Problem::forbidden_reach());
    }
    Ok(())
}

/// Show an instance
#[utoipa::path(get, path = "/instances/{name}", tag = "instances", security(("token" = ["read"])),
    params(("name" = InstanceName, Path), Waiting),
    responses((status = 200, description = "As it is now, or when it is waited for", body = InstanceView)),
    extensions(("x-problems" = json!(["not_reached"]))))]
async fn show<M: Management>(
    State(m): Manager<M>,
    Name(name): Name,
    mut input: Input,
) -> Answer<InstanceView> {
    let wait = Wait::of(&mut input);
    input.finish(Some(()))?;
    let looker = m.clone();
    wait.after(m, async move { looker.show(&name).await }).await
}

/// Change limits of one instance
///
/// They count beside those of the config, and never above its maxima. A `memory_max` below what is in use
/// makes the kernel reclaim, or kill, at once.
#[utoipa::path(patch, path = "/instances/{name}", tag = "instances", security(("token" = ["admin"])),
    params(("name" = InstanceName, Path)),
    request_body(content = Option<LimitsChange>),
    responses((status = 200, description = "The limits in force", body = LimitsSet)),
    extensions(("x-problems" = json!(["busy"]))))]
async fn set<M: Management>(
    State(m): Manager<M>,
    Name(name): Name,
    mut input: Input,
) -> Answer<LimitsSet> {
    let changes = input.limits("limits");
    let changes = input.finish(Some(changes))?;
    detached(async move { m.set(&name, changes).await }).await
}

/// Stop an instance and forget it
///
/// To delete its data too needs a token of scope admin.
#[utoipa::path(delete, path = "/instances/{name}", tag = "instances", security(("token" = ["operator"])),
    params(
        ("name" = InstanceName, Path),
        ("purge" = Option<bool>, Query, description = "Delete its data too"),
    ),
    responses((status = 200, description = "What was removed", body = Removed)),
    extensions(("x-problems" = json!(["busy", "stop_failed", "timed_out"]))))]
async fn remove<M: Management>(
    State(m): Manager<M>,
    Name(name): Name,
    caller: Caller,
    mut input: Input,
) -> Answer<Removed> {
    let purge = input.flag("purge");
    input.finish(Some(()))?;
    if purge {
        caller.must(Scope::Admin)?;
    }
    detached(async move { m.remove(&name, purge).await }).await
}

/// Why an instance is awake or asleep
#[utoipa::path(get, path = "/instances/{name}/why", tag = "instances", security(("token" = ["read"])),
    params(("name" = InstanceName, Path)),
    responses((status = 200, description = "The reason, and what holds it", body = Why)))]
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

/// How the state of an instance changed
#[utoipa::path(get, path = "/instances/{name}/history", tag = "instances", security(("token" = ["read"])),
    params(
        ("name" = InstanceName, Path),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100, description = "Changes at most (100)"),
    ),
    responses((status = 200, description = "Newest first", body = History)))]
async fn history<M: Management>(
    State(m): Manager<M>,
    Name(name): Name,
    mut input: Input,
) -> Answer<History> {
    let Limit(limit) = input.parameter("limit").unwrap_or(Limit(100));
    input.finish(Some(()))?;
    detached(async move { m.history(&name, limit).await }).await
}
