//! The routes of releases: upload, list, log, delete.
//!
//! An upload is a tar file of any length, bounded by the config's `upload_max` and the disk. It is answered with 202 as
//! soon as it is whole; the build goes on by itself, and its log can be followed.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use futures_util::stream;
use http::header::CONTENT_TYPE;
use http::{StatusCode, Uri};
use http_body_util::BodyExt as _;
use jiff::Zoned;
use tenement_wire::{
    ProcessName, ReleaseList, ReleaseName, ReleaseSource, ReleaseView, releases::ReleaseRemoved,
};
use tokio::sync::Semaphore;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use super::access::Caller;
use super::drain::drain;
use super::input::Input;
use super::problem::Problem;
use super::routes::{ProcessInPath, collect};
use super::serve::{Stopping, stopped};
use crate::flows::ManageError;
use crate::flows::events::{request, within};
use crate::flows::releases::ReleaseError;
use crate::flows::releases::desk::{Printed, ReleaseDesk};
use crate::flows::releases::make::Upload;

/// How long nothing may come of an upload.
const SILENCE: Duration = Duration::from_secs(30);

/// Logs that are followed at once.
const FOLLOWED: usize = 32;

/// What the routes need.
#[derive(Clone)]
pub(super) struct Desk {
    shelf: Arc<dyn ReleaseDesk>,
    follows: Arc<Semaphore>,
}

impl Desk {
    pub(super) fn new(shelf: Arc<dyn ReleaseDesk>) -> Self {
        Self { shelf, follows: Arc::new(Semaphore::new(FOLLOWED)) }
    }
}

/// The routes, below `/api/v1` and `/api`.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(desk: Desk) -> OpenApiRouter<S> {
    OpenApiRouter::new()
        .routes(collect!(all_releases))
        .routes(collect!(list_releases, upload_release))
        .routes(collect!(show_release, remove_release))
        .routes(collect!(release_log))
        .routes(collect!(use_release))
        .with_state(desk)
}

/// The process and the release in the path. What is no name of a release is unknown.
struct Names(ProcessName, ReleaseName);

impl<S: Send + Sync> FromRequestParts<S> for Names {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path((process, name)) = Path::<(String, String)>::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::malformed("the path is not UTF-8"))?;
        let process = process.parse().map_err(|error| Problem::invalid_name(&error))?;
        let name = ReleaseName::new(&name).map_err(|error| Problem::bad_release(&error))?;
        Ok(Self(process, name))
    }
}

/// In a task of its own: a client that hangs up must not leave it half done.
async fn whole<T: Send + 'static>(
    work: impl Future<Output = Result<T, ReleaseError>> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::spawn(within(request(), work)).await;
    done.map_err(|error| Problem::from(ManageError::Internal(error.into())))?.map_err(Into::into)
}

/// List the releases of all processes
#[utoipa::path(get, path = "/releases", tag = "releases", security(("token" = ["read"])),
    responses((status = 200, description = "The newest of each process first", body = ReleaseList)),
    extensions(("x-problems" = json!(["unavailable"]))))]
async fn all_releases(
    State(desk): State<Desk>,
    input: Input,
) -> Result<Json<ReleaseList>, Problem> {
    input.finish(Some(()))?;
    let releases = whole(async move { desk.shelf.list(None).await }).await?;
    Ok(Json(ReleaseList { releases }))
}

/// List the releases of a process
#[utoipa::path(get, path = "/processes/{process}/releases", tag = "releases", security(("token" = ["read"])),
    params(("process" = ProcessName, Path)),
    responses((status = 200, description = "The newest first", body = ReleaseList)),
    extensions(("x-problems" = json!(["unknown_process"]))))]
async fn list_releases(
    State(desk): State<Desk>,
    ProcessInPath(process): ProcessInPath,
    input: Input,
) -> Result<Json<ReleaseList>, Problem> {
    input.finish(Some(()))?;
    let releases = whole(async move { desk.shelf.list(Some(process)).await }).await?;
    Ok(Json(ReleaseList { releases }))
}

/// A tar file, for the document.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "it is only described")]
struct Tarball(Vec<u8>);

/// The parameters of an upload, for the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "its fields are only described")]
struct About {
    /// Its name; a time stamp such as 20261121-233015 by default
    name: Option<ReleaseName>,
    /// Where it comes from, for people
    #[param(max_length = 200, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$")]
    source: Option<String>,
}

/// Upload a release
///
/// The body is a tar, tar.gz or tar.zst file, told apart by their first bytes, whatever the type is said to be. The
/// answer comes when it is whole: the release is unpacked and built from then on, and its log can be followed. A
/// release never changes, so a name that is taken is refused. An `Idempotency-Key` has no effect here, for the name
/// is one.
#[utoipa::path(post, path = "/processes/{process}/releases", tag = "releases", security(("token" = ["operator"])),
    params(("process" = ProcessName, Path), About),
    request_body(content = inline(Tarball), content_type = "application/octet-stream"),
    responses((status = 202, description = "It is being made", body = ReleaseView)),
    extensions(("x-problems" = json!(["unknown_process", "no_releases", "release_exists", "busy", "not_a_tarball", "no_space"]))))]
async fn upload_release(
    State(desk): State<Desk>,
    ProcessInPath(process): ProcessInPath,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, mut body) = request.into_parts();
    let taken = take(&desk, &process, &parts.uri, &mut body).await;
    let (upload, source) = match taken {
        Ok(taken) => taken,
        Err(problem) => {
            drain(&mut body).await;
            return Err(problem);
        }
    };
    let by = caller.to_string();
    let view = whole(async move { desk.shelf.make(upload, source, by).await }).await?;
    Ok((StatusCode::ACCEPTED, Json(view)).into_response())
}

