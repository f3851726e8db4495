//! The thread that owns the connection.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension, Row, Savepoint, TransactionBehavior, params};
use tenement_wire::status::StateDatabase;
use tenement_wire::{InstanceName, ResourceLimits};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::keeper::Keeper;
use super::{
    GaveUp, Origin, Registered, StoreError, backups, domains, failures, releases, sessions, tokens,
};

/// Requests that share one commit at most.
const GROUP: usize = 256;

pub(super) type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

pub(super) enum Request {
    All(Answer<Vec<Registered>>),
    Register {
        names: Vec<InstanceName>,
        origin: Origin,
        ports: (u16, u16),
        answer: Answer<Vec<Registered>>,
    },
    Remove {
        name: InstanceName,
        answer: Answer<bool>,
    },
    Report(Answer<StateDatabase>),
    CanWrite(Answer<bool>),
    Close(oneshot::Sender<()>),
    SetOverrides {
        name: InstanceName,
        overrides: ResourceLimits,
        answer: Answer<bool>,
    },
    SetFailed {
        name: InstanceName,
        gave_up: Option<GaveUp>,
        answer: Answer<bool>,
    },
    Failed(Answer<Vec<(InstanceName, GaveUp)>>),
    Token(tokens::Order),
    Session(sessions::Order),
    Domain(domains::Order),
    Release(releases::Order),
    Backup(backups::Order),
}

impl Request {
    /// Whether it changes nothing.
    fn reads(&self) -> bool {
        match self {
            Self::Token(order) => order.reads(),
            Self::Session(order) => order.reads(),
            Self::Domain(order) => order.reads(),
            Self::Release(order) => order.reads(),
            Self::Backup(order) => order.reads(),
            other => matches!(other, Self::All(_) | Self::Failed(_)),
        }
    }
}

/// Gives an answer once the commit's fate is known.
type Reply = Box<dyn FnOnce(Option<&StoreError>)>;

/// Opens the database, says how that went, and serves until the last handle is gone.
pub(super) fn run(
    path: &Path,
    opened: oneshot::Sender<Result<(), StoreError>>,
    mut queue: mpsc::Receiver<Request>,
) {
    // Only for the time limit on waiting for requests.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let begun = runtime
        .map_err(|error| StoreError::Other(format!("no timer for the database: {error}")))
        .and_then(|runtime| Ok((runtime, Keeper::open(path)?)));
    let (runtime, mut keeper) = match begun {
        Ok(begun) => begun,
        // If nobody waits for the answer any more, there is nobody to serve either.
        Err(error) => return drop(opened.send(Err(error.at(path)))),
    };
    if opened.send(Ok(())).is_err() {
        return;
    }
    let mut group = Vec::with_capacity(GROUP);
    loop {
        let wait = keeper.patience();
        let received = queue.recv_many(&mut group, GROUP);
        match runtime.block_on(async { tokio::time::timeout(wait, received).await }) {
            Ok(0) => break,
            Ok(_) => {
                if let Some(closed) = serve(&mut keeper, path, group.drain(..)) {
                    keeper.save();
                    drop(keeper);
                    let _ = closed.send(());
                    return;
                }
            }
            Err(_) => {}
        }
        keeper.tend();
    }
    keeper.save();
}

/// Serves a group and tells the keeper how it went. Returns whom to tell that all is closed, if that
/// was asked for.
fn serve(
    keeper: &mut Keeper,
    path: &Path,
    group: impl Iterator<Item = Request>,
) -> Option<oneshot::Sender<()>> {
    let (others, group): (Vec<_>, Vec<_>) = group.partition(|request| {
        matches!(request, Request::Report(_) | Request::CanWrite(_) | Request::Close(_))
    });
    if !group.is_empty() {
        match keeper.connection() {
            Ok((connection, refusal)) => {
                let outcome = commit(connection, path, refusal.as_ref(), group);
                keeper.ended(outcome.wrote, outcome.error.as_ref());
            }
            Err(error) => refuse(group, &error.at(path)),
        }
    }
    let mut closing = None;
    for other in others {
        match other {
            Request::Report(answer) => drop(answer.send(Ok(keeper.report()))),
            Request::CanWrite(answer) => drop(answer.send(Ok(keeper.can_write()))),
            Request::Close(done) => closing = Some(done),
            _ => {}
        }
    }
    closing
}

/// How a group went.
#[derive(Default)]
struct Outcome {
    wrote: bool,
    error: Option<StoreError>,
}

