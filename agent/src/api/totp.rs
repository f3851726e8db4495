//! The routes of second factors: each token has one or none.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use tenement_wire::sessions::{ConfirmFactor, FactorCode, NewFactor, RecoveryCodes, SecondFactor};
use utoipa_axum::router::OpenApiRouter;

use super::access::Caller;
use super::idempotency::ShownOnce;
use super::input::Input;
use super::problem::Problem;
use super::routes::collect;
use super::session::Desk;
use super::tokens::{Id, limit};
use crate::flows::sessions::Sessions;
use tenement_wire::TokenId;

/// The routes, below `/api/v1` and `/api`.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(desk: Desk) -> OpenApiRouter<S> {
    OpenApiRouter::new()
        .routes(collect!(show_factor, begin_factor, confirm_factor, remove_factor))
        .with_state(desk)
}

/// The sessions, if the caller may know of the token.
fn known(desk: Desk, caller: &Caller, id: &TokenId) -> Result<Arc<Sessions>, Problem> {
    desk.tokens.show(id, limit(caller).as_deref())?;
    Ok(desk.sessions)
}

/// Show whether logins need a code
#[utoipa::path(get, path = "/tokens/{id}/totp", tag = "sessions", security(("token" = ["admin"])),
    params(("id" = TokenId, Path)),
    responses((status = 200, description = "How it stands", body = SecondFactor)),
    extensions(("x-problems" = json!(["unknown_token"]))))]
async fn show_factor(
    State(desk): State<Desk>,
    caller: Caller,
    Id(id): Id,
    input: Input,
) -> Result<Json<SecondFactor>, Problem> {
    input.finish(Some(()))?;
    Ok(Json(known(desk, &caller, &id)?.factor(&id)))
}

/// Begin a second factor
///
/// The answer has the secret for an authenticator app, this once. Logins need codes when one was confirmed.
#[utoipa::path(post, path = "/tokens/{id}/totp", tag = "sessions", security(("token" = ["admin"])),
    params(("id" = TokenId, Path)),
    responses((status = 200, description = "The secret, this once", body = NewFactor)),
    extensions(("x-problems" = json!(["unknown_token", "factor_enabled"]))))]
async fn begin_factor(
    State(desk): State<Desk>,
    caller: Caller,
    Id(id): Id,
    input: Input,
) -> Result<(Extension<ShownOnce>, Json<NewFactor>), Problem> {
    input.finish(Some(()))?;
    let begun = known(desk, &caller, &id)?.begin_factor(&id).await?;
    Ok((Extension(ShownOnce), Json(begun)))
}

/// Confirm a second factor
#[utoipa::path(patch, path = "/tokens/{id}/totp", tag = "sessions", security(("token" = ["admin"])),
    params(("id" = TokenId, Path)), request_body = ConfirmFactor,
    responses((status = 200, description = "Recovery codes, this once", body = RecoveryCodes)),
    extensions(("x-problems" = json!(
        ["unknown_token", "factor_enabled", "factor_not_begun", "wrong_code", "locked_out"]
    ))))]
async fn confirm_factor(
    State(desk): State<Desk>,
    caller: Caller,
    Id(id): Id,
    mut input: Input,
) -> Result<(Extension<ShownOnce>, Json<RecoveryCodes>), Problem> {
    let code: Option<FactorCode> = input.required("code");
    let code = input.finish(code)?;
    let sessions = known(desk, &caller, &id)?;
    let recovery_codes = sessions.confirm_factor(&id, code.as_str()).await?;
    Ok((Extension(ShownOnce), Json(RecoveryCodes { recovery_codes })))
}

/// Take a second factor away
#[utoipa::path(delete, path = "/tokens/{id}/totp", tag = "sessions", security(("token" = ["admin"])),
    params(("id" = TokenId, Path)),
    responses((status = 200, description = "How it stands now", body = SecondFactor)),
    extensions(("x-problems" = json!(["unknown_token"]))))]
async fn remove_factor(
    State(desk): State<Desk>,
    caller: Caller,
    Id(id): Id,
    input: Input,
) -> Result<Json<SecondFactor>, Problem> {
    input.finish(Some(()))?;
    let sessions = known(desk, &caller, &id)?;
    sessions.remove_factor(&id).await?;
    Ok(Json(sessions.factor(&id)))
}
