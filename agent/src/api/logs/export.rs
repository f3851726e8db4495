//! Everything that matches, from old to new, as one body of any length.
//!
//! It is read page by page, and the next page only when the client has taken the last one: memory is
//! bounded however much there is. A body that ends early is broken off, so a client can't take it for whole.

use std::str::FromStr;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::header::CONTENT_TYPE;
use jiff::Timestamp;
use tenement_logs::line::Line;
use tenement_logs::search::{Found, Search};
use tokio::sync::OwnedSemaphorePermit;
use utoipa::ToSchema;
use utoipa_axum::router::UtoipaMethodRouter;

use super::ask::{Wanted, What};
use super::{Desk, SEARCH_TIME, show, slot};
use crate::api::access::Caller;
use crate::api::input::Input;
use crate::api::problem::Problem;
use crate::api::routes::collect;
use crate::flows::logbook::LogsError;

/// Lines read at once.
const PAGE: usize = 500;

/// The form of an export.
#[derive(Debug, Clone, Copy, ToSchema)]
#[schema(rename_all = "lowercase")]
enum Form {
    Json,
    Text,
    Export,
}

impl FromStr for Form {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            "export" => Ok(Self::Export),
            _ => Err("must be json, text or export"),
        }
    }
}

impl Form {
    fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/x-ndjson",
            Self::Text => "text/plain; charset=utf-8",
            Self::Export => "application/vnd.fdo.journal",
        }
    }

    fn write(self, lines: &[Line]) -> Bytes {
        let mut out = Vec::new();
        for line in lines {
            match self {
                Self::Json => show::ndjson(&show::line(line), &mut out),
                Self::Text => show::text(&show::line(line), &mut out),
                Self::Export => show::journal(line, &mut out),
            }
        }
        out.into()
    }
}

/// The route.
pub(super) fn routes() -> UtoipaMethodRouter<Desk> {
    collect!(export_logs)
}

/// Everything that matches, from old to new
#[utoipa::path(get, path = "/logs/export", tag = "logs", security(("token" = ["read"])),
    params(Wanted, ("format" = inline(Option<Form>), Query, description = "Form of the lines (json)")),
    responses((status = 200, description = "A body of any length; one that breaks off is not whole", content(
        (String = "application/x-ndjson"), (String = "text/plain"), (String = "application/vnd.fdo.journal")))),
    extensions(("x-problems" = json!(["logs_off", "too_many"]))))]
async fn export_logs(
    State(desk): State<Desk>,
    caller: Caller,
    mut input: Input,
) -> Result<Response, Problem> {
    let what = What::of(&mut input);
    let form = input.parameter("format").unwrap_or(Form::Json);
    let What { scope, since_us, until_us, level, query } = input.finish(what)?.within(&caller)?;
    // Without an end it would run after a tenant who prints faster than the client reads.
    let until_us = until_us.or(u64::try_from(Timestamp::now().as_microsecond()).ok());
    let search = Search {
        scope,
        since_us,
        until_us,
        level,
        query,
        before: None,
        after: None,
        oldest_first: true,
        limit: PAGE,
        time: SEARCH_TIME,
    };
    let slot = slot(&desk.exports, "exports")?;
    // The first page before the head of the answer, so that what is wrong at once has a status of its own.
    let found = desk.logs.search(search.clone()).await?;
    let pages = Pages { desk, search, found: Some(found), _slot: slot };
    let body = Body::from_stream(stream::try_unfold(pages, move |pages| pages.next(form)));
    Ok(([(CONTENT_TYPE, form.content_type())], body).into_response())
}

struct Pages {
    desk: Desk,
    search: Search,
    found: Option<Found>,
    _slot: OwnedSemaphorePermit,
}

impl Pages {
    /// The bytes of the next page that has lines, and what comes after it.
    async fn next(mut self, form: Form) -> Result<Option<(Bytes, Self)>, LogsError> {
        loop {
            let found = match self.found.take() {
                Some(found) => found,
                None if self.search.after.is_none() => return Ok(None),
                None => self.desk.logs.search(self.search.clone()).await?,
            };
            let last = self.search.after;
            self.search.after = found.next;
            if found.next.is_some() && found.next <= last {
                return Err(LogsError::Internal("an export does not get on".into()));
            }
            if !found.lines.is_empty() {
                return Ok(Some((form.write(&found.lines), self)));
            }
            if found.next.is_none() {
                return Ok(None);
            }
        }
    }
}
