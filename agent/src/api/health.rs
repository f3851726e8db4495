//! Whether the agent is there, and whether it can do its work. Open to all, and terse: who asks learns no more
//! than yes or no. The log has the reason.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use tenement_wire::dto::Health;
use utoipa_axum::router::OpenApiRouter;

use super::input::Input;
use super::problem::Problem;
use super::routes::{Answer, Manager, collect, detached};
use crate::flows::Management;

/// The routes, below `/api/v1` and `/api`.
pub(super) fn routes<M: Management>() -> OpenApiRouter<Arc<M>> {
    OpenApiRouter::new().routes(collect!(health)).routes(collect!(M => readyz))
}

/// The routes at the root, where load balancers look.
pub(super) fn at_the_root<M: Management>() -> OpenApiRouter<Arc<M>> {
    OpenApiRouter::new()
        .routes(collect!(health_at_root))
        .routes(collect!(healthz))
        .routes(collect!(M => readyz_at_root))
}

/// Whether the agent accepts requests
///
/// It asks nothing of systemd.
#[utoipa::path(get, path = "/health", tag = "agent", security(()),
    responses((status = 200, description = "It does", body = Health)))]
async fn health(input: Input) -> Answer<Health> {
    input.finish(Some(Json(Health { status: "ok".into() })))
}

/// Whether the agent accepts requests
#[utoipa::path(get, path = "/health", tag = "agent", security(()),
    responses((status = 200, description = "It does", body = Health)))]
async fn health_at_root(input: Input) -> Answer<Health> {
    health(input).await
}

/// Whether the agent accepts requests
#[utoipa::path(get, path = "/healthz", tag = "agent", security(()),
    responses((status = 200, description = "It does", body = Health)))]
async fn healthz(input: Input) -> Answer<Health> {
    health(input).await
}

/// Whether the agent can do its work
///
/// The state database can be written, and systemd answers.
#[utoipa::path(get, path = "/readyz", tag = "agent", security(()),
    responses((status = 200, description = "It can", body = Health)),
    extensions(("x-problems" = json!(["not_ready"]))))]
async fn readyz<M: Management>(State(m): Manager<M>, input: Input) -> Answer<Health> {
    input.finish(Some(()))?;
    match detached(async move { m.ready().await }).await {
        Ok(Json(())) => Ok(Json(Health { status: "ok".into() })),
        Err(problem) => Err(Problem::not_ready(problem)),
    }
}

/// Whether the agent can do its work
#[utoipa::path(get, path = "/readyz", tag = "agent", security(()),
    responses((status = 200, description = "It can", body = Health)),
    extensions(("x-problems" = json!(["not_ready"]))))]
async fn readyz_at_root<M: Management>(m: Manager<M>, input: Input) -> Answer<Health> {
    readyz(m, input).await
}
