//! The routes, under `/api/v1` and the same under `/api`. `docs/API.md` describes them.
//!
//! A route is added in three steps. Its handler gets a `#[utoipa::path]` with its parameters, its body, its
//! good answers, the scope that it needs (`security(("token" = ["read"]))`, or `security(())` for a route that
//! is open to all) and the codes of its own errors (`extensions(("x-problems" = json!(["busy"])))`; those that
//! all routes share come by themselves). It is named in a `collect!` of a `routes` function that is merged
//! below. Then `UPDATE_OPENAPI=1 cargo test -p tenement-agent --test openapi` writes `docs/openapi.json` anew.

use std::future::Future;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::{Extension, Json, Router, middleware};
use http::{Method, Uri};
use tenement_wire::{InstanceName, NameError, ProcessName};
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;

use super::audit::{audit, refusals};
use super::bounds::bounds;
use super::document::{self, Document, Head};
use super::etag::tag;
use super::guard::{Guard, Rules, authorize};
use super::idempotency::{Answers, once};
use super::problem::Problem;
use super::seats::Seats;
use super::trace::trace;
use super::{
    alerts, backups, cron, deploys, domains, events, health, host, instances, logs, metrics,
    releases, rows, run, scrape, secrets, session, tls, tokens, totp, verbs,
};
use crate::flows::alerts::Alerts;
use crate::flows::backups::{Archives, NoArchives};
use crate::flows::deploys::desk::{NoRollouts, Rollouts};
use crate::flows::domains::Domains;
use crate::flows::events::{Events, request, within};
use crate::flows::logbook::{Logs, NoLogs};
use crate::flows::metrics::{Figures, NoFigures};
use crate::flows::releases::desk::{NoReleases, ReleaseDesk};
use crate::flows::sessions::Sessions;
use crate::flows::tasks::{Commands, NoCommands};
use crate::flows::tokens::{Clocks, Tokens};
use crate::flows::{ManageError, Management};
use crate::tls::Tls;
use crate::token::{KEY_LEN, Seal};

pub(super) type Answer<T> = Result<Json<T>, Problem>;
pub(super) type Manager<M> = State<Arc<M>>;

/// Annotated handlers of one path, with their entries in the document: as `utoipa_axum::routes!`, which
/// does not take handlers that are generic. After `M =>` stand those that are generic over the [`Management`].
macro_rules! collect {
    ($($handler:ident),+ $(,)?) => { $crate::api::routes::collect!(@ $([$handler] [$handler]),+) };
    ($m:ident => $($handler:ident),+ $(,)?) => {
        $crate::api::routes::collect!(@ $([$handler] [$handler::<$m>]),+)
    };
    (@ $([$name:ident] [$handler:expr]),+) => { utoipa_axum::paste! {{
        use utoipa::Path as _;
        use utoipa::__dev::{SchemaReferences as _, Tags as _};
        use utoipa_axum::PathItemExt as _;
        let mut paths = utoipa::openapi::path::Paths::new();
        let mut schemas = Vec::new();
        let mut methods = axum::routing::MethodRouter::new();
        $(
            let mut operation = [<__path_ $name>]::operation();
            let tags = [<__path_ $name>]::tags();
            operation.tags.get_or_insert_default().extend(tags.iter().map(ToString::to_string));
            for method in [<__path_ $name>]::methods() {
                methods = methods.on(method.to_method_filter(), $handler);
            }
            paths.add_path_operation(
                [<__path_ $name>]::path(),
                [<__path_ $name>]::methods(),
                operation,
            );
            [<__path_ $name>]::schemas(&mut schemas);
        )+
        (schemas, paths, methods)
    }} };
}
pub(super) use collect;

/// What the API answers from, beside the instances.
pub struct Services {
    /// Their logs.
    pub logs: Arc<dyn Logs>,
    /// What is measured of them.
    pub figures: Arc<dyn Figures>,
    /// What happened; None: this agent keeps no events.
    pub events: Option<Events>,
    /// Who is told of it; None: nobody.
    pub alerts: Option<Alerts>,
    /// Who may do what.
    pub tokens: Arc<Tokens>,
    /// Who has logged in with a browser.
    pub sessions: Arc<Sessions>,
    /// Certificates; None: this agent has none.
    pub tls: Option<Arc<Tls>>,
    /// Custom domains, and what requests are shared by.
    pub domains: Arc<Domains>,
    /// One-off commands and scheduled jobs.
    pub commands: Arc<dyn Commands>,
    /// What instances run from.
    pub releases: Arc<dyn ReleaseDesk>,
    /// Backups.
    pub archives: Arc<dyn Archives>,
    /// Deployments.
    pub rollouts: Arc<dyn Rollouts>,
}

