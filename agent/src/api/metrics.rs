//! What the agent counts, in one answer.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use tenement_wire::dto::MetricsSummary;
use utoipa_axum::router::OpenApiRouter;

use super::input::Input;
use super::routes::{Answer, Manager, collect, detached};
use crate::flows::Management;
use crate::flows::logbook::Logs;

/// The route, below `/api/v1` and `/api`.
pub(super) fn routes<M: Management>(logs: Arc<dyn Logs>) -> OpenApiRouter<Arc<M>> {
    OpenApiRouter::new().routes(collect!(M => metrics_summary)).layer(Extension(logs))
}

/// What the agent counts
#[utoipa::path(get, path = "/metrics/summary", tag = "agent", security(("token" = ["read"])),
    responses((status = 200, description = "Since the agent was started", body = MetricsSummary)))]
async fn metrics_summary<M: Management>(
    State(m): Manager<M>,
    Extension(logs): Extension<Arc<dyn Logs>>,
    input: Input,
) -> Answer<MetricsSummary> {
    input.finish(Some(()))?;
    let Json(mut summary) = detached(async move { m.metrics().await }).await?;
    if let Ok(usage) = logs.usage().await {
        summary.logs_bytes = Some(usage.bytes);
        summary.logs_lines = Some(usage.lines);
    }
    Ok(Json(summary))
}
