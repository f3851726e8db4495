//! The routes of logs: search, stream, export, usage and SQL.
//!
//! ```text
//! parameters → scope, times, query: all checked, every bad one named at once → Logs → JSON, lines or events
//! ```
//!
//! Unlike the verbs on instances these only read, so they end with the client that asked.

pub(super) mod ask;
mod export;
mod histogram;
mod show;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, header};
use tenement_logs::search::Search;
use tenement_wire::logs::{LogPage, LogsSql, LogsTable, LogsUsage};
use tokio::sync::Semaphore;
use utoipa_axum::router::OpenApiRouter;

use super::access::Caller;
use super::input::Input;
use super::problem::Problem;
use super::routes::collect;
use crate::flows::logbook::{Logs, LogsError};
use ask::{Format, Limit, Order, Seq, Sql, Wanted, What};

/// Streams at once. Each holds a connection of the admin socket, which has 128.
const STREAMS: usize = 64;
/// Exports at once. Each keeps a reader of the index busy.
const EXPORTS: usize = 4;
/// How long a search may take.
const SEARCH_TIME: Duration = Duration::from_secs(5);

/// What the handlers share.
#[derive(Clone)]
pub(super) struct Desk {
    logs: Arc<dyn Logs>,
    streams: Arc<Semaphore>,
    exports: Arc<Semaphore>,
}

impl Desk {
    pub(super) fn new(logs: Arc<dyn Logs>) -> Self {
        let slots = |count| Arc::new(Semaphore::new(count));
        Self { logs, streams: slots(STREAMS), exports: slots(EXPORTS) }
    }
}

/// The routes, below `/api/v1` and `/api`.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(desk: Desk) -> OpenApiRouter<S> {
    OpenApiRouter::new()
        .routes(collect!(search))
        .routes(stream::routes())
        .routes(export::routes())
        .routes(histogram::routes())
        .routes(collect!(usage))
        .routes(collect!(sql))
        .with_state(desk)
}

/// Search lines
#[utoipa::path(get, path = "/logs", operation_id = "search_logs", tag = "logs", security(("token" = ["read"])),
    params(
        Wanted,
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Lines at most (100)"),
        ("before" = Option<i64>, Query, minimum = 0, description = "Only lines before this `seq`"),
        ("after" = Option<i64>, Query, minimum = 0, description = "Only lines after this `seq`"),
        ("order" = inline(Option<Order>), Query, description = "Which lines come first (newest)"),
        ("format" = inline(Option<Format>), Query, description = "Form of the answer, if not by the Accept header"),
    ),
    responses((status = 200, description = "One page; `ndjson` and `text` have the rest in the headers \
        `Logs-Next` and `Logs-Stopped`", content(
            (LogPage = "application/json"), (String = "application/x-ndjson"), (String = "text/plain")))),
    extensions(("x-problems" = json!(["logs_off", "too_many"]))))]
async fn search(
    State(desk): State<Desk>,
    caller: Caller,
    headers: HeaderMap,
    mut input: Input,
) -> Result<Response, Problem> {
    let what = What::of(&mut input);
    let limit = input.parameter("limit").unwrap_or(Limit(100)).0;
    let Seq(before) = input.parameter("before").unwrap_or_default();
    let Seq(after) = input.parameter("after").unwrap_or_default();
    let order = input.parameter("order").unwrap_or(Order::Newest);
    let format = input.parameter("format").unwrap_or_else(|| Format::accepted(&headers));
    let What { scope, since_us, until_us, level, query } = input.finish(what)?.within(&caller)?;
    let search = Search {
        scope,
        since_us,
        until_us,
        level,
        query,
        before,
        after,
        oldest_first: order == Order::Oldest,
        limit,
        time: SEARCH_TIME,
    };
    let found = desk.logs.search(search).await?;
    let page = LogPage {
        lines: found.lines.iter().map(show::line).collect(),
        next: found.next,
        stopped: found.stopped.map(show::stopped),
    };
    Ok(match format {
        Format::Json => Json(page).into_response(),
        Format::Ndjson => lines(&page, "application/x-ndjson", show::ndjson),
        Format::Text => lines(&page, "text/plain; charset=utf-8", show::text),
    })
}

/// A page as lines of text; what is not a line goes into headers.
fn lines(
    page: &LogPage,
    kind: &'static str,
    write: fn(&tenement_wire::logs::LogLine, &mut Vec<u8>),
) -> Response {
    let mut body = Vec::new();
    for line in &page.lines {
        write(line, &mut body);
    }
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Some(next) = page.next {
        headers.insert("logs-next", HeaderValue::from(next));
    }
    if let Some(stopped) = page.stopped {
        headers.insert("logs-stopped", HeaderValue::from_static(show::stopped_word(stopped)));
    }
    response
}

/// What the index of logs holds
#[utoipa::path(get, path = "/logs/usage", tag = "logs", security(("token" = ["read"])),
    responses((status = 200, description = "Of all, of each day and of each instance", body = LogsUsage)),
    extensions(("x-problems" = json!(["logs_off", "too_many"]))))]
async fn usage(
    State(desk): State<Desk>,
    caller: Caller,
    input: Input,
) -> Result<Json<LogsUsage>, Problem> {
    input.finish(Some(()))?;
    Ok(Json(seen(desk.logs.usage().await?, &caller)))
}

/// What of it the caller may see. Days are those of the whole host.
fn seen(mut usage: LogsUsage, caller: &Caller) -> LogsUsage {
    if caller.sees_all() {
        return usage;
    }
    usage.days.clear();
    usage.instances.retain(|one| {
        let name = format!("{}:{}", one.process, one.instance_id);
        name.parse().is_ok_and(|name| caller.sees(&name))
    });
    usage.bytes = usage.instances.iter().map(|one| one.bytes).sum();
    usage.lines = usage.instances.iter().map(|one| one.lines).sum();
    usage
}

/// Ask the index in SQL
#[utoipa::path(post, path = "/logs/sql", tag = "logs", security(("token" = ["admin"])),
    request_body = LogsSql,
    responses((status = 200, description = "The rows", body = LogsTable)),
    extensions(("x-problems" = json!(["logs_off", "too_many"]))))]
async fn sql(State(desk): State<Desk>, mut input: Input) -> Result<Json<LogsTable>, Problem> {
    let sql: Option<Sql> = input.required("sql");
    let Sql(sql) = input.finish(sql)?;
    Ok(Json(desk.logs.sql(sql).await?))
}

/// A free slot, or the answer that there is none.
pub(super) fn slot(
    slots: &Arc<Semaphore>,
    what: &'static str,
) -> Result<tokio::sync::OwnedSemaphorePermit, Problem> {
    slots.clone().try_acquire_owned().map_err(|_| LogsError::Busy { what }.into())
}
