//! The routes of secrets: names and sizes come out, values only go in.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::request::Parts;
use tenement_wire::{InstanceName, SECRET_MAX, SecretList, SecretName};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use super::input::{Input, read};
use super::problem::Problem;
use super::routes::{Answer, Name, collect, detached};
use crate::flows::{Management, SecretOrder, SecretValue};

/// The routes, below `/api/v1` and `/api`.
pub(super) fn routes<M: Management>() -> OpenApiRouter<Arc<M>> {
    OpenApiRouter::new()
        .routes(collect!(M => secrets))
        .routes(collect!(M => set_secret, remove_secret))
}

/// The value of a secret, for the document.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary, min_length = 1, max_length = 524288)]
#[expect(dead_code, reason = "it is only described")]
struct AnyBytes(Vec<u8>);

/// The instance and the secret in the path.
pub(super) struct Names(InstanceName, SecretName);

impl<S: Send + Sync> FromRequestParts<S> for Names {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path((name, secret)) = Path::<(String, String)>::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::malformed("the path is not UTF-8"))?;
        let name = name.parse().map_err(|error| Problem::invalid_name(&error))?;
        let secret = SecretName::new(&secret).map_err(|e| Problem::malformed(e.to_string()))?;
        Ok(Self(name, secret))
    }
}

/// Names and sizes of the secrets of an instance
#[utoipa::path(get, path = "/instances/{name}/secrets", tag = "secrets", security(("token" = ["admin"])),
    params(("name" = InstanceName, Path)),
    responses((status = 200, description = "In order of name", body = SecretList)))]
async fn secrets<M: Management>(
    State(m): State<Arc<M>>,
    Name(name): Name,
    input: Input,
) -> Answer<SecretList> {
    input.finish(Some(()))?;
    order(m, name, SecretOrder::List).await
}

/// Set a secret
///
/// The body is the value, byte for byte, whatever its type is said to be: 524,288 bytes at most. It counts from
/// the instance's next start, and never comes out again.
#[utoipa::path(put, path = "/instances/{name}/secrets/{secret}", tag = "secrets",
    security(("token" = ["admin"])),
    params(("name" = InstanceName, Path), ("secret" = SecretName, Path)),
    request_body(content = inline(AnyBytes), content_type = "application/octet-stream"),
    responses((status = 200, description = "All of the instance's", body = SecretList)),
    extensions(("x-problems" = json!(["busy"]))))]
async fn set_secret<M: Management>(
    State(m): State<Arc<M>>,
    Names(name, secret): Names,
    request: Request,
) -> Answer<SecretList> {
    // Only the query: the body is no JSON.
    Input::of_query(request.uri())?.finish(Some(()))?;
    let value = read(request).await?;
    if value.len() > SECRET_MAX {
        return Err(Problem::too_long_a_secret());
    }
    order(m, name, SecretOrder::Set(secret, SecretValue(value.to_vec()))).await
}

/// Delete a secret
#[utoipa::path(delete, path = "/instances/{name}/secrets/{secret}", tag = "secrets",
    security(("token" = ["admin"])),
    params(("name" = InstanceName, Path), ("secret" = SecretName, Path)),
    responses((status = 200, description = "Those that are left", body = SecretList)),
    extensions(("x-problems" = json!(["busy", "unknown_secret"]))))]
async fn remove_secret<M: Management>(
    State(m): State<Arc<M>>,
    Names(name, secret): Names,
    input: Input,
) -> Answer<SecretList> {
    input.finish(Some(()))?;
    order(m, name, SecretOrder::Remove(secret)).await
}

async fn order<M: Management>(
    m: Arc<M>,
    name: InstanceName,
    order: SecretOrder,
) -> Answer<SecretList> {
    let list = async move { m.secrets(&name, order).await.map(|secrets| SecretList { secrets }) };
    detached(list).await
}
