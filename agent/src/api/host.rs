//! The routes of the agent itself: its config and processes, its database, its version.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use tenement_wire::ProcessName;
use tenement_wire::dto::{
    CheckRequest, ConfigCheck, ConfigView, ProcessList, ProcessView, Version,
};
use tenement_wire::status::StateDatabase;
use utoipa_axum::router::OpenApiRouter;

use super::input::Input;
use super::routes::{Answer, Manager, ProcessInPath, collect, detached};
use crate::flows::{ManageError, Management};

/// The routes, below `/api/v1` and `/api`.
pub(super) fn routes<M: Management>() -> OpenApiRouter<Arc<M>> {
    OpenApiRouter::new()
        .routes(collect!(M => config))
        .routes(collect!(M => config_check))
        .routes(collect!(M => config_reload))
        .routes(collect!(M => state))
        .routes(collect!(M => version))
        .routes(collect!(M => processes))
        .routes(collect!(M => process))
}

/// The config that the agent runs on
#[utoipa::path(get, path = "/config", tag = "config", security(("token" = ["read"])),
    responses((status = 200, description = "With the errors of newer files, if any", body = ConfigView)))]
async fn config<M: Management>(State(m): Manager<M>, input: Input) -> Answer<ConfigView> {
    input.finish(Some(()))?;
    detached(async move { m.config().await }).await
}

/// The processes of the config, as understood
#[utoipa::path(get, path = "/processes", tag = "config", security(("token" = ["read"])),
    responses((status = 200, description = "In order of name", body = ProcessList)))]
async fn processes<M: Management>(State(m): Manager<M>, input: Input) -> Answer<ProcessList> {
    input.finish(Some(()))?;
    let Json(config) = detached(async move { m.config().await }).await?;
    Ok(Json(ProcessList { processes: config.processes }))
}

/// One process of the config, as understood
#[utoipa::path(get, path = "/processes/{process}", tag = "config", security(("token" = ["read"])),
    params(("process" = ProcessName, Path)),
    responses((status = 200, description = "Its validated config", body = ProcessView)),
    extensions(("x-problems" = json!(["unknown_process"]))))]
async fn process<M: Management>(
    State(m): Manager<M>,
    ProcessInPath(process): ProcessInPath,
    input: Input,
) -> Answer<ProcessView> {
    input.finish(Some(()))?;
    let Json(config) = detached(async move { m.config().await }).await?;
    let known = config.processes.iter().filter_map(|view| view.name.parse().ok()).collect();
    let found = config.processes.into_iter().find(|view| view.name == process.as_str());
    found.map(Json).ok_or_else(|| ManageError::UnknownProcess { process, known }.into())
}

/// Check a config without taking it
///
/// The files are texts, never paths: the agent reads no file that a caller names. Without any, the files on
/// disk are checked.
#[utoipa::path(post, path = "/config/check", tag = "config", security(("token" = ["admin"])),
    request_body(content = Option<CheckRequest>),
    responses((status = 200, description = "Every error of it", body = ConfigCheck)))]
async fn config_check<M: Management>(
    State(m): Manager<M>,
    mut input: Input,
) -> Answer<ConfigCheck> {
    let files = input.files("files");
    let files = input.finish(Some(files))?;
    detached(async move { m.config_check(files).await }).await
}

/// Read the config from disk and take it
///
/// A config with errors is refused with all of them, and the running one stays.
#[utoipa::path(post, path = "/config/reload", tag = "config", security(("token" = ["admin"])),
    responses((status = 200, description = "The config now", body = ConfigView)),
    extensions(("x-problems" = json!(["config_rejected", "no_free_port"]))))]
async fn config_reload<M: Management>(State(m): Manager<M>, input: Input) -> Answer<ConfigView> {
    input.finish(Some(()))?;
    detached(async move { m.reload().await }).await
}

/// How the state database is
#[utoipa::path(get, path = "/state", tag = "agent", security(("token" = ["read"])),
    responses((status = 200, description = "Its file, its copy, its trouble", body = StateDatabase)))]
async fn state<M: Management>(State(m): Manager<M>, input: Input) -> Answer<StateDatabase> {
    input.finish(Some(()))?;
    detached(async move { m.state().await }).await
}

/// Versions of the agent and of systemd
#[utoipa::path(get, path = "/version", tag = "agent", security(("token" = ["read"])),
    responses((status = 200, description = "Versions", body = Version)))]
async fn version<M: Management>(State(m): Manager<M>, input: Input) -> Answer<Version> {
    input.finish(Some(()))?;
    detached(async move { m.version().await }).await
}
