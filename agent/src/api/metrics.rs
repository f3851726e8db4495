//! What the agent counts and measures: in one answer, step by step, and now.

use std::str::FromStr;
use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use http::StatusCode;
use tenement_wire::InstanceName;
use tenement_wire::dto::MetricsSummary;
use tenement_wire::metrics::{MetricsHistory, MetricsLive};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;

use super::access::Caller;
use super::input::Input;
use super::logs::ask;
use super::problem::Problem;
use super::routes::{Answer, Manager, collect, detached};
use crate::flows::logbook::Logs;
use crate::flows::metrics::{Ask, Figures, FiguresError};
use crate::flows::{ManageError, Management};

/// The shortest step, and what others are multiples of, in seconds.
const MINUTE: u64 = 60;
/// The longest.
const STEP_MAX: u64 = 86_400;
/// Without `since`, the past that is told of.
const HOUR: u64 = 3600;

/// The routes, below `/api/v1` and `/api`.
pub(super) fn routes<M: Management>(
    logs: Arc<dyn Logs>,
    figures: Arc<dyn Figures>,
) -> OpenApiRouter<Arc<M>> {
    OpenApiRouter::new()
        .routes(collect!(M => metrics_summary))
        .routes(collect!(metrics_history))
        .routes(collect!(metrics_live))
        .layer(Extension(logs))
        .layer(Extension(figures))
}

/// What the agent counts
#[utoipa::path(get, path = "/metrics/summary", tag = "agent", security(("token" = ["read"])),
    responses((status = 200, description = "Since the agent was started", body = MetricsSummary)))]
async fn metrics_summary<M: Management>(
    State(m): Manager<M>,
    Extension(logs): Extension<Arc<dyn Logs>>,
    Extension(figures): Extension<Arc<dyn Figures>>,
    input: Input,
) -> Answer<MetricsSummary> {
    input.finish(Some(()))?;
    let Json(mut summary) = detached(async move { m.metrics().await }).await?;
    if let Ok(usage) = logs.usage().await {
        summary.logs_bytes = Some(usage.bytes);
        summary.logs_lines = Some(usage.lines);
    }
    if let (Ok(live), Ok(host)) = (figures.live().await, figures.host().await) {
        let sum = |of: fn(&tenement_wire::metrics::InstanceLive) -> f64| {
            live.instances.iter().map(of).sum::<f64>()
        };
        summary.requests_per_second = Some(sum(|one| one.requests_per_second));
        summary.errors_per_second = Some(sum(|one| one.errors_per_second));
        summary.cpu_cores = Some(sum(|one| one.cpu_cores.unwrap_or(0.0)));
        summary.memory_bytes = Some(live.instances.iter().filter_map(|one| one.memory_bytes).sum());
        summary.host = Some(host);
    }
    Ok(Json(summary))
}

/// The parameters of the history, for the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "its fields are only described")]
struct Wanted {
    /// Only of this instance; without it, of all together
    instance: Option<InstanceName>,
    /// From this time on (`1h`): RFC 3339, `10m`, `yesterday` and the like (docs/LOGS.md)
    #[param(min_length = 1, max_length = 100, format = "tenement-time")]
    since: Option<String>,
    /// Until this time (now), which is after `since`
    #[param(min_length = 1, max_length = 100, format = "tenement-time")]
    until: Option<String>,
    /// The time zone of such times: `Europe/Berlin` or `+02:00`
    #[param(min_length = 1, max_length = 64, format = "tenement-zone")]
    zone: Option<String>,
    /// Seconds of a step: a multiple of 60. Without it, and where steps so short are not kept any more, 60 for
    /// the last day and 900 for what lies before
    #[param(minimum = 60, maximum = 86400, multiple_of = 60)]
    step: Option<u64>,
}

/// What was measured, step by step
///
/// Minutes are kept for a day, and quarters of an hour for a month. A token that is restricted to an instance gets
/// that, and one that is restricted to a process names an instance.
#[utoipa::path(get, path = "/metrics/history", tag = "agent", security(("token" = ["read"])),
    params(Wanted),
    responses((status = 200, description = "Oldest first", body = MetricsHistory)),
    extensions(("x-problems" = json!(["unknown_instance", "metrics_off", "unavailable"]))))]
async fn metrics_history(
    Extension(figures): Extension<Arc<dyn Figures>>,
    caller: Caller,
    mut input: Input,
) -> Answer<MetricsHistory> {
    let mut asked = wanted(&mut input);
    if let Some(asked) = asked.as_mut().filter(|asked| asked.instance.is_none()) {
        let reach = caller.reach();
        let own = reach.process().zip(reach.instance());
        asked.instance = own.map(|(process, id)| InstanceName::new(process.clone(), id.clone()));
        if asked.instance.is_none() && !caller.sees_all() {
            input.wrong::<()>("instance", "is needed: the token is restricted to a process");
        }
    }
    let asked = input.finish(asked)?;
    if let Some(name) = asked.instance.as_ref().filter(|name| !caller.sees(name)) {
        return Err(Problem::unknown_instance(name));
    }
    Ok(Json(figures.history(asked).await.map_err(problem)?))
}

fn wanted(input: &mut Input) -> Option<Ask> {
    let now = ask::now(input);
    let present = now.timestamp().as_second().max(0) as u64;
    let seconds = |us: u64| us / 1_000_000;
    let until = ask::time(input, "until", &now).map_or(present, seconds);
    let since = ask::time(input, "since", &now).map_or(until.saturating_sub(HOUR), seconds);
    if since >= until {
        input.wrong::<()>("until", "must be after since");
    }
    let instance = input.parameter("instance");
    let Step(step) = input.parameter("step").unwrap_or(Step(MINUTE));
    // The second that is under way is part of the answer.
    let until = if until == present { until + 1 } else { until };
    Some(Ask { instance, since, until, step })
}

struct Step(u64);

impl FromStr for Step {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(step) if (MINUTE..=STEP_MAX).contains(&step) && step % MINUTE == 0 => Ok(Self(step)),
            _ => Err(format!("must be a multiple of {MINUTE}, {STEP_MAX} at most")),
        }
    }
}

/// What instances do now
///
/// Rates are of the time since the answer before, whoever got that: ask again after a second or more. The host is
/// in `/metrics/summary`.
#[utoipa::path(get, path = "/metrics/live", tag = "agent", security(("token" = ["read"])),
    responses((status = 200, description = "In order of name", body = MetricsLive)),
    extensions(("x-problems" = json!(["metrics_off"]))))]
async fn metrics_live(
    Extension(figures): Extension<Arc<dyn Figures>>,
    caller: Caller,
    input: Input,
) -> Answer<MetricsLive> {
    input.finish(Some(()))?;
    let mut live = figures.live().await.map_err(problem)?;
    live.instances.retain(|one| caller.sees(&one.name));
    Ok(Json(live))
}

pub(super) fn problem(error: FiguresError) -> Problem {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let (detail, hint) = (error.to_string(), "see the agent's log: journalctl -u tenement");
    match error {
        FiguresError::NotFound(name) => ManageError::NotFound { name, similar: Vec::new() }.into(),
        FiguresError::Off => Problem::new(status, "metrics_off", &detail, hint),
        FiguresError::Unreadable(cause) => {
            let mut problem = Problem::new(status, "unavailable", &detail, hint);
            problem.cause = Some(cause.to_string());
            problem
        }
    }
}
