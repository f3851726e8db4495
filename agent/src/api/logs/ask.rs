//! What a request for logs asks for, from its parameters.

use std::str::FromStr;

use http::{HeaderMap, header};
use jiff::Zoned;
use jiff::tz::TimeZone;
use tenement_logs::line::Level;
use tenement_logs::query::{Expr, QueryError, parse};
use tenement_logs::search::Scope;
use tenement_logs::when::parse_when;
use tenement_wire::{InstanceId, InstanceName, ProcessName};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use crate::api::access::Caller;
use crate::api::input::Input;
use crate::api::problem::Problem;
use crate::token::Reach;

/// Lines in one page at most.
pub(super) const LIMIT_MAX: usize = 1000;
/// Longest SQL statement, in bytes.
const SQL_MAX: usize = 64 * 1024;

/// The parameters of [`What`], for the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "its fields are only described")]
pub(super) struct Wanted {
    /// Only lines of instances of this process
    process: Option<ProcessName>,
    /// Only lines of this id of the process; it needs `process`
    id: Option<InstanceId>,
    /// Only lines of this instance; it goes with neither `process` nor `id`
    instance: Option<InstanceName>,
    /// Only lines from this time on: RFC 3339, `10m`, `yesterday` and the like (docs/LOGS.md)
    #[param(min_length = 1, max_length = 100, format = "tenement-time")]
    since: Option<String>,
    /// Only lines before this time, which is after `since`
    #[param(min_length = 1, max_length = 100, format = "tenement-time")]
    until: Option<String>,
    /// The time zone of such times: `Europe/Berlin` or `+02:00`
    #[param(min_length = 1, max_length = 64, format = "tenement-zone")]
    zone: Option<String>,
    /// Only lines at least as bad as this
    #[param(inline)]
    level: Option<LevelWord>,
    /// Only lines that hold this: the query language of docs/LOGS.md
    #[param(max_length = 4096, format = "tenement-query")]
    search: Option<String>,
    /// Another name of `search`: one of them may be given
    #[param(max_length = 4096, format = "tenement-query")]
    q: Option<String>,
}

/// The words for a level, with the ones that others use.
const LEVELS: [&str; 24] = [
    "0",
    "1",
    "2",
    "3",
    "4",
    "5",
    "6",
    "7",
    "emergency",
    "information",
    "emerg",
    "panic",
    "alert",
    "crit",
    "critical",
    "fatal",
    "error",
    "err",
    "warn",
    "warning",
    "notice",
    "info",
    "debug",
    "trace",
];

/// A level by one of [`LEVELS`].
struct LevelWord(Level);

impl PartialSchema for LevelWord {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(LEVELS)).into()
    }
}

impl ToSchema for LevelWord {}

impl FromStr for LevelWord {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let level = LEVELS.contains(&text).then(|| text.parse().ok()).flatten();
        level.map(Self).ok_or_else(|| format!("must be one of {}", LEVELS.join(", ")))
    }
}

/// Whose lines, when, and what they must hold.
#[derive(Debug)]
pub(super) struct What {
    pub scope: Scope,
    pub since_us: Option<u64>,
    pub until_us: Option<u64>,
    pub level: Option<Level>,
    pub query: Expr,
}

impl What {
    /// What of it `caller` may see.
    pub fn within(self, caller: &Caller) -> Result<Self, Problem> {
        Ok(Self { scope: within(caller.reach(), self.scope)?, ..self })
    }

    /// Takes `process`, `id`, `instance`, `since`, `until`, `zone`, `level` and `search` (or `q`). None if one
    /// of them is wrong: the input remembers which.
    pub fn of(input: &mut Input) -> Option<Self> {
        let now = now(input);
        let since_us = time(input, "since", &now);
        let until_us = time(input, "until", &now);
        if let (Some(since), Some(until)) = (since_us, until_us)
            && since >= until
        {
            input.wrong::<()>("until", "must be after since");
        }
        let level = input.parameter("level").map(|LevelWord(level)| level);
        let Query(query) = query(input);
        let scope = scope(input)?;
        Some(Self { scope, since_us, until_us, level, query })
    }
}

/// What of `scope` the caller may see. What is not theirs is to them as if it did not exist.
fn within(reach: &Reach, scope: Scope) -> Result<Scope, Problem> {
    match (reach, scope) {
        (Reach::Host, scope) => Ok(scope),
        (reach, Scope::Instance(name)) if reach.sees(&name) => Ok(Scope::Instance(name)),
        (_, Scope::Instance(name)) => Err(Problem::unknown_instance(&name)),
        (Reach::Process(own), Scope::All) => Ok(Scope::Process(own.as_str().to_owned())),
        (Reach::Process(own), Scope::Process(other)) if own.as_str() == other => {
            Ok(Scope::Process(other))
        }
        (Reach::Instance(own), Scope::All) => Ok(Scope::Instance(own.clone())),
        (Reach::Instance(own), Scope::Process(other)) if own.process().as_str() == other => {
            Ok(Scope::Instance(own.clone()))
        }
        (_, Scope::Process(other)) => Err(Problem::unknown_process(&other)),
    }
}

