//! What the management API says about logs, as JSON.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One line of a log. Its columns have the names of the `logs` view of `ten logs sql`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LogLine {
    /// Its place among all lines of this host, in the order of the journal. `before` and `after` take it,
    /// and it is the event id of a stream.
    pub seq: u64,
    /// When it was written: RFC 3339 in UTC with microseconds, `2026-01-31T12:00:00.123456Z`.
    pub timestamp: String,
    /// How bad it is: `emerg`, `alert`, `crit`, `error`, `warn`, `notice`, `info` or `debug`.
    pub level: String,
    /// The process of the instance it belongs to.
    pub process: String,
    /// The id of that instance.
    pub instance_id: String,
    /// Who wrote it.
    pub source: LogSource,
    /// The text as printed. It may hold several lines and escape sequences: whoever shows it to a person
    /// makes it harmless first ([`crate::plain`]).
    pub message: String,
    /// What a JSON line holds: its members, if the message is one JSON object of at most 64 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<std::collections::BTreeMap<String, serde_json::Value>>))]
    pub fields: Option<Map<String, Value>>,
}

/// The longest message that is looked at as JSON, in bytes.
const FIELDS_MAX: usize = 64 * 1024;

/// The members of a message that is one JSON object (RFC 8259).
#[must_use]
pub fn fields(message: &str) -> Option<Map<String, Value>> {
    let text = message.trim();
    let object = text.starts_with('{') && text.ends_with('}') && text.len() <= FIELDS_MAX;
    if object { serde_json::from_str(text).ok() } else { None }
}

/// Who wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum LogSource {
    /// The instance.
    Instance,
    /// systemd, about the instance's unit.
    Systemd,
    /// The agent: where the journal lost lines, or where one was cut.
    Marker,
}

/// Why a search did not look at everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum LogsStopped {
    /// Its time was over.
    Time,
    /// It had read or held as much as it may.
    Memory,
}

/// Answer of `GET /logs`: one page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LogPage {
    /// In the order asked for.
    pub lines: Vec<LogLine>,
    /// The `before` (or `after`, oldest first) that the next page is asked with; `null` if there is none.
    pub next: Option<u64>,
    /// Set if the search stopped early: there may be more, and asking with `next` goes on.
    pub stopped: Option<LogsStopped>,
}

/// Answer of `GET /logs/histogram`: how many lines there were when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LogHistogram {
    /// From when on, in Unix milliseconds.
    pub since_ms: u64,
    /// Until when, in Unix milliseconds.
    pub until_ms: u64,
    /// How long a bucket is, in milliseconds.
    pub step_ms: u64,
    /// Oldest first, the empty ones too.
    pub buckets: Vec<LogBucket>,
    /// Set if it stopped early: the older buckets have too few lines then.
    pub stopped: Option<LogsStopped>,
}

/// Lines of one part of the time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LogBucket {
    /// When it begins, in Unix milliseconds.
    pub at_ms: u64,
    /// Lines of level `error` and worse.
    pub error: u64,
    /// Of level `warn`.
    pub warn: u64,
    /// Of levels `notice` and `info`.
    pub info: u64,
    /// Of level `debug`.
    pub debug: u64,
}

/// Data of the event `missed` of a stream: its reader was too slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LogsMissed {
    /// How many lines were left out.
    pub count: u64,
    /// The `seq` of the first line that is sent again; `GET /logs?before=…` finds the ones left out.
    pub next: u64,
}

/// Answer of `GET /logs/usage`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LogsUsage {
    /// Bytes that the index takes on disk.
    pub bytes: u64,
    /// Lines in it.
    pub lines: u64,
    /// The index, day by day, the oldest first.
    pub days: Vec<LogsDay>,
    /// Every instance that has lines, by name.
    pub instances: Vec<LogsOfInstance>,
}

/// One day file of the index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LogsDay {
    /// `2026-01-31`, in UTC.
    pub day: String,
    /// Bytes on disk.
    pub bytes: u64,
    /// Lines.
    pub lines: u64,
}

/// What the index holds of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LogsOfInstance {
    /// Its process.
    pub process: String,
    /// Its id.
    pub instance_id: String,
    /// Bytes that its lines take, without what all instances share.
    pub bytes: u64,
    /// Lines.
    pub lines: u64,
    /// On how many days it has lines.
    pub days: u32,
    /// Its oldest line, Unix milliseconds.
    pub oldest_ms: u64,
    /// Its newest line, Unix milliseconds.
    pub newest_ms: u64,
}

/// Body of `POST /logs/sql`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LogsSql {
    /// One statement that only reads, at most 64 KiB.
    #[cfg_attr(
        feature = "schema",
        schema(min_length = 1, max_length = 65536, format = "sqlite-select")
    )]
    pub sql: String,
}

/// Answer of `POST /logs/sql`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LogsTable {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The rows, each as long as `columns`.
    pub rows: Vec<Vec<LogsCell>>,
    /// Set if it stopped early: there may be more rows.
    pub stopped: Option<LogsStopped>,
}

/// A value of SQLite. A blob is given as text in hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LogsCell {
    /// NULL
    Null(()),
    /// INTEGER
    Integer(i64),
    /// REAL
    Real(f64),
    /// TEXT, or a BLOB
    Text(String),
}
