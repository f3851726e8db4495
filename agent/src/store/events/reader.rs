//! Reads pages of events, beside the writer.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, Row, params_from_iter};
use tenement_wire::events::{Actor, ActorKind, Event, EventKind};

use super::filter::Filter;
use crate::store::StoreError;

/// The longest that one page may take.
const TIME: Duration = Duration::from_secs(3);
/// Steps of SQLite's machine between looks at the clock.
const STEPS: i32 = 10_000;

/// One page. A file that is not there yet has no events.
pub(super) fn read(path: &Path, filter: &Filter) -> Result<Vec<Event>, StoreError> {
    if !path.exists() {
        return Err(StoreError::ReadOnly(format!("{} is not there", path.display())));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(1))?;
    let end = Instant::now() + TIME;
    connection.progress_handler(STEPS, Some(move || Instant::now() > end))?;
    let mut events = Vec::new();
    let mut at = filter.clone();
    let limit = filter.limit;
    // What SQL can't compare (the case of letters beyond ASCII) is looked at here, page by page.
    while events.len() < limit {
        let (page, last) = page(&connection, &at)?;
        events.extend(page.into_iter().filter(|event| filter.matches(event)));
        let Some(last) = last else { break };
        match filter.oldest_first {
            true => at.after = Some(last),
            false => at.before = Some(last),
        }
    }
    events.truncate(limit);
    Ok(events)
}

/// Rows that SQL finds, and the last id if there may be more.
fn page(connection: &Connection, filter: &Filter) -> Result<(Vec<Event>, Option<u64>), StoreError> {
    let (sql, values) = statement(filter);
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let (mut events, mut count, mut last) = (Vec::new(), 0, None);
    while let Some(row) = rows.next()? {
        count += 1;
        let id: i64 = row.get(0)?;
        last = u64::try_from(id).ok();
        // A kind of a newer agent's, or a name that is none any more.
        if let Some(event) = event(row)? {
            events.push(event);
        }
    }
    Ok((events, last.filter(|_| count >= rows_of(filter))))
}

fn rows_of(filter: &Filter) -> usize {
    // With a text many rows are looked at for one that matches.
    if filter.text.is_some() || filter.actor.is_some() { 1000 } else { filter.limit.max(1) }
}

fn statement(filter: &Filter) -> (String, Vec<Value>) {
    let mut wheres = vec!["1".to_owned()];
    let mut values: Vec<Value> = Vec::new();
    let number = |n: u64| Value::Integer(i64::try_from(n).unwrap_or(i64::MAX));
    if !filter.kinds.is_empty() {
        let marks = vec!["?"; filter.kinds.len()].join(", ");
        wheres.push(format!("kind IN ({marks})"));
        values.extend(filter.kinds.iter().map(|kind| Value::Text(kind.as_str().to_owned())));
    }
    if let Some(process) = &filter.process {
        wheres.push("process = ?".into());
        values.push(Value::Text(process.as_str().to_owned()));
    }
    if let Some(id) = &filter.instance {
        wheres.push("instance = ?".into());
        values.push(Value::Text(id.as_str().to_owned()));
    }
    let bounds = [
        ("time_ms >= ?", filter.since_ms),
        ("time_ms < ?", filter.until_ms),
        ("id < ?", filter.before),
        ("id > ?", filter.after),
    ];
    for (condition, value) in bounds {
        if let Some(value) = value {
            wheres.push(condition.into());
            values.push(number(value));
        }
    }
    let order = if filter.oldest_first { "ASC" } else { "DESC" };
    values.push(number(rows_of(filter) as u64));
    let sql = format!(
        "SELECT id, time_ms, kind, process, instance, actor, actor_id, actor_name, address, request_id,
                action, status, code, message, detail
         FROM events WHERE {} ORDER BY id {order} LIMIT ?",
        wheres.join(" AND ")
    );
    (sql, values)
}

fn event(row: &Row) -> Result<Option<Event>, StoreError> {
    let text = |at: usize| row.get::<_, Option<String>>(at);
    let Ok(kind) = row.get::<_, String>(2)?.parse::<EventKind>() else { return Ok(None) };
    let mut event = Event::new(kind, row.get::<_, String>(13)?);
    event.id = u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0);
    event.time_ms = u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0);
    event.process = text(3)?.and_then(|name| name.parse().ok());
    event.instance_id = text(4)?.and_then(|id| id.parse().ok());
    let actor = text(5)?;
    let actor = ActorKind::ALL.into_iter().find(|kind| Some(kind.as_str()) == actor.as_deref());
    if let Some(kind) = actor {
        event.actor = Some(Actor { kind, id: text(6)?.unwrap_or_default(), name: text(7)? });
    }
    event.address = text(8)?;
    event.request_id = text(9)?;
    event.action = text(10)?;
    event.status = row.get(11)?;
    event.code = text(12)?;
    event.detail = serde_json::from_str(&row.get::<_, String>(14)?).unwrap_or_default();
    Ok(Some(event))
}