impl Services {
    /// Those of an agent without an index of logs, that keeps no events and forgets its tokens.
    ///
    /// # Errors
    /// If the kernel gives no random bytes.
    pub fn none() -> Result<Self, ManageError> {
        let logs = Arc::new(NoLogs { reason: "this agent keeps no index".into() });
        let tokens = Arc::new(Tokens::in_memory(Clocks::default())?);
        let mut key = [0; KEY_LEN];
        getrandom::fill(&mut key).map_err(|error| ManageError::Internal(Box::new(error)))?;
        let sessions = Arc::new(Sessions::in_memory(Seal::new(key), Clocks::default()));
        let figures = Arc::new(NoFigures);
        let domains = Arc::new(Domains::new(None));
        let (events, alerts, tls) = (None, None, None);
        let (commands, releases) = (Arc::new(NoCommands), Arc::new(NoReleases));
        let rollouts = Arc::new(NoRollouts);
        let archives = Arc::new(NoArchives);
        Ok(Self {
            logs,
            figures,
            events,
            alerts,
            tokens,
            sessions,
            tls,
            domains,
            commands,
            releases,
            archives,
            rollouts,
        })
    }
}

/// The whole API. It needs no more than `serve` to be reachable.
pub fn router_with<M: Management>(management: Arc<M>, services: Services) -> Router {
    let Services {
        logs,
        figures,
        events,
        alerts,
        tokens,
        sessions,
        tls,
        domains,
        commands,
        releases,
        archives,
        rollouts,
    } = services;
    let vaults = backups::Desk::new(archives);
    let shelf = releases::Desk::new(releases);
    let counter = session::Desk { sessions: sessions.clone(), tokens: tokens.clone() };
    let desk = logs::Desk::new(logs.clone());
    let list = rows::Desk::new();
    let book = events::Desk::new(events.clone());
    let routes = || {
        let more = logs::routes(desk.clone()).merge(events::routes(book.clone()));
        let more = more.merge(alerts::routes(alerts.clone())).merge(tls::routes(tls.clone()));
        let more = more.merge(domains::routes(domains.clone()));
        let more = more.merge(run::routes(commands.clone())).merge(cron::routes(commands.clone()));
        let more = more.merge(releases::routes(shelf.clone()));
        let more = more.merge(backups::routes(vaults.clone()));
        let more = more.merge(deploys::routes(rollouts.clone()));
        let more =
            more.merge(session::routes(counter.clone())).merge(totp::routes(counter.clone()));
        routes::<M>(logs.clone(), figures.clone())
            .merge(rows::routes(list.clone()))
            .merge(more)
            .merge(tokens::routes(tokens.clone()))
    };
    let (router, collected) = OpenApiRouter::with_openapi(Head::openapi())
        .nest("/api/v1", routes())
        .merge(health::at_the_root())
        .merge(scrape::routes(figures.clone()))
        .split_for_parts();
    let document = Document::complete(&collected);
    let rules = Rules::of(&document.value);
    let guard = Arc::new(Guard { rules, tokens: tokens.clone(), sessions });
    let trail = events.clone();
    router
        .nest("/api", Router::from(routes()))
        .method_not_allowed_fallback(|method: Method| async move {
            Problem::method_not_allowed(&method)
        })
        .fallback(|uri: Uri| async move { Problem::no_route(uri.path()) })
        .layer(middleware::from_fn(tag))
        .layer(middleware::from_fn_with_state(Answers::new(document.clone()), once))
        .layer(middleware::from_fn(move |request, next| audit(trail.clone(), request, next)))
        .layer(middleware::from_fn_with_state(guard, authorize))
        .layer(Extension(document))
        .layer(Extension(Seats::default()))
        .layer(middleware::from_fn(bounds))
        .layer(middleware::from_fn(move |request, next| refusals(events.clone(), request, next)))
        .layer(middleware::from_fn(trace))
        .with_state(management)
}

fn routes<M: Management>(logs: Arc<dyn Logs>, figures: Arc<dyn Figures>) -> OpenApiRouter<Arc<M>> {
    OpenApiRouter::new()
        .merge(instances::routes())
        .merge(verbs::routes())
        .merge(secrets::routes())
        .merge(host::routes())
        .merge(health::routes())
        .merge(metrics::routes(logs, figures))
        .routes(document::routes())
}

/// The instance in the path.
pub(super) struct Name(pub(super) InstanceName);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        name_in_path(parts, state).await.map(Self)
    }
}

/// The process in the path.
pub(super) struct ProcessInPath(pub(super) ProcessName);

impl<S: Send + Sync> FromRequestParts<S> for ProcessInPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        name_in_path(parts, state).await.map(Self)
    }
}

async fn name_in_path<S: Send + Sync, T: FromStr<Err = NameError>>(
    parts: &mut Parts,
    state: &S,
) -> Result<T, Problem> {
    let Path(text) = Path::<String>::from_request_parts(parts, state)
        .await
        .map_err(|_| Problem::malformed("the path is not UTF-8"))?;
    text.parse().map_err(|error| Problem::invalid_name(&error))
}

/// Runs a verb in a task of its own: a client that hangs up must not leave it half done, and a panic
/// must not take the connection with it.
pub(super) async fn detached<T, F>(verb: F) -> Answer<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T, ManageError>> + Send + 'static,
{
    match tokio::spawn(within(request(), verb)).await {
        Ok(result) => Ok(Json(result?)),
        Err(error) => Err(ManageError::Internal(Box::new(error)).into()),
    }
}
