//! What a request says: its query and its JSON body, taken field by field.
//!
//! A handler takes what it knows, then [`Input::finish`] refuses everything that is left. So every
//! bad field is named at once, and an unknown one is never silently ignored.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Query, Request};
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value};
use tenement_wire::dto::ConfigFile;
use tenement_wire::{FieldError, Limit, LimitUnit};

use super::problem::Problem;
use super::seats::Waiter;
use super::strict::Strict;

/// Longest body, in bytes.
pub const BODY_MAX: usize = 1024 * 1024;
/// Longest list in a body.
pub const LIST_MAX: usize = 1000;
/// From the head of a request to the end of its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The fields of a request that nobody has taken yet.
pub struct Input {
    query: Vec<(String, String)>,
    body: Map<String, Value>,
    errors: Vec<FieldError>,
    waiter: Waiter,
}

impl<S: Send + Sync> FromRequest<S> for Input {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let Query(query) = Query::<Vec<(String, String)>>::try_from_uri(request.uri())
            .map_err(|_| Problem::malformed("the query can't be read"))?;
        let json = request.headers().get(CONTENT_TYPE).is_some_and(|value| {
            let kind = value.to_str().unwrap_or("").split(';').next().unwrap_or("");
            kind.trim().eq_ignore_ascii_case("application/json")
        });
        let waiter = Waiter::of(request.extensions());
        let bytes = read(request).await?;
        let body = match (bytes.is_empty(), json) {
            (true, _) => Map::new(),
            (false, false) => return Err(Problem::not_json()),
            (false, true) => object(&bytes)?,
        };
        Ok(Self { query, body, errors: Vec::new(), waiter })
    }
}

pub(super) async fn read(request: Request) -> Result<Bytes, Problem> {
    let body = axum::body::to_bytes(request.into_body(), BODY_MAX);
    match tokio::time::timeout(BODY_TIMEOUT, body).await {
        Err(_) => Err(Problem::body_late()),
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => {
            let too_long = std::error::Error::source(&error)
                .is_some_and(|source| source.is::<http_body_util::LengthLimitError>());
            Err(if too_long {
                Problem::too_large(BODY_MAX)
            } else {
                Problem::malformed("the body broke off")
            })
        }
    }
}

/// The fields of a JSON object; none of them, nor any below them, is there twice.
pub(super) fn object(bytes: &[u8]) -> Result<Map<String, Value>, Problem> {
    let no =
        |why: &dyn Display| Problem::malformed(format!("the body is not one JSON object{why}"));
    match serde_json::from_slice(bytes) {
        Ok(Strict(Value::Object(fields))) => Ok(fields),
        Ok(_) => Err(no(&"")),
        Err(error) => Err(no(&format_args!(": {error}"))),
    }
}