/// Reads a whole upload.
async fn take(
    desk: &Desk,
    process: &ProcessName,
    uri: &Uri,
    body: &mut Body,
) -> Result<(Upload, ReleaseSource), Problem> {
    // Only the query: the body is no JSON.
    let mut input = Input::of_query(uri)?;
    let name: Option<ReleaseName> = input.parameter("name");
    let source: Option<ReleaseSource> = input.parameter("source");
    input.finish(Some(()))?;
    let name = match name {
        Some(name) => name,
        None => time_stamp()?,
    };
    let mut upload = desk.shelf.begin(process, &name)?;
    loop {
        let frame = match tokio::time::timeout(SILENCE, body.frame()).await {
            Err(_) => return Err(Problem::body_late()),
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(Problem::malformed("the upload broke off")),
            Ok(Some(Ok(frame))) => frame,
        };
        if let Ok(bytes) = frame.into_data() {
            upload.spool.write(&bytes).await?;
        }
    }
    Ok((upload, source.unwrap_or_else(|| ReleaseSource::lossy(""))))
}

/// Such as `20261121-233015`, in the host's local time.
fn time_stamp() -> Result<ReleaseName, Problem> {
    let text = Zoned::now().strftime("%Y%m%d-%H%M%S").to_string();
    ReleaseName::new(&text).map_err(|error| ManageError::Internal(Box::new(error)).into())
}

/// Show a release
#[utoipa::path(get, path = "/processes/{process}/releases/{release}", tag = "releases",
    security(("token" = ["read"])),
    params(("process" = ProcessName, Path), ("release" = ReleaseName, Path)),
    responses((status = 200, description = "As it is now", body = ReleaseView)),
    extensions(("x-problems" = json!(["unknown_release", "unavailable"]))))]
async fn show_release(
    State(desk): State<Desk>,
    Names(process, name): Names,
    input: Input,
) -> Result<Json<ReleaseView>, Problem> {
    input.finish(Some(()))?;
    Ok(Json(whole(async move { desk.shelf.show(process, name).await }).await?))
}

/// What the build of a release has printed
///
/// The last 64 KiB. With `follow=true` also what it prints from then on, until it has ended.
#[utoipa::path(get, path = "/processes/{process}/releases/{release}/log", tag = "releases",
    security(("token" = ["read"])),
    params(("process" = ProcessName, Path), ("release" = ReleaseName, Path),
        ("follow" = Option<bool>, Query, description = "Until the build has ended (false)")),
    responses((status = 200, description = "As it was printed", content_type = "text/plain", body = String)),
    extensions(("x-problems" = json!(["unknown_release"]))))]
async fn release_log(
    State(desk): State<Desk>,
    Names(process, name): Names,
    stopping: Option<Extension<Stopping>>,
    mut input: Input,
) -> Result<Response, Problem> {
    let follow = input.flag("follow");
    input.finish(Some(()))?;
    let slot = follow.then(|| desk.follows.clone().try_acquire_owned()).transpose();
    let slot = slot.map_err(|_| Problem::too_many_follow(FOLLOWED))?;
    let body = match desk.shelf.printed(process, name).await? {
        Printed::Past(bytes) => Body::from(bytes),
        Printed::Live(log) if !follow => Body::from(log.since(0).0),
        Printed::Live(log) => {
            let begun = (log, 0, stopping.map(|Extension(stopping)| stopping), slot);
            Body::from_stream(stream::unfold(begun, |(log, at, mut stopping, slot)| async move {
                let (bytes, at) = tokio::select! {
                    biased;
                    () = stopped(&mut stopping) => return None,
                    next = log.next(at) => next?,
                };
                let next = (log, at, stopping, slot);
                Some((Ok::<_, std::convert::Infallible>(Bytes::from(bytes)), next))
            }))
        }
    };
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response())
}

/// Delete a release
///
/// Not one that its process runs from or ran from before, that an instance is pinned to or was started from, or that
/// is being deployed. A build that runs is ended.
#[utoipa::path(delete, path = "/processes/{process}/releases/{release}", tag = "releases",
    security(("token" = ["operator"])),
    params(("process" = ProcessName, Path), ("release" = ReleaseName, Path)),
    responses((status = 200, description = "It is gone", body = ReleaseRemoved)),
    extensions(("x-problems" = json!(["unknown_release", "release_in_use"]))))]
async fn remove_release(
    State(desk): State<Desk>,
    Names(process, name): Names,
    input: Input,
) -> Result<Json<ReleaseRemoved>, Problem> {
    input.finish(Some(()))?;
    let removed = ReleaseRemoved { process: process.clone(), name: name.clone() };
    whole(async move { desk.shelf.remove(process, name).await }).await?;
    Ok(Json(removed))
}

/// Run from a release
///
/// A deployment in place: each instance of the process does from its next start on, unless it is pinned to another.
/// The release is on trial until one is ready on it, and is taken back if that fails. Where the process runs from it
/// already, nothing is done. It is refused while a deployment of the process is under way.
#[utoipa::path(post, path = "/processes/{process}/releases/{release}/use", tag = "releases",
    security(("token" = ["operator"])),
    params(("process" = ProcessName, Path), ("release" = ReleaseName, Path)),
    responses((status = 200, description = "The process runs from it", body = ReleaseView)),
    extensions(("x-problems" = json!(["unknown_release", "deploy_running", "unavailable"]))))]
async fn use_release(
    State(desk): State<Desk>,
    Names(process, name): Names,
    input: Input,
) -> Result<Json<ReleaseView>, Problem> {
    input.finish(Some(()))?;
    Ok(Json(whole(async move { desk.shelf.adopt(process, name).await }).await?))
}
