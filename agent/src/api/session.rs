//! The routes of browser sessions, and the cookie.
//!
//! ```text
//! POST /session {token, code} ─► cookie + CSRF token     each request: cookie ─► Caller::Token, its Lapse
//! ```
//! With HTTPS the cookie is `__Host-`: only the domain itself can have set it, no instance below it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tenement_wire::sessions::{BrowserSession, FactorCode, LoggedOut, Login, SessionView};
use utoipa_axum::router::OpenApiRouter;

use super::access::{Caller, Where};
use super::input::Input;
use super::problem::Problem;
use super::remote::AskedHost;
use super::routes::collect;
use crate::flows::sessions::{LASTS, Live, SessionHash, Sessions};
use crate::flows::tokens::Tokens;
use crate::framing::{Visitor, cookie, is_own_origin};
use crate::token::Grant;

/// The cookie's name, by whether the client used HTTPS.
const fn cookie_name(https: bool) -> &'static str {
    if https { "__Host-tenement" } else { "tenement-session" }
}

const CSRF: HeaderName = HeaderName::from_static("x-csrf-token");

/// What the routes answer from.
#[derive(Clone)]
pub(super) struct Desk {
    pub sessions: Arc<Sessions>,
    pub tokens: Arc<Tokens>,
}

/// The routes, below `/api/v1` and `/api`.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(desk: Desk) -> OpenApiRouter<S> {
    OpenApiRouter::new()
        .routes(collect!(show_session, log_in, log_out))
        .routes(collect!(log_out_everywhere))
        .with_state(desk)
}

/// The session by which a request came in.
#[derive(Debug, Clone)]
pub(super) struct ByCookie {
    hash: SessionHash,
    view: BrowserSession,
}

/// Whom the cookie of a request stands for, put where the guard finds it. A request that shows a token needs
/// no cookie, and gets nothing by one.
///
/// # Errors
/// If the cookie is good and another origin's page seems to have sent it.
pub(super) fn recognise(
    sessions: &Sessions,
    method: &Method,
    headers: &HeaderMap,
    extensions: &mut http::Extensions,
) -> Result<(), Problem> {
    let https = extensions.get::<Visitor>().is_some_and(|visitor| visitor.https);
    if headers.contains_key(http::header::AUTHORIZATION) {
        return Ok(());
    }
    let Some(live) = cookie(headers, cookie_name(https)).and_then(|text| sessions.find(text))
    else {
        return Ok(());
    };
    let host = extensions.get::<AskedHost>().map_or("", |host| host.0.as_str());
    if !is_own_origin(headers, host) {
        return Err(Problem::cross_origin());
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        let text = headers.get(CSRF).and_then(|value| value.to_str().ok()).unwrap_or("");
        if !sessions.csrf_matches(&live.hash, text) {
            return Err(Problem::no_csrf_token());
        }
    }
    let Live { verified, hash, view } = live;
    extensions.insert(Caller::Token(verified.grant));
    extensions.insert(verified.lapse);
    extensions.insert(ByCookie { hash, view });
    Ok(())
}

/// Where a request came from, as far as its door has said.
struct From {
    address: IpAddr,
    https: bool,
    own_page: bool,
    session: Option<ByCookie>,
}

impl<S: Send + Sync> FromRequestParts<S> for From {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let known = &parts.extensions;
        let host = known.get::<AskedHost>().map_or("", |host| host.0.as_str());
        Ok(Self {
            address: known.get::<Where>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |w| w.0),
            https: known.get::<Visitor>().is_some_and(|visitor| visitor.https),
            own_page: is_own_origin(&parts.headers, host),
            session: known.get::<ByCookie>().cloned(),
        })
    }
}

fn view(grant: &Grant, session: Option<BrowserSession>) -> SessionView {
    SessionView {
        token: grant.id.clone(),
        name: grant.name.clone(),
        scope: grant.scope,
        process: grant.reach.process().cloned(),
        instance: grant.reach.instance().cloned(),
        session,
    }
}

/// Who asks
#[utoipa::path(get, path = "/session", tag = "sessions", security(("token" = ["read"])),
    responses((status = 200, description = "The token, and the browser session if there is one", body = SessionView)),
    extensions(("x-problems" = json!(["no_session"]))))]
