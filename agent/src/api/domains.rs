//! The routes of custom domains, and of what requests to a process are shared by.

use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::{Extension, Json};
use http::StatusCode;
use tenement_wire::domains::{
    AddDomain, DomainList, DomainRemoved, DomainState, DomainView, ProcessRouting, RoutingChange,
    WEIGHT_MAX,
};
use tenement_wire::{ProcessName, RouteTarget};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;

use super::access::Caller;
use super::audit::About;
use super::input::Input;
use super::problem::Problem;
use super::routes::{ProcessInPath, collect};
use crate::flows::ManageError;
use crate::flows::domains::{DomainError, Domains, Page, Wish};
use crate::flows::events::{request, within};
use crate::routes::DomainName;

/// Domains on one page at most.
const PAGE_MAX: usize = 1000;

/// The routes, below `/api/v1` and `/api`.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(domains: Arc<Domains>) -> OpenApiRouter<S> {
    OpenApiRouter::new()
        .routes(collect!(list_domains, add_domain))
        .routes(collect!(show_domain, remove_domain))
        .routes(collect!(check_domain))
        .routes(collect!(show_routing, change_routing))
        .with_state(domains)
}

/// The domain in the path. What is none is unknown.
struct Named(DomainName);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::malformed("the path is not UTF-8"))?;
        let unknown = |_| {
            let start: String = text.chars().filter(|c| !c.is_control()).take(60).collect();
            DomainError::Unknown(start).into()
        };
        text.parse().map(Self).map_err(unknown)
    }
}

/// Runs a change in a task of its own: a client that hangs up must not leave it half done.
async fn whole<T: Send + 'static, E: Into<Problem> + Send + 'static>(
    change: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::spawn(within(request(), change)).await;
    done.map_err(|error| Problem::from(ManageError::Internal(error.into())))?.map_err(Into::into)
}

/// The parameters of a list, for the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "its fields are only described")]
struct Filter {
    /// Only those that lead to this process, or this instance
    target: Option<RouteTarget>,
    /// Only those in this state
    #[param(inline)]
    state: Option<DomainState>,
    /// Domains at most (1000)
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Only those after this one: the `next` of the page before
    #[param(min_length = 1, max_length = 255)]
    cursor: Option<String>,
}

struct PageSize(usize);

impl FromStr for PageSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(limit @ 1..=PAGE_MAX) => Ok(Self(limit)),
            _ => Err(format!("must be a number from 1 to {PAGE_MAX}")),
        }
    }
}

struct Cursor(String);

impl FromStr for Cursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.chars().count() {
            1..=255 => Ok(Self(text.to_owned())),
            _ => Err("must have 1 to 255 characters"),
        }
    }
}

struct Wanted(DomainState);

impl FromStr for Wanted {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [DomainState::Pending, DomainState::Verified];
        let found = all.into_iter().find(|state| state.as_str() == text);
        found.map(Self).ok_or("must be pending or verified")
    }
}

/// List custom domains
///
/// Page by page: `next` is the `cursor` of the next page.
#[utoipa::path(get, path = "/domains", tag = "domains", security(("token" = ["read"])),
    params(Filter),
    responses((status = 200, description = "In order of name", body = DomainList)))]
async fn list_domains(
    State(domains): State<Arc<Domains>>,
    caller: Caller,
    mut input: Input,
) -> Result<Json<DomainList>, Problem> {
    let target: Option<RouteTarget> = input.parameter("target");
    let state: Option<Wanted> = input.parameter("state");
    let PageSize(limit) = input.parameter("limit").unwrap_or(PageSize(PAGE_MAX));
    let cursor: Option<Cursor> = input.parameter("cursor");
    input.finish(Some(()))?;
    let wanted = |leads: &RouteTarget, is: DomainState| {
        let there = target.as_ref().is_none_or(|target| {
            let whole = target.instance.is_none() && leads.process == target.process;
            whole || leads == target
        });
        there && state.as_ref().is_none_or(|state| is == state.0)
    };
    let page = Page { after: cursor.as_ref().map(|Cursor(name)| name.as_str()), limit };
    Ok(Json(domains.list(caller.reach(), wanted, page)))
}

/// Add a custom domain
///
/// It is pending until it is verified: by its TXT record, or by an HTTP request to it where the answer has a URL for that.
/// The same domain with the same target again is answered as it is. A name that somebody else has added and not proven
/// is given to whoever puts the TXT record there that `hint` names, and asks again.
#[utoipa::path(post, path = "/domains", tag = "domains", security(("token" = ["operator"])),
    request_body = AddDomain,
    responses((status = 201, description = "What proves it is in `challenge`", body = DomainView)),
    extensions(("x-problems" = json!(["unknown_process", "unknown_instance", "domain_taken", "too_many_domains"]))))]
