//! The routes of backups.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use futures_util::{StreamExt as _, stream};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{StatusCode, Uri};
use http_body_util::BodyExt as _;
use tenement_wire::backups::{BackupList, BackupMethod, Restored, StoredBackup, StoredBackups};
use tenement_wire::{FieldError, InstanceName, ProcessName};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use super::access::Caller;
use super::drain::drain;
use super::input::Input;
use super::problem::Problem;
use super::routes::{Name, collect};
use crate::flows::ManageError;
use crate::flows::backups::{Archives, BackupError, From, Restore};
use crate::flows::events::{request, within};
use crate::vault::VaultError;

/// Archives that are on their way in or out at once: each has a unit, and bytes on disk.
const AT_ONCE: usize = 8;
/// How long a body that should be empty may take to be so.
const FIRST_BYTE: Duration = Duration::from_secs(10);
/// Longest name of a backup.
const FILE_MAX: usize = 255;

/// An archive, for the document.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "it is only described")]
struct ArchiveBytes(Vec<u8>);

/// What the routes need.
#[derive(Clone)]
pub(super) struct Desk {
    archives: Arc<dyn Archives>,
    slots: Arc<Semaphore>,
}

impl Desk {
    pub(super) fn new(archives: Arc<dyn Archives>) -> Self {
        Self { archives, slots: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    fn slot(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.slots.clone().try_acquire_owned().map_err(|_| {
            let detail = format!("{AT_ONCE} archives are on their way already");
            let hint = "try again when one of them is done";
            let status = StatusCode::SERVICE_UNAVAILABLE;
            let mut problem = Problem::new(status, "too_many", detail, hint);
            problem.retry_after = Some(Duration::from_secs(5));
            problem
        })
    }
}

/// The routes, below `/api/v1` and `/api`.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(desk: Desk) -> OpenApiRouter<S> {
    OpenApiRouter::new()
        .routes(collect!(list_backups))
        .routes(collect!(stored_backups, run_backup))
        .routes(collect!(download_backup))
        .routes(collect!(restore_backup))
        .with_state(desk)
}

/// How backups stand
///
/// Of every instance whose process keeps backups somewhere, or that was backed up before.
#[utoipa::path(get, path = "/backups", tag = "backups", security(("token" = ["read"])),
    params(("process" = Option<ProcessName>, Query, description = "Only instances of this process")),
    responses((status = 200, description = "In order of name", body = BackupList)))]
async fn list_backups(
    State(desk): State<Desk>,
    caller: Caller,
    mut input: Input,
) -> Result<Json<BackupList>, Problem> {
    let process: Option<ProcessName> = input.parameter("process");
    input.finish(Some(()))?;
    let mut backups = desk.archives.states();
    backups.retain(|one| {
        let known = one.to.is_some() || one.last_ms.is_some() || one.failed_ms.is_some();
        known
            && caller.sees(&one.name)
            && process.as_ref().is_none_or(|process| one.name.process() == process)
    });
    Ok(Json(BackupList { backups }))
}

/// Backups of an instance that are kept
#[utoipa::path(get, path = "/instances/{name}/backups", tag = "backups", security(("token" = ["read"])),
    params(("name" = InstanceName, Path)),
    responses((status = 200, description = "Newest first", body = StoredBackups)),
    extensions(("x-problems" = json!(["no_backup_target", "backup_failed"]))))]
async fn stored_backups(
    State(desk): State<Desk>,
    Name(name): Name,
    input: Input,
) -> Result<Json<StoredBackups>, Problem> {
    input.finish(Some(()))?;
    detached(async move { desk.archives.stored(name).await }).await
}

/// Back an instance up now
///
/// To where its process keeps backups, and by its method. What need not be kept is removed afterwards.
#[utoipa::path(post, path = "/instances/{name}/backups", tag = "backups", security(("token" = ["operator"])),
    params(("name" = InstanceName, Path)),
    responses((status = 201, description = "The backup", body = StoredBackup)),
    extensions(("x-problems" = json!(["busy", "no_release", "no_backup_target", "backup_failed", "held_too_long"]))))]
async fn run_backup(
    State(desk): State<Desk>,
    Name(name): Name,
    input: Input,
) -> Result<(StatusCode, Json<StoredBackup>), Problem> {
    input.finish(Some(()))?;
    let made = detached(async move { desk.archives.run(name).await }).await?;
    Ok((StatusCode::CREATED, made))
}

/// Back an instance up, as a download
///
/// An archive of any length, made as it is read: a tar in zstd. One that breaks off is not whole.
#[utoipa::path(post, path = "/instances/{name}/backup", tag = "backups", security(("token" = ["admin"])),
    params(
        ("name" = InstanceName, Path),
        ("method" = inline(Option<BackupMethod>), Query, description = "How; without it as the config says"),
    ),
    responses((status = 200, description = "The archive", body = inline(ArchiveBytes), content_type = "application/zstd")),
    extensions(("x-problems" = json!(["busy", "no_release", "backup_failed", "held_too_long"]))))]