impl Input {
    /// Of a request whose body is read by somebody else.
    pub(super) fn of_query(uri: &http::Uri) -> Result<Self, Problem> {
        let Query(query) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|_| Problem::malformed("the query can't be read"))?;
        let waiter = Waiter::default();
        Ok(Self { query, body: Map::new(), errors: Vec::new(), waiter })
    }

    /// Whoever sent it, should they want to wait.
    pub(super) fn waiter(&self) -> Waiter {
        self.waiter.clone()
    }

    /// An optional parameter of the query.
    pub fn parameter<T: FromStr<Err: Display>>(&mut self, field: &str) -> Option<T> {
        let at = self.query.iter().position(|(key, _)| key == field)?;
        let (_, text) = self.query.remove(at);
        self.parse(field, &text)
    }

    /// Whether the query has this parameter and nobody has taken it yet.
    pub fn has(&self, field: &str) -> bool {
        self.query.iter().any(|(key, _)| key == field)
    }

    /// A yes-or-no parameter of the query: `true` or `false`; absent means no.
    pub fn flag(&mut self, field: &str) -> bool {
        let Some(at) = self.query.iter().position(|(key, _)| key == field) else { return false };
        match self.query.remove(at).1.as_str() {
            "true" => true,
            "false" => false,
            _ => {
                self.wrong::<()>(field, "must be true or false");
                false
            }
        }
    }

    /// A required text of the body.
    pub fn required<T: FromStr<Err: Display>>(&mut self, field: &str) -> Option<T> {
        match self.body.remove(field) {
            Some(Value::String(text)) => self.parse(field, &text),
            Some(_) => self.wrong(field, "must be a string"),
            None => self.wrong(field, "is missing"),
        }
    }

    /// An optional text of the body; null is as good as none.
    pub fn optional<T: FromStr<Err: Display>>(&mut self, field: &str) -> Option<T> {
        match self.body.remove(field) {
            Some(Value::String(text)) => self.parse(field, &text),
            Some(Value::Null) | None => None,
            Some(_) => self.wrong(field, "must be a string"),
        }
    }

    /// Whether the body has a text in this field and nobody has taken it yet.
    pub fn holds(&self, field: &str) -> bool {
        matches!(self.body.get(field), Some(Value::String(_)))
    }

    /// An optional whole number of the body; null is as good as none.
    pub fn number(&mut self, field: &str, range: RangeInclusive<u64>) -> Option<u64> {
        match self.body.remove(field) {
            Some(Value::Null) | None => None,
            Some(value) => match whole(&value).filter(|number| range.contains(number)) {
                Some(number) => Some(number),
                None => {
                    let (low, high) = (range.start(), range.end());
                    self.wrong(field, &format!("must be a whole number from {low} to {high}"))
                }
            },
        }
    }

    /// An optional list of whole numbers of the body; null is as good as none.
    pub fn numbers(
        &mut self,
        field: &str,
        range: RangeInclusive<u64>,
        most: usize,
    ) -> Option<Vec<u32>> {
        let items = match self.body.remove(field)? {
            Value::Null => return None,
            Value::Array(items) if (1..=most).contains(&items.len()) => items,
            _ => return self.wrong(field, &format!("must be a list of 1 to {most} numbers")),
        };
        let number = |item: &Value| whole(item).filter(|number| range.contains(number));
        let numbers: Option<Vec<u32>> =
            items.iter().map(|item| u32::try_from(number(item)?).ok()).collect();
        let (low, high) = (range.start(), range.end());
        numbers
            .or_else(|| self.wrong(field, &format!("must hold whole numbers from {low} to {high}")))
    }

    /// An optional list of texts of the body, each once.
    pub fn list<T: FromStr<Err: Display> + PartialEq>(&mut self, field: &str) -> Vec<T> {
        let mut list = Vec::new();
        for (at, item) in self.array(field).into_iter().enumerate() {
            let field = format!("{field}[{at}]");
            let parsed = match item {
                Value::String(text) => self.parse(&field, &text),
                _ => self.wrong(&field, "must be a string"),
            };
            match parsed {
                Some(value) if list.contains(&value) => {
                    self.wrong::<()>(&field, "is there twice");
                }
                Some(value) => list.push(value),
                None => {}
            }
        }
        list
    }

    /// An optional yes-or-no of the body.
    pub fn switch(&mut self, field: &str, default: bool) -> bool {
        match self.body.remove(field) {
            Some(Value::Bool(value)) => value,
            None => default,
            Some(_) => self.wrong(field, "must be true or false").unwrap_or(default),
        }
    }

    /// An optional yes-or-no of the body that has no default; null is as good as none.
    pub fn maybe(&mut self, field: &str) -> Option<bool> {
        match self.body.remove(field) {
            Some(Value::Bool(value)) => Some(value),
            Some(Value::Null) | None => None,
            Some(_) => self.wrong(field, "must be true or false"),
        }
    }

    /// An optional list of config files of the body.
    pub fn files(&mut self, field: &str) -> Vec<ConfigFile> {
        let mut files = Vec::new();
        for (at, item) in self.array(field).into_iter().enumerate() {
            match serde_json::from_value::<ConfigFile>(item) {
                Ok(file)
                    if !(1..=255).contains(&file.name.chars().count())
                        || file.name.contains(char::is_control) =>
                {
                    let message = "must have 1 to 255 characters, none of them a control character";
                    self.wrong::<()>(&format!("{field}[{at}].name"), message);
                }
                Ok(file) => files.push(file),
                Err(error) => {
                    self.wrong::<()>(&format!("{field}[{at}]"), &error.to_string());
                }
            }
        }
        files
    }

    /// An optional object of limits of the body: each a whole number in the limit's own unit, or null.
    pub fn limits(&mut self, field: &str) -> BTreeMap<Limit, Option<u64>> {
        let mut changes = BTreeMap::new();
        let given = match self.body.remove(field) {
            None => return changes,
            Some(Value::Object(given)) => given,
            Some(_) => {
                self.wrong::<()>(field, "must be an object such as {\"memory_max\": 268435456}");
                return changes;
            }
        };
        for (key, value) in given {
            let place: String = format!("{field}.{key}").chars().take(100).collect();
            let Some(limit) = self.parse::<Limit>(&place, &key) else { continue };
            let value = match &value {
                Value::Null => Ok(None),
                value => match whole(value) {
                    Some(number) => limit.check(number).map(Some),
                    None => Err(format!("must be a whole number of {}, or null", unit(limit))),
                },
            };
            match value {
                Ok(value) => drop(changes.insert(limit, value)),
                Err(message) => drop(self.wrong::<()>(&place, &message)),
            }
        }
        changes
    }

    /// Refuses the fields that are left, with all errors found so far; else hands `value` on.
    pub fn finish<T>(mut self, value: Option<T>) -> Result<T, Problem> {
        let query = std::mem::take(&mut self.query).into_iter().map(|(key, _)| key);
        let body = std::mem::take(&mut self.body).into_iter().map(|(key, _)| key);
        for field in query.chain(body) {
            let field: String = field.chars().take(100).collect();
            self.wrong::<()>(&field, "is not a field of this request");
        }
        match value {
            Some(value) if self.errors.is_empty() => Ok(value),
            _ => Err(Problem::invalid(self.errors)),
        }
    }

    fn array(&mut self, field: &str) -> Vec<Value> {
        match self.body.remove(field) {
            None => Vec::new(),
            Some(Value::Array(items)) if items.len() <= LIST_MAX => items,
            Some(Value::Array(_)) => {
                self.wrong(field, &format!("has more than {LIST_MAX} entries")).unwrap_or_default()
            }
            Some(_) => self.wrong(field, "must be a list").unwrap_or_default(),
        }
    }

    fn parse<T: FromStr<Err: Display>>(&mut self, field: &str, text: &str) -> Option<T> {
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => self.wrong(field, &error.to_string()),
        }
    }

    /// Remembers what is wrong with a field.
    pub fn wrong<T>(&mut self, field: &str, message: &str) -> Option<T> {
        self.errors.push(FieldError { field: field.to_owned(), message: message.to_owned() });
        None
    }
}

/// A number without a fraction; JSON has `1.0` for one too.
fn whole(value: &Value) -> Option<u64> {
    // Above 2^53 a float no longer holds every whole number.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    value.as_u64().or_else(|| {
        let float = value.as_f64().filter(|f| (0.0..=EXACT).contains(f) && f.fract() == 0.0)?;
        Some(float as u64)
    })
}

fn unit(limit: Limit) -> &'static str {
    match limit.unit() {
        LimitUnit::Bytes => "bytes",
        LimitUnit::MilliCores => "thousandths of a core",
        LimitUnit::Count => "them",
        LimitUnit::Seconds => "seconds",
    }
}
