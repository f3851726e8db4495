//! The routes of certificates.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use http::StatusCode;
use tenement_wire::tls::{CertificateList, CertificateView, RootCertificate};
use utoipa_axum::router::OpenApiRouter;

use super::input::Input;
use super::problem::Problem;
use super::routes::{Answer, collect};
use crate::tls::Tls;

/// Longest name of a host.
const NAME_MAX: usize = 255;

/// None: this agent has no certificates.
type Desk = Option<Arc<Tls>>;

/// The routes, below `/api/v1` and `/api`.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(tls: Desk) -> OpenApiRouter<S> {
    OpenApiRouter::new()
        .routes(collect!(list_certificates))
        .routes(collect!(show_certificate))
        .routes(collect!(renew_certificate))
        .routes(collect!(show_root))
        .with_state(tls)
}

/// The host name in the path, cut to what a name can have.
struct HostName(String);

impl<S: Send + Sync> FromRequestParts<S> for HostName {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(name) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::malformed("the path is not UTF-8"))?;
        // What is longer is nobody's name.
        Ok(Self(name.chars().take(NAME_MAX + 1).collect()))
    }
}

/// Certificates
///
/// Those that there are, and those that should be there.
#[utoipa::path(get, path = "/tls/certificates", tag = "tls", security(("token" = ["read"])),
    responses((status = 200, description = "By name", body = CertificateList)))]
async fn list_certificates(State(tls): State<Desk>, input: Input) -> Answer<CertificateList> {
    input.finish(Some(()))?;
    Ok(Json(tls.map(|tls| tls.list()).unwrap_or_default()))
}

/// A certificate, by any of its names
#[utoipa::path(get, path = "/tls/certificates/{name}", tag = "tls", security(("token" = ["read"])),
    params(("name" = String, Path, description = "Host name, such as `example.com` or `*.example.com`")),
    responses((status = 200, description = "The certificate", body = CertificateView)),
    extensions(("x-problems" = json!(["no_certificate"]))))]
async fn show_certificate(
    State(tls): State<Desk>,
    HostName(name): HostName,
    input: Input,
) -> Answer<CertificateView> {
    input.finish(Some(()))?;
    tls.and_then(|tls| tls.find(&name)).map(Json).ok_or_else(|| none(&name))
}

/// Renew a certificate now
///
/// It is begun beside the answer: `renew_ms` and `error` of the certificate tell how it went.
#[utoipa::path(post, path = "/tls/certificates/{name}/renew", tag = "tls", security(("token" = ["operator"])),
    params(("name" = String, Path, description = "Any of its names")),
    responses((status = 200, description = "The certificate as it is until then", body = CertificateView)),
    extensions(("x-problems" = json!(["no_certificate", "not_renewable"]))))]
async fn renew_certificate(
    State(tls): State<Desk>,
    HostName(name): HostName,
    input: Input,
) -> Answer<CertificateView> {
    input.finish(Some(()))?;
    let tls = tls.ok_or_else(|| none(&name))?;
    let view = tls.find(&name).ok_or_else(|| none(&name))?;
    if !tls.renew(&view) {
        let (detail, hint) = (
            "it is a file of yours, which the agent can't renew",
            "replace the files: the agent reads them again by itself",
        );
        return Err(Problem::new(StatusCode::CONFLICT, "not_renewable", detail, hint));
    }
    Ok(Json(view))
}

/// The root of the host's own CA
#[utoipa::path(get, path = "/tls/root", tag = "tls", security(("token" = ["read"])),
    responses((status = 200, description = "In PEM", body = RootCertificate)),
    extensions(("x-problems" = json!(["no_root"]))))]
async fn show_root(State(tls): State<Desk>, input: Input) -> Answer<RootCertificate> {
    input.finish(Some(()))?;
    let root = tls.and_then(|tls| tls.root()).map(|pem| Json(RootCertificate { pem }));
    root.ok_or_else(|| {
        let (detail, hint) =
            ("this host has no CA of its own", "write internal = true below [tls]");
        Problem::new(StatusCode::NOT_FOUND, "no_root", detail, hint)
    })
}

fn none(name: &str) -> Problem {
    let name = name.escape_default();
    let detail = format!("there is no certificate for `{name}`");
    Problem::new(StatusCode::NOT_FOUND, "no_certificate", detail, "ten tls ls lists them")
}
