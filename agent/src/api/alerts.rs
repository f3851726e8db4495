//! The routes of alerts: how sending goes, and a test.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use tenement_wire::alerts::{AlertTried, AlertsView};
use utoipa_axum::router::OpenApiRouter;

use super::input::Input;
use super::problem::Problem;
use super::routes::{Answer, collect};
use crate::flows::alerts::Alerts;

/// None: this agent sends none.
type Desk = Option<Alerts>;

/// The routes, below `/api/v1` and `/api`.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(alerts: Desk) -> OpenApiRouter<S> {
    OpenApiRouter::new()
        .routes(collect!(show_alerts))
        .routes(collect!(test_alert))
        .with_state(alerts)
}

/// Where alerts go, and how the last ones went
#[utoipa::path(get, path = "/alerts", tag = "events", security(("token" = ["read"])),
    responses((status = 200, description = "Counted since the agent started", body = AlertsView)))]
async fn show_alerts(State(alerts): State<Desk>, input: Input) -> Answer<AlertsView> {
    input.finish(Some(()))?;
    Ok(Json(alerts.map(|alerts| alerts.view()).unwrap_or_default()))
}

/// Send a test alert now, once
#[utoipa::path(post, path = "/alerts/test", tag = "events", security(("token" = ["admin"])),
    responses((status = 200, description = "What the receiver said, or why it could not be asked", body = AlertTried)),
    extensions(("x-problems" = json!(["alerts_off"]))))]
async fn test_alert(State(alerts): State<Desk>, input: Input) -> Answer<AlertTried> {
    input.finish(Some(()))?;
    let tried = match alerts {
        Some(alerts) => alerts.test().await,
        None => None,
    };
    tried.map(Json).ok_or_else(|| {
        let (detail, hint) = (
            "no receiver of alerts is configured",
            "add [alerts] with url and secret_file to the config",
        );
        Problem::new(StatusCode::CONFLICT, "alerts_off", detail, hint)
    })
}