async fn download_backup(
    State(desk): State<Desk>,
    Name(name): Name,
    mut input: Input,
) -> Result<Response, Problem> {
    let method: Option<BackupMethod> = input.parameter("method");
    input.finish(Some(()))?;
    let slot = desk.slot()?;
    let file = format!("attachment; filename=\"{}-{}.tar.zst\"", name.process(), name.id());
    let pieces = desk.archives.download(name, method).await?;
    let pieces = pieces.map(move |piece| {
        // Held as long as the archive is on its way.
        let _ = &slot;
        piece
    });
    let headers = [(CONTENT_TYPE, "application/zstd".to_owned()), (CONTENT_DISPOSITION, file)];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

/// Replace the data of an instance by that of a backup
///
/// The body is an archive as a download is one; with `from` it is one that is kept, and the body is empty. The data is
/// replaced as a whole, and only if the archive is whole; otherwise nothing is touched.
#[utoipa::path(post, path = "/instances/{name}/restore", tag = "backups", security(("token" = ["admin"])),
    params(
        ("name" = InstanceName, Path),
        ("from" = Option<String>, Query, description = "`latest`, or the name of a backup that is kept",
            min_length = 1, max_length = 255),
        ("of" = Option<InstanceName>, Query, description = "The instance that the backup is of, if it is another"),
        ("keep_old" = Option<bool>, Query, description = "Keep the data that is there now, beside it"),
    ),
    request_body(content((inline(ArchiveBytes) = "application/zstd"), (inline(ArchiveBytes) = "application/octet-stream"))),
    responses((status = 200, description = "What was restored", body = Restored)),
    extensions(("x-problems" = json!(["busy", "no_release", "bad_archive", "no_backup_target", "unknown_backup", "backup_failed", "held_too_long"]))))]
async fn restore_backup(
    State(desk): State<Desk>,
    Name(name): Name,
    caller: Caller,
    request: Request,
) -> Result<Json<Restored>, Problem> {
    let (parts, body) = request.into_parts();
    let body = Arc::new(Mutex::new(body));
    let restored = restore(desk, name, caller, &parts.uri, body.clone()).await;
    // Whoever still holds it still reads it.
    if restored.is_err()
        && let Ok(mut body) = body.try_lock()
    {
        drain(&mut body).await;
    }
    restored
}

/// The body of a request, which whoever reads the archive shares with whoever refuses it.
type SharedBody = Arc<Mutex<Body>>;

async fn restore(
    desk: Desk,
    name: InstanceName,
    caller: Caller,
    uri: &Uri,
    body: SharedBody,
) -> Result<Json<Restored>, Problem> {
    // Only the query: the body is no JSON.
    let mut input = Input::of_query(uri)?;
    let from: Option<Which> = input.parameter("from");
    let of: Option<InstanceName> = input.parameter("of");
    let keep_old = input.flag("keep_old");
    input.finish(Some(()))?;
    let of = of.unwrap_or_else(|| name.clone());
    if !caller.sees(&of) {
        return Err(Problem::unknown_instance(&of));
    }
    if from.is_some() && has_bytes(&body).await? {
        let message = "goes without a body: it names an archive that is kept".to_owned();
        return Err(Problem::invalid(vec![FieldError { field: "from".into(), message }]));
    }
    let slot = desk.slot()?;
    let from = match from {
        Some(Which(file)) if file == "latest" => From::Latest,
        Some(Which(file)) => From::Stored(file),
        None => From::Sent(Box::pin(stream::try_unfold(body, |body| async move {
            let bytes = next_bytes(&body).await;
            let bytes = bytes.map_err(|error| VaultError::Failed(error.to_string()))?;
            Ok(bytes.map(|bytes| (bytes, body)))
        }))),
    };
    let order = Restore { name, of, keep_old };
    detached(async move {
        let restored = desk.archives.restore(order, from).await;
        drop(slot);
        restored
    })
    .await
}

/// What comes next of a body; none at its end.
async fn next_bytes(body: &SharedBody) -> Result<Option<Bytes>, axum::Error> {
    let mut body = body.lock().await;
    while let Some(frame) = body.frame().await {
        // Trailers are nothing here.
        if let Ok(bytes) = frame?.into_data() {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

/// Whether a body has anything in it.
async fn has_bytes(body: &SharedBody) -> Result<bool, Problem> {
    let look = async {
        loop {
            match next_bytes(body).await {
                Ok(Some(bytes)) if bytes.is_empty() => {}
                other => return other,
            }
        }
    };
    match tokio::time::timeout(FIRST_BYTE, look).await {
        Err(_) => Err(Problem::body_late()),
        Ok(Err(_)) => Err(Problem::malformed("the body broke off")),
        Ok(Ok(found)) => Ok(found.is_some()),
    }
}

/// The name of a backup, or `latest`.
struct Which(String);

impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > FILE_MAX {
            return Err(format!("must have 1 to {FILE_MAX} characters"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// In a task of its own: a client that hangs up must not leave it half done.
async fn detached<T: Send + 'static>(
    work: impl Future<Output = Result<T, BackupError>> + Send + 'static,
) -> Result<Json<T>, Problem> {
    match tokio::spawn(within(request(), work)).await {
        Ok(done) => Ok(Json(done?)),
        Err(error) => Err(ManageError::Internal(Box::new(error)).into()),
    }
}