/// Carries out a group in one transaction. A request that fails is undone alone (savepoint); if the
/// commit fails, all of them have failed. Nobody hears of success before that.
fn commit(
    connection: &mut Connection,
    path: &Path,
    refusal: Option<&StoreError>,
    group: Vec<Request>,
) -> Outcome {
    let mut replies: Vec<Reply> = Vec::new();
    let mut outcome = Outcome::default();
    let mut transaction = match connection.transaction_with_behavior(TransactionBehavior::Deferred)
    {
        Ok(transaction) => transaction,
        Err(error) => {
            let error = StoreError::from(error);
            refuse(group, &error.clone().at(path));
            return Outcome { wrote: false, error: Some(error) };
        }
    };
    let result = (|| -> Result<(), StoreError> {
        for request in group {
            if let (Some(refusal), false) = (refusal, request.reads()) {
                refuse(vec![request], &refusal.clone().at(path));
                continue;
            }
            outcome.wrote |= !request.reads();
            let mut reply = Replier { replies: &mut replies, error: &mut outcome.error, path };
            match request {
                Request::All(answer) => reply.add(answer, all(&transaction)),
                Request::Register { names, origin, ports, answer } => {
                    let act = |point: &Connection| register(point, &names, origin, ports);
                    reply.add(answer, alone(&mut transaction, act));
                }
                Request::Remove { name, answer } => {
                    reply.add(answer, alone(&mut transaction, |point| remove(point, &name)));
                }
                Request::SetFailed { name, gave_up, answer } => {
                    let act = |point: &Connection| failures::set(point, &name, gave_up.as_ref());
                    reply.add(answer, alone(&mut transaction, act));
                }
                Request::Failed(answer) => reply.add(answer, failures::all(&transaction)),
                Request::Token(order) => order.carry_out(&mut transaction, &mut reply),
                Request::Session(order) => order.carry_out(&mut transaction, &mut reply),
                Request::Domain(order) => order.carry_out(&mut transaction, &mut reply),
                Request::Release(order) => order.carry_out(&mut transaction, &mut reply),
                Request::Backup(order) => order.carry_out(&mut transaction, &mut reply),
                Request::SetOverrides { name, overrides, answer } => {
                    let act = |point: &Connection| set_overrides(point, &name, &overrides);
                    reply.add(answer, alone(&mut transaction, act));
                }
                Request::Report(_) | Request::CanWrite(_) | Request::Close(_) => {
                    unreachable!("taken out before")
                }
            }
        }
        Ok(transaction.commit()?)
    })();
    let failure = result.err();
    let told = failure.clone().map(|error| error.at(path));
    for reply in replies {
        reply(told.as_ref());
    }
    outcome.error = failure.or(outcome.error);
    outcome
}

/// Answers requests that can't be carried out at all.
fn refuse(group: Vec<Request>, error: &StoreError) {
    // A caller that gave up needs no answer.
    for request in group {
        let error = error.clone();
        match request {
            Request::All(answer) => drop(answer.send(Err(error))),
            Request::Register { answer, .. } => drop(answer.send(Err(error))),
            Request::Remove { answer, .. } => drop(answer.send(Err(error))),
            Request::SetOverrides { answer, .. } => drop(answer.send(Err(error))),
            Request::SetFailed { answer, .. } => drop(answer.send(Err(error))),
            Request::Failed(answer) => drop(answer.send(Err(error))),
            Request::Token(order) => order.refuse(error),
            Request::Session(order) => order.refuse(error),
            Request::Domain(order) => order.refuse(error),
            Request::Release(order) => order.refuse(error),
            Request::Backup(order) => order.refuse(error),
            Request::Report(answer) => drop(answer.send(Err(error))),
            Request::CanWrite(answer) => drop(answer.send(Err(error))),
            Request::Close(done) => drop(done.send(())),
        }
    }
}

pub(super) fn alone<T>(
    transaction: &mut rusqlite::Transaction<'_>,
    act: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let point: Savepoint<'_> = transaction.savepoint()?;
    let value = act(&point)?;
    point.commit()?;
    Ok(value)
}

/// Collects answers, and the first error among them.
pub(super) struct Replier<'a> {
    replies: &'a mut Vec<Reply>,
    error: &'a mut Option<StoreError>,
    path: &'a Path,
}