async fn show_session(
    caller: Caller,
    from: From,
    input: Input,
) -> Result<Json<SessionView>, Problem> {
    input.finish(Some(()))?;
    match caller {
        Caller::Token(grant) => Ok(Json(view(&grant, from.session.map(|session| session.view)))),
        // Nobody needs one there.
        Caller::Local(_) | Caller::Scraper => Err(Problem::no_session()),
    }
}

/// Log in
///
/// Begins a browser session for a token; the answer sets its cookie. A token with a second factor needs a code.
#[utoipa::path(post, path = "/session", tag = "sessions", security(()), request_body = Login,
    responses((status = 200, description = "Who that is; with a cookie", body = SessionView)),
    extensions(("x-problems" = json!(
        ["unauthenticated", "code_needed", "wrong_code", "locked_out", "too_many", "cross_origin", "unavailable",
         "store_full", "store_read_only"]
    ))))]
async fn log_in(
    State(desk): State<Desk>,
    from: From,
    mut input: Input,
) -> Result<Response, Problem> {
    let token: Option<String> = input.required("token");
    let code: Option<FactorCode> = input.optional("code");
    let token = input.finish(token)?;
    if !from.own_page {
        return Err(Problem::cross_origin());
    }
    let verified = desk.tokens.verify(&token, from.address).await?;
    let grant = verified.grant.clone();
    let begun =
        async move { desk.sessions.login(verified, code.as_ref().map(FactorCode::as_str)).await };
    let done = tokio::spawn(begun).await;
    let (text, live) = done.map_err(|e| crate::flows::ManageError::Internal(e.into()))??;
    let mut response = Json(view(&grant, Some(live.view))).into_response();
    response.extensions_mut().insert(Caller::Token(grant));
    set_cookie(&mut response, from.https, &text, LASTS.as_secs())?;
    Ok(response)
}

/// Log out
#[utoipa::path(delete, path = "/session", tag = "sessions", security(("token" = ["read"])),
    responses((status = 200, description = "The session has ended", body = LoggedOut)),
    extensions(("x-problems" = json!(["no_session"]))))]
async fn log_out(
    State(desk): State<Desk>,
    caller: Caller,
    from: From,
    input: Input,
) -> Result<Response, Problem> {
    input.finish(Some(()))?;
    let Some(session) = from.session.filter(|_| matches!(caller, Caller::Token(_))) else {
        return Err(Problem::no_session());
    };
    let sessions = desk.sessions.logout(&session.hash).await?;
    let mut response = Json(LoggedOut { sessions }).into_response();
    set_cookie(&mut response, from.https, "", 0)?;
    Ok(response)
}

/// Log out everywhere
///
/// Ends every browser session of the token; on the admin socket those of all tokens.
#[utoipa::path(delete, path = "/sessions", tag = "sessions", security(("token" = ["read"])),
    responses((status = 200, description = "The sessions have ended", body = LoggedOut)))]
async fn log_out_everywhere(
    State(desk): State<Desk>,
    caller: Caller,
    from: From,
    input: Input,
) -> Result<Response, Problem> {
    input.finish(Some(()))?;
    let token = match &caller {
        Caller::Token(grant) => Some(&grant.id),
        Caller::Local(_) | Caller::Scraper => None,
    };
    let sessions = desk.sessions.logout_everywhere(token).await?;
    let mut response = Json(LoggedOut { sessions }).into_response();
    if from.session.is_some() {
        set_cookie(&mut response, from.https, "", 0)?;
    }
    Ok(response)
}

fn set_cookie(response: &mut Response, https: bool, value: &str, age: u64) -> Result<(), Problem> {
    let (name, secure) = (cookie_name(https), if https { "; Secure" } else { "" });
    let text = format!("{name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}");
    let value = HeaderValue::from_str(&text);
    let value = value.map_err(|e| crate::flows::ManageError::Internal(Box::new(e)))?;
    response.headers_mut().append(SET_COOKIE, value);
    Ok(())
}

/// Whether a request carries a cookie of ours.
pub(super) fn has_cookie(headers: &HeaderMap) -> bool {
    headers.contains_key(COOKIE)
        && [true, false].into_iter().any(|https| cookie(headers, cookie_name(https)).is_some())
}
