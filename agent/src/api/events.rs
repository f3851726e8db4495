//! The routes of events: pages, newest first, and the stream of what happens.

mod stream;

use std::str::FromStr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use tenement_wire::events::{EventKind, EventPage};
use tenement_wire::{InstanceName, ProcessName};
use tokio::sync::Semaphore;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{IntoParams, PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use super::access::Caller;
use super::input::Input;
use super::logs::ask::{self, Seq};
use super::problem::Problem;
use super::routes::collect;
use crate::flows::events::{Events, Filter};

/// Streams at once. Each holds a connection of the admin socket, which has 128.
const STREAMS: usize = 32;
/// Events in one page at most.
const LIMIT_MAX: usize = 1000;
/// Longest text that is looked for, in characters.
const TEXT_MAX: usize = 200;

/// What the handlers share.
#[derive(Clone)]
pub(super) struct Desk {
    events: Option<Events>,
    streams: Arc<Semaphore>,
}

impl Desk {
    pub(super) fn new(events: Option<Events>) -> Self {
        Self { events, streams: Arc::new(Semaphore::new(STREAMS)) }
    }

    fn events(&self) -> Result<&Events, Problem> {
        self.events.as_ref().ok_or_else(|| {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            Problem::new(status, "events_off", "this agent keeps no events", "see the agent's log")
        })
    }
}

/// The routes, below `/api/v1` and `/api`.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(desk: Desk) -> OpenApiRouter<S> {
    OpenApiRouter::new().routes(collect!(list_events)).routes(stream::routes()).with_state(desk)
}

/// The parameters of [`filter`], for the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "its fields are only described")]
struct Wanted {
    /// Only events of this kind, or of these with commas between
    #[param(inline)]
    kind: Option<Kinds>,
    /// Only events about this process or its instances
    process: Option<ProcessName>,
    /// Only events about this instance; it does not go with `process`
    instance: Option<InstanceName>,
    /// Only what was done by `uid:N`, `token:NAME` (or its id), `anonymous` or `agent`
    #[param(pattern = "^(uid|token|anonymous|agent)(:[^:]{0,200})?$")]
    actor: Option<String>,
    /// Only events from this time on: RFC 3339, `10m`, `yesterday` and the like (docs/LOGS.md)
    #[param(min_length = 1, max_length = 100, format = "tenement-time")]
    since: Option<String>,
    /// Only events before this time, which is after `since`
    #[param(min_length = 1, max_length = 100, format = "tenement-time")]
    until: Option<String>,
    /// The time zone of such times: `Europe/Berlin` or `+02:00`
    #[param(min_length = 1, max_length = 64, format = "tenement-zone")]
    zone: Option<String>,
    /// Only events with this text in them, in whatever case
    #[param(min_length = 1, max_length = 200)]
    text: Option<String>,
}

/// Who did what, and what happened by itself: newest first
#[utoipa::path(get, path = "/events", tag = "events", security(("token" = ["read"])),
    params(
        Wanted,
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Events at most (100)"),
        ("before" = Option<i64>, Query, minimum = 0, description = "Only events before this id"),
    ),
    responses((status = 200, description = "One page; `next` goes on as `before`", body = EventPage)),
    extensions(("x-problems" = json!(["events_off", "unavailable"]))))]
async fn list_events(
    State(desk): State<Desk>,
    caller: Caller,
    mut input: Input,
) -> Result<Json<EventPage>, Problem> {
    let filter = filter(&mut input);
    let limit = input.parameter("limit").unwrap_or(Limit(100)).0;
    let Seq(before) = input.parameter("before").unwrap_or_default();
    let filter = within(&caller, input.finish(filter)?)?;
    let page = desk.events()?.page(Filter { limit, before, ..filter }).await;
    Ok(Json(page.map_err(|error| unreadable(&error))?))
}

fn unreadable(error: &crate::store::StoreError) -> Problem {
    let (detail, hint) =
        ("the events can't be read now", "see the agent's log: ten logs, journalctl -u tenement");
    let mut problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail, hint);
    problem.cause = Some(error.to_string());
    problem
}

/// What of it the caller may see: what is about their instances. What is not theirs is to them as if it did
/// not exist, and what is about no instance is the host's.
fn within(caller: &Caller, filter: Filter) -> Result<Filter, Problem> {
    let reach = caller.reach();
    if let Some(process) = &filter.process {
        match &filter.instance {
            Some(id) => {
                let name = InstanceName::new(process.clone(), id.clone());
                if !reach.sees(&name) {
                    return Err(Problem::unknown_instance(&name));
                }
            }
            None if !reach.sees_process(process) => {
                return Err(Problem::unknown_process(process.as_str()));
            }
            None => {}
        }
    }
    let process = reach.process().cloned().or(filter.process);
    let instance = reach.instance().cloned().or(filter.instance);
    Ok(Filter { process, instance, ..filter })
}

/// Takes `kind`, `process`, `instance`, `actor`, `since`, `until`, `zone` and `text`. None if one of them is
/// wrong: the input remembers which.
fn filter(input: &mut Input) -> Option<Filter> {
    let now = ask::now(input);
    let since_ms = ask::time(input, "since", &now).map(|us| us / 1000);
    let until_ms = ask::time(input, "until", &now).map(|us| us / 1000);
    if let (Some(since), Some(until)) = (since_ms, until_ms)
        && since >= until
    {
        input.wrong::<()>("until", "must be after since");
    }
    let Kinds(kinds) = input.parameter("kind").unwrap_or_default();
    let mut process: Option<ProcessName> = input.parameter("process");
    let name: Option<InstanceName> = input.parameter("instance");
    let instance = name.as_ref().map(|name| name.id().clone());
    if let Some(name) = name {
        if process.is_some() {
            return input.wrong("instance", "says it all: leave process out");
        }
        process = Some(name.process().clone());
    }
    let actor = input.parameter("actor");
    let text = input.parameter("text").map(|Text(text)| text);
    Some(Filter { kinds, process, instance, actor, since_ms, until_ms, text, ..Filter::default() })
}

/// One kind or several with commas between.
#[derive(Default)]
struct Kinds(Vec<EventKind>);

impl PartialSchema for Kinds {
    fn schema() -> RefOr<Schema> {
        let words: Vec<_> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
        let words = words.join("|");
        let pattern = format!("^({words})(,({words}))*$");
        ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)).into()
    }
}

impl ToSchema for Kinds {}

impl FromStr for Kinds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut kinds: Vec<_> = text.split(',').map(str::parse).collect::<Result<_, _>>()?;
        kinds.sort();
        kinds.dedup();
        Ok(Self(kinds))
    }
}

struct Limit(usize);

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(limit) if (1..=LIMIT_MAX).contains(&limit) => Ok(Self(limit)),
            _ => Err(format!("must be a number from 1 to {LIMIT_MAX}")),
        }
    }
}

struct Text(String);

impl FromStr for Text {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.chars().count() {
            1..=TEXT_MAX => Ok(Self(text.to_owned())),
            _ => Err(format!("must have 1 to {TEXT_MAX} characters")),
        }
    }
}