impl Replier<'_> {
    pub(super) fn add<T: 'static>(&mut self, answer: Answer<T>, result: Result<T, StoreError>) {
        if let Err(error) = &result {
            self.error.get_or_insert_with(|| error.clone());
        }
        let result = result.map_err(|error| error.at(self.path));
        self.replies.push(Box::new(move |failure| {
            let result = failure.map_or(result, |failure| Err(failure.clone()));
            // A caller that gave up needs no answer.
            let _ = answer.send(result);
        }));
    }
}

const COLUMNS: &str = "process, id, uuid, port, created_ms, origin, overrides";

fn all(connection: &Connection) -> Result<Vec<Registered>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM instances ORDER BY process, id");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map((), read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn register(
    connection: &Connection,
    names: &[InstanceName],
    origin: Origin,
    ports: (u16, u16),
) -> Result<Vec<Registered>, StoreError> {
    let select = format!("SELECT {COLUMNS} FROM instances WHERE process = ?1 AND id = ?2");
    let mut select = connection.prepare_cached(&select)?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO instances (process, id, uuid, port, created_ms, origin)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let mut free: Option<std::vec::IntoIter<u16>> = None;
    let mut registered = Vec::with_capacity(names.len());
    for name in names {
        let key = params![name.process().as_str(), name.id().as_str()];
        if let Some(known) = select.query_row(key, read).optional()? {
            registered.push(known);
            continue;
        }
        let free = match &mut free {
            Some(free) => free,
            None => free.insert(free_ports(connection, ports)?.into_iter()),
        };
        let port = free.next().ok_or(StoreError::NoFreePort(ports.0, ports.1))?;
        let new = Registered {
            name: name.clone(),
            uuid: Uuid::new_v4(),
            port,
            created_ms: now_ms(),
            origin,
            overrides: ResourceLimits::new(),
        };
        insert.execute(params![
            name.process().as_str(),
            name.id().as_str(),
            new.uuid.to_string(),
            port,
            i64::try_from(new.created_ms).unwrap_or(i64::MAX),
            origin_word(origin),
        ])?;
        registered.push(new);
    }
    Ok(registered)
}

/// The free ports of a range, lowest first.
fn free_ports(connection: &Connection, (low, high): (u16, u16)) -> Result<Vec<u16>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT port FROM instances WHERE port BETWEEN ?1 AND ?2")?;
    let taken = statement.query_map((low, high), |row| row.get(0))?;
    let taken: BTreeSet<u16> = taken.collect::<Result<_, _>>()?;
    Ok((low..=high).filter(|port| !taken.contains(port)).collect())
}

fn remove(connection: &Connection, name: &InstanceName) -> Result<bool, StoreError> {
    let sql = "DELETE FROM instances WHERE process = ?1 AND id = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.execute(params![name.process().as_str(), name.id().as_str()])? > 0)
}

fn set_overrides(
    connection: &Connection,
    name: &InstanceName,
    overrides: &ResourceLimits,
) -> Result<bool, StoreError> {
    let text = serde_json::to_string(overrides)
        .map_err(|error| StoreError::Other(format!("limits of {name}: {error}")))?;
    let sql = "UPDATE instances SET overrides = ?3 WHERE process = ?1 AND id = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let key = params![name.process().as_str(), name.id().as_str(), text];
    Ok(statement.execute(key)? > 0)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Registered> {
    let bad = |column: usize, error: Box<dyn std::error::Error + Send + Sync>| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error)
    };
    let (process, id): (String, String) = (row.get(0)?, row.get(1)?);
    let process = process.parse().map_err(|e: tenement_wire::NameError| bad(0, e.into()))?;
    let id = id.parse().map_err(|e: tenement_wire::NameError| bad(1, e.into()))?;
    let uuid: String = row.get(2)?;
    let created: i64 = row.get(4)?;
    let origin: String = row.get(5)?;
    let overrides: String = row.get(6)?;
    Ok(Registered {
        name: InstanceName::new(process, id),
        uuid: uuid.parse().map_err(|e: uuid::Error| bad(2, e.into()))?,
        port: row.get(3)?,
        created_ms: u64::try_from(created).unwrap_or(0),
        origin: if origin == "config" { Origin::Config } else { Origin::Api },
        overrides: serde_json::from_str(&overrides).map_err(|e| bad(6, e.into()))?,
    })
}

fn origin_word(origin: Origin) -> &'static str {
    match origin {
        Origin::Config => "config",
        Origin::Api => "api",
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}