/// The present, in the time zone in which the client writes times.
pub(in crate::api) fn now(input: &mut Input) -> Zoned {
    let Zone(zone) = input.parameter("zone").unwrap_or_else(|| Zone(TimeZone::system()));
    Zoned::now().with_time_zone(zone)
}

pub(in crate::api) fn time(input: &mut Input, field: &str, now: &Zoned) -> Option<u64> {
    let text: String = input.parameter(field)?;
    match parse_when(&text, now) {
        Ok(at) => Some(at),
        Err(error) => input.wrong(field, &error.to_string()),
    }
}

fn query(input: &mut Input) -> Query {
    let search: Option<Query> = input.parameter("search");
    let q: Option<Query> = input.parameter("q");
    if search.is_some() && q.is_some() {
        input.wrong::<()>("q", "is another name of search: give one of them");
    }
    search.or(q).unwrap_or(Query(Expr::All))
}

fn scope(input: &mut Input) -> Option<Scope> {
    let has_process = input.has("process");
    let process: Option<ProcessName> = input.parameter("process");
    let id: Option<InstanceId> = input.parameter("id");
    let instance: Option<InstanceName> = input.parameter("instance");
    if let Some(name) = instance {
        if process.is_some() || id.is_some() {
            return input.wrong("instance", "says it all: leave process and id out");
        }
        return Some(Scope::Instance(name));
    }
    match (process, id) {
        (None, None) => Some(Scope::All),
        (Some(process), None) => Some(Scope::Process(process.as_str().to_owned())),
        // A process that is there and wrong is already named.
        (None, Some(_)) if has_process => None,
        (None, Some(_)) => input.wrong("id", "needs a process"),
        (Some(process), Some(id)) => match format!("{process}:{id}").parse() {
            Ok::<InstanceName, _>(name) => Some(Scope::Instance(name)),
            Err(error) => input.wrong("id", &format!("{error}")),
        },
    }
}

struct Query(Expr);

impl FromStr for Query {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, QueryError> {
        parse(text).map(Self)
    }
}

/// `Europe/Berlin` or `+02:00`.
struct Zone(TimeZone);

impl FromStr for Zone {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "must be a time zone such as Europe/Berlin or +02:00";
        if text.len() > 64 {
            return Err(WRONG);
        }
        // The parameters of a query have their `+` read as a space, as forms do.
        let fixed = text.replace(' ', "+");
        let stamp = format!("2000-01-01T00:00:00{fixed}[{fixed}]");
        if let Ok(at) = stamp.parse::<Zoned>() {
            return Ok(Self(at.time_zone().clone()));
        }
        TimeZone::get(text).map(Self).map_err(|_| WRONG)
    }
}

/// How many lines, at most.
pub(super) struct Limit(pub usize);

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(limit) if (1..=LIMIT_MAX).contains(&limit) => Ok(Self(limit)),
            _ => Err(format!("must be a number from 1 to {LIMIT_MAX}")),
        }
    }
}

/// A place in the log.
#[derive(Default)]
pub(in crate::api) struct Seq(pub Option<u64>);

impl FromStr for Seq {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // SQLite counts with 63 bits.
        match text.parse() {
            Ok(seq) if seq <= i64::MAX as u64 => Ok(Self(Some(seq))),
            _ => Err("must be the seq of a line"),
        }
    }
}

/// Which lines come first.
#[derive(PartialEq, Eq, ToSchema)]
#[schema(rename_all = "lowercase")]
pub(super) enum Order {
    Newest,
    Oldest,
}

impl FromStr for Order {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "newest" => Ok(Self::Newest),
            "oldest" => Ok(Self::Oldest),
            _ => Err("must be newest or oldest"),
        }
    }
}

/// The form of a page.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(super) enum Format {
    Json,
    Ndjson,
    Text,
}

impl Format {
    /// What the `Accept` header asks for; JSON if it is happy with everything.
    pub fn accepted(headers: &HeaderMap) -> Self {
        let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
        let first = accept.unwrap_or("").split([',', ';']).next().unwrap_or("").trim();
        match first.to_ascii_lowercase().as_str() {
            "text/ndjson" | "application/ndjson" | "application/x-ndjson" => Self::Ndjson,
            "text/plain" => Self::Text,
            _ => Self::Json,
        }
    }
}

impl FromStr for Format {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "json" => Ok(Self::Json),
            "ndjson" => Ok(Self::Ndjson),
            "text" => Ok(Self::Text),
            _ => Err("must be json, ndjson or text"),
        }
    }
}

/// A statement of bounded length. What it may do is the index's business.
pub(super) struct Sql(pub String);

impl FromStr for Sql {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.len() {
            1..=SQL_MAX => Ok(Self(text.to_owned())),
            0 => Err("is empty".to_owned()),
            _ => Err(format!("is longer than {SQL_MAX} bytes")),
        }
    }
}
