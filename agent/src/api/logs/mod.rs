//! The routes of logs: search, stream, export, usage and SQL.
//!
//! ```text
//! parameters → scope, times, query: all checked, every bad one named at once → Logs → JSON, lines or events
//! ```
//!
//! Unlike the verbs on instances these only read, so they end with the client that asked.

mod ask;
mod export;
mod show;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderMap, HeaderValue, Method, header};
use tenement_logs::search::Search;
use tenement_wire::logs::{LogPage, LogsTable, LogsUsage};
use tokio::sync::Semaphore;

use super::input::Input;
use super::problem::Problem;
use crate::flows::logbook::{Logs, LogsError};
use ask::{Format, Limit, Order, Seq, Sql, What};

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
pub(super) fn routes<S: Clone + Send + Sync + 'static>(desk: Desk) -> Router<S> {
    Router::new()
        .route("/logs", get(search))
        .route("/logs/stream", get(stream::stream))
        .route("/logs/export", get(export::export))
        .route("/logs/usage", get(usage))
        .route("/logs/sql", post(sql))
        .method_not_allowed_fallback(|method: Method| async move {
            Problem::method_not_allowed(&method)
        })
        .with_state(desk)
}

async fn search(
    State(desk): State<Desk>,
    headers: HeaderMap,
    mut input: Input,
) -> Result<Response, Problem> {
    let what = What::of(&mut input);
    let limit = input.parameter("limit").unwrap_or(Limit(100)).0;
    let Seq(before) = input.parameter("before").unwrap_or_default();
    let Seq(after) = input.parameter("after").unwrap_or_default();
    let order = input.parameter("order").unwrap_or(Order::Newest);
    let format = input.parameter("format").unwrap_or_else(|| Format::accepted(&headers));
    let What { scope, since_us, until_us, level, query } = input.finish(what)?;
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

async fn usage(State(desk): State<Desk>, input: Input) -> Result<Json<LogsUsage>, Problem> {
    input.finish(Some(()))?;
    Ok(Json(desk.logs.usage().await?))
}

async fn sql(State(desk): State<Desk>, mut input: Input) -> Result<Json<LogsTable>, Problem> {
    let sql: Option<Sql> = input.required("sql");
    let Sql(sql) = input.finish(sql)?;
    Ok(Json(desk.logs.sql(sql).await?))
}

/// A free slot, or the answer that there is none.
fn slot(
    slots: &Arc<Semaphore>,
    what: &'static str,
) -> Result<tokio::sync::OwnedSemaphorePermit, Problem> {
    slots.clone().try_acquire_owned().map_err(|_| LogsError::Busy { what }.into())
}
