//! The routes of tokens. The token itself is in the answer that makes it and in no other.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::{Extension, Json};
use http::StatusCode;
use tenement_wire::tokens::{
    CreateToken, LIFE_MAX_S, LIFE_MIN_S, NewToken, TokenList, TokenRevoked, TokenView,
};
use tenement_wire::{Scope, TokenId};
use utoipa_axum::router::OpenApiRouter;

use super::access::Caller;
use super::idempotency::ShownOnce;
use super::input::Input;
use super::problem::Problem;
use super::routes::collect;
use crate::flows::events::{request, within};
use crate::flows::tokens::{TokenError, Tokens, Wish};
use crate::token::{Grant, Reach, Token};

/// The routes, below `/api/v1` and `/api`.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(tokens: Arc<Tokens>) -> OpenApiRouter<S> {
    OpenApiRouter::new()
        .routes(collect!(list_tokens, create_token))
        .routes(collect!(show_token, revoke_token))
        .routes(collect!(rotate_token))
        .with_state(tokens)
}

/// The id in the path.
pub(super) struct Id(pub(super) TokenId);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::malformed("the path is not UTF-8"))?;
        TokenId::new(&text).map(Self).map_err(|_| Problem::unknown_token(&text))
    }
}

/// What somebody may hand on, and see: nothing beyond their own. None: everything.
pub(super) fn limit(caller: &Caller) -> Option<Arc<Grant>> {
    match caller {
        Caller::Local(_) | Caller::Scraper => None,
        Caller::Token(grant) => Some(grant.clone()),
    }
}

/// Runs a change in a task of its own: a client that hangs up must not leave it half done.
async fn whole<T: Send + 'static>(
    change: impl Future<Output = Result<T, TokenError>> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::spawn(within(request(), change)).await;
    Ok(done.map_err(|error| crate::flows::ManageError::Internal(error.into()))??)
}

fn once((token, view): (Token, TokenView)) -> NewToken {
    NewToken { secret: token.text(), token: view }
}

/// List tokens
///
/// Without their secrets. A restricted token sees those that reach no further than itself.
#[utoipa::path(get, path = "/tokens", tag = "tokens", security(("token" = ["admin"])),
    responses((status = 200, description = "The oldest first", body = TokenList)))]
async fn list_tokens(
    State(tokens): State<Arc<Tokens>>,
    caller: Caller,
    input: Input,
) -> Result<Json<TokenList>, Problem> {
    input.finish(Some(()))?;
    let checks = caller.sees_all().then(|| tokens.checks());
    Ok(Json(TokenList { tokens: tokens.list(limit(&caller).as_deref()), checks }))
}

/// Make a token
///
/// The answer has the token itself, which can't be read again. A token makes none that may do more than it.
#[utoipa::path(post, path = "/tokens", tag = "tokens", security(("token" = ["admin"])),
    request_body = CreateToken,
    responses((status = 201, description = "The token, this once", body = NewToken)),
    extensions(("x-problems" = json!(["too_many_tokens", "too_many"]))))]
async fn create_token(
    State(tokens): State<Arc<Tokens>>,
    caller: Caller,
    mut input: Input,
) -> Result<(StatusCode, Extension<ShownOnce>, Json<NewToken>), Problem> {
    let scope: Option<Scope> = input.required("scope");
    let name = input.optional("name");
    let process = input.optional("process");
    let has_instance = input.holds("instance");
    let instance = input.optional("instance");
    let life = input.number("expires_in_s", LIFE_MIN_S..=LIFE_MAX_S).map(Duration::from_secs);
    let reach = match Reach::new(process, instance) {
        None if has_instance => input.wrong("instance", "needs a process"),
        reach => reach,
    };
    let wish = scope.zip(reach).map(|(scope, reach)| Wish { name, scope, reach, life });
    let wish = input.finish(wish)?;
    let made =
        whole(
            async move { tokens.create(wish, caller.to_string(), limit(&caller).as_deref()).await },
        );
    Ok((StatusCode::CREATED, Extension(ShownOnce), Json(once(made.await?))))
}

/// Show a token
#[utoipa::path(get, path = "/tokens/{id}", tag = "tokens", security(("token" = ["admin"])),
    params(("id" = TokenId, Path)),
    responses((status = 200, description = "Without its secret", body = TokenView)),
    extensions(("x-problems" = json!(["unknown_token"]))))]
async fn show_token(
    State(tokens): State<Arc<Tokens>>,
    caller: Caller,
    Id(id): Id,
    input: Input,
) -> Result<Json<TokenView>, Problem> {
    input.finish(Some(()))?;
    Ok(Json(tokens.show(&id, limit(&caller).as_deref())?))
}

/// Revoke a token
///
/// It is refused from now on, and the streams that it has open end.
#[utoipa::path(delete, path = "/tokens/{id}", tag = "tokens", security(("token" = ["admin"])),
    params(("id" = TokenId, Path)),
    responses((status = 200, description = "It is gone", body = TokenRevoked)),
    extensions(("x-problems" = json!(["unknown_token"]))))]
async fn revoke_token(
    State(tokens): State<Arc<Tokens>>,
    caller: Caller,
    Id(id): Id,
    input: Input,
) -> Result<Json<TokenRevoked>, Problem> {
    input.finish(Some(()))?;
    let gone = whole(async move { tokens.revoke(&id, limit(&caller).as_deref()).await }).await?;
    Ok(Json(TokenRevoked { id: gone.id }))
}

/// Give a token another secret
///
/// Its id, name, scope and end stay. The old secret is refused from now on.
#[utoipa::path(post, path = "/tokens/{id}/rotate", tag = "tokens", security(("token" = ["admin"])),
    params(("id" = TokenId, Path)),
    responses((status = 200, description = "The token, this once", body = NewToken)),
    extensions(("x-problems" = json!(["unknown_token", "too_many"]))))]
async fn rotate_token(
    State(tokens): State<Arc<Tokens>>,
    caller: Caller,
    Id(id): Id,
    input: Input,
) -> Result<(Extension<ShownOnce>, Json<NewToken>), Problem> {
    input.finish(Some(()))?;
    let new = whole(async move { tokens.rotate(&id, limit(&caller).as_deref()).await }).await?;
    Ok((Extension(ShownOnce), Json(once(new))))
}
