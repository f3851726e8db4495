//! HTTP over the admin socket, or to another host: one request at a time, with a deadline, bounded answers and
//! errors that say why the agent could not be reached.

mod dial;
mod duplex;
mod path;
mod stream;
mod transfer;
mod upload;

use std::error::Error;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tenement_wire::ApiError;
use tokio::runtime::Runtime;

pub use duplex::Duplex;
pub use path::{encoded, path_with};

use crate::endpoint::{Endpoint, Mode};
use crate::error::{CliError, Kind, Result};

/// Longest answer that is read: 10,000 instances are about 6 MB.
const ANSWER_MAX: usize = 64 * 1024 * 1024;

/// The agent, behind its admin socket.
pub struct Agent {
    endpoint: Endpoint,
    timeout: Duration,
    runtime: Runtime,
    line: dial::Line,
}

impl Agent {
    /// Prepares a client; nothing is connected yet.
    pub fn new(endpoint: Endpoint, timeout: Duration) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|e| {
                CliError::failure(
                    format!("can't set up I/O: {e}"),
                    "check the limits of this shell (ulimit -n)",
                )
            })?;
        Ok(Self { endpoint, timeout, runtime, line: dial::Line::default() })
    }

    /// Where it is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Reads `path`, which is relative to `/api/v1`.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.call(Method::GET, path, Bytes::new())
    }

    /// Posts without a body.
    pub fn post<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.call(Method::POST, path, Bytes::new())
    }

    /// Posts `body` as JSON.
    pub fn post_json<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        let body = serde_json::to_vec(body).map_err(|e| {
            CliError::failure(format!("can't write the request: {e}"), "please report this")
        })?;
        self.call(Method::POST, path, body.into())
    }

    /// Puts `body`, byte for byte.
    pub fn put_bytes<T: DeserializeOwned>(&self, path: &str, body: Vec<u8>) -> Result<T> {
        self.call(Method::PUT, path, body.into())
    }

    /// Puts the JSON `body`.
    pub fn put_json<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        let body = serde_json::to_vec(body).map_err(|e| {
            CliError::failure(format!("can't write the request: {e}"), "please report this")
        })?;
        self.call(Method::PUT, path, body.into())
    }

    /// Changes what is at `path` by the JSON `body`.
    pub fn patch<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        let body = serde_json::to_vec(body).map_err(|e| {
            CliError::failure(format!("can't write the request: {e}"), "please report this")
        })?;
        self.call(Method::PATCH, path, body.into())
    }

    /// Deletes `path`.
    pub fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.call(Method::DELETE, path, Bytes::new())
    }

    fn call<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<T> {
        let exchange = async {
            match tokio::time::timeout(self.timeout, self.exchange(method, path, body)).await {
                Ok(answer) => answer,
                Err(_) => Err(self.late()),
            }
        };
        let (status, bytes) = self.runtime.block_on(exchange)?;
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(|e| strange(status, &e.to_string()));
        }
        Err(self.refused(status, &bytes))
    }

    /// Sends `request`, with who asks, and gives back the head of the answer.
    async fn request(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>> {
        self.line.send(&self.endpoint, request).await.map_err(|error| self.undialled(error))
    }

    /// The same on a connection of its own, with a body that is still to come.
    async fn fresh(&self, request: Request<duplex::Pieces>) -> Result<Response<Incoming>> {
        dial::send_fresh(&self.endpoint, request).await.map_err(|error| self.undialled(error))
    }

    fn undialled(&self, error: dial::DialError) -> CliError {
        match error {
            dial::DialError::Plain(address) => CliError::new(
                Kind::Denied,
                "insecure_transport",
                format!("the token would go to {address} in the clear"),
                "write https:// in --url; http:// is for this very host only",
            ),
            dial::DialError::Broken(error) => self.unreachable(&*error),
        }
    }

    /// What the agent says against a request.
    fn refused(&self, status: StatusCode, bytes: &[u8]) -> CliError {
        let Ok(problem) = serde_json::from_slice::<ApiError>(bytes) else {
            return match &self.endpoint.remote {
                None => strange(status, "the error is not problem+json"),
                Some(remote) => CliError::new(
                    Kind::Unreachable,
                    "no_agent",
                    format!("{} answers ({status}), but not as an agent does", remote.authority()),
                    "--url is the domain of the agent itself, not of an instance or of a proxy's page",
                ),
            };
        };
        let not_here = ["unknown_host", "unknown_instance"].contains(&&*problem.code)
            || (problem.code == "not_found" && problem.detail.contains("nothing here"));
        let mut error = CliError::from(problem);
        if self.endpoint.remote.is_some() && not_here {
            error.kind = Kind::Unreachable;
            error.hint = Some(
                "--url is the domain of the agent itself; its config must not say remote = false in [api]"
                    .to_owned(),
            );
        }
        error
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes)> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header(ACCEPT, "application/json");
        if !body.is_empty() {
            // A secret is a value, all else a JSON object.
            let put = request.method_ref() == Some(&Method::PUT) && path.contains("/secrets/");
            let kind = if put { "application/octet-stream" } else { "application/json" };
            request = request.header(CONTENT_TYPE, kind);
        }
        let request = request.body(Full::new(body)).map_err(|e| {
            CliError::failure(format!("can't form the request: {e}"), "please report this")
        })?;
        let answer = self.request(request).await?;
        let status = answer.status();
        let bytes = Limited::new(answer.into_body(), ANSWER_MAX)
            .collect()
            .await
            .map_err(|e| strange(status, &e.to_string()))?
            .to_bytes();
        Ok((status, bytes))
    }

    fn late(&self) -> CliError {
        CliError::new(
            Kind::TimedOut,
            "no_answer",
            format!("the agent did not answer within {} s", self.timeout.as_secs()),
            "it goes on with what it was told; see `ten ps`, or wait longer with --timeout",
        )
    }

    /// A missing socket, a dead one and a forbidden one need three different steps.
    fn unreachable(&self, error: &(dyn Error + 'static)) -> CliError {
        if let Some(remote) = &self.endpoint.remote {
            return CliError::new(
                Kind::Unreachable,
                "unreachable",
                format!("{} can't be reached: {}", remote.authority(), chain(error)),
                "check the URL and the network; on that host: systemctl status tenement",
            );
        }
        let path = self.endpoint.path.display();
        let user = self.endpoint.mode == Mode::User;
        let ctl = if user { "systemctl --user" } else { "sudo systemctl" };
        let (kind, code, detail, hint) = match io_kind(error) {
            Some(io::ErrorKind::NotFound) => (
                Kind::Unreachable,
                "no_socket",
                format!("the agent is not running: there is no socket {path}"),
                format!("start it: {ctl} start tenement{}", if user { " (or run tenementd --user)" } else { "" }),
            ),
            Some(io::ErrorKind::ConnectionRefused) => (
                Kind::Unreachable,
                "refused",
                format!("nothing listens on {path}: the agent is stopped or was killed"),
                format!("start it: {ctl} restart tenement-admin.socket tenement"),
            ),
            Some(io::ErrorKind::PermissionDenied) => (
                Kind::Denied,
                "permission_denied",
                format!("you may not use {path}"),
                "join the group and log in again: sudo usermod -aG tenement $USER (or use sudo ten ...)"
                    .to_owned(),
            ),
            _ => (
                Kind::Unreachable,
                "broken_connection",
                format!("the connection to the agent on {path} broke: {}", chain(error)),
                format!("see how it is: {ctl} status tenement, or run ten doctor"),
            ),
        };
        CliError::new(kind, code, detail, hint)
    }
}

fn strange(status: StatusCode, what: &str) -> CliError {
    CliError::failure(
        format!("the agent's answer ({status}) can't be understood: {what}"),
        "ten and tenementd may be of different versions: compare them with ten version",
    )
}

fn io_kind(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        next = error.source();
    }
    None
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}