async fn add_domain(
    State(domains): State<Arc<Domains>>,
    caller: Caller,
    mut input: Input,
) -> Result<(StatusCode, Json<DomainView>), Problem> {
    let name: Option<DomainName> = input.required("domain");
    let target: Option<RouteTarget> = input.required("target");
    let (by, reach) = (caller.to_string(), caller.reach().clone());
    let wish = name.zip(target).map(|(name, target)| Wish { name, target, by, reach });
    let wish = input.finish(wish)?;
    let view = whole(async move { domains.add(wish).await }).await?;
    Ok((StatusCode::CREATED, Json(view)))
}

/// Show a custom domain
#[utoipa::path(get, path = "/domains/{domain}", tag = "domains", security(("token" = ["read"])),
    params(("domain" = String, Path, min_length = 1, max_length = 255)),
    responses((status = 200, description = "As it was when it was last checked", body = DomainView)),
    extensions(("x-problems" = json!(["unknown_domain"]))))]
async fn show_domain(
    State(domains): State<Arc<Domains>>,
    caller: Caller,
    Named(name): Named,
    input: Input,
) -> Result<Json<DomainView>, Problem> {
    input.finish(Some(()))?;
    Ok(Json(domains.show(&name, caller.reach())?))
}

/// Check a custom domain now
///
/// Asks the DNS, and the domain itself over HTTP. A pending one routes from then on if that verifies it.
#[utoipa::path(post, path = "/domains/{domain}/check", tag = "domains", security(("token" = ["operator"])),
    params(("domain" = String, Path, min_length = 1, max_length = 255)),
    responses((status = 200, description = "What was found, and what to do", body = DomainView)),
    extensions(("x-problems" = json!(["unknown_domain", "too_many"]))))]
async fn check_domain(
    State(domains): State<Arc<Domains>>,
    caller: Caller,
    Named(name): Named,
    input: Input,
) -> Result<(Extension<About>, Json<DomainView>), Problem> {
    input.finish(Some(()))?;
    let reach = caller.reach().clone();
    let view = whole(async move { domains.check(&name, &reach).await }).await?;
    Ok((Extension(About(view.target.clone())), Json(view)))
}

/// Remove a custom domain
///
/// The next request to it is not routed any more.
#[utoipa::path(delete, path = "/domains/{domain}", tag = "domains", security(("token" = ["operator"])),
    params(("domain" = String, Path, min_length = 1, max_length = 255)),
    responses((status = 200, description = "It is gone", body = DomainRemoved)),
    extensions(("x-problems" = json!(["unknown_domain"]))))]
async fn remove_domain(
    State(domains): State<Arc<Domains>>,
    caller: Caller,
    Named(name): Named,
    input: Input,
) -> Result<(Extension<About>, Json<DomainRemoved>), Problem> {
    input.finish(Some(()))?;
    let (reach, domain) = (caller.reach().clone(), name.to_string());
    let about = About(domains.show(&name, &reach)?.target);
    whole(async move { domains.remove(&name, &reach).await }).await?;
    Ok((Extension(about), Json(DomainRemoved { domain })))
}

/// How requests to a process are shared
#[utoipa::path(get, path = "/processes/{process}/routing", tag = "domains", security(("token" = ["read"])),
    params(("process" = ProcessName, Path)),
    responses((status = 200, description = "The weights of its instances, and whether it is in maintenance", body = ProcessRouting)),
    extensions(("x-problems" = json!(["unknown_process"]))))]
async fn show_routing(
    State(domains): State<Arc<Domains>>,
    ProcessInPath(process): ProcessInPath,
    input: Input,
) -> Result<Json<ProcessRouting>, Problem> {
    input.finish(Some(()))?;
    Ok(Json(domains.routing(&process)?))
}

/// Weigh an instance, or begin or end maintenance
///
/// An instance without a weight in the request gets the default of its process again. It counts from the next request on.
#[utoipa::path(patch, path = "/processes/{process}/routing", tag = "domains", security(("token" = ["operator"])),
    params(("process" = ProcessName, Path)),
    request_body = RoutingChange,
    responses((status = 200, description = "As it is now", body = ProcessRouting)),
    extensions(("x-problems" = json!(["unknown_process", "unknown_instance"]))))]
async fn change_routing(
    State(domains): State<Arc<Domains>>,
    ProcessInPath(process): ProcessInPath,
    mut input: Input,
) -> Result<Json<ProcessRouting>, Problem> {
    let instance = input.optional("instance");
    let weight = input.number("weight", 0..=u64::from(WEIGHT_MAX));
    let weight = weight.and_then(|weight| u32::try_from(weight).ok());
    if weight.is_some() && instance.is_none() {
        input.wrong::<()>("instance", "is missing: whose weight is it?");
    }
    let maintenance = input.maybe("maintenance");
    let change = input.finish(Some(RoutingChange { instance, weight, maintenance }))?;
    Ok(Json(whole(async move { domains.change_routing(&process, change).await }).await?))
}
