//! HTTP over the admin socket: one request at a time, with a deadline, bounded answers and errors
//! that say why the agent could not be reached.

mod path;
mod stream;

use std::error::Error;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use hyperlocal::{UnixConnector, Uri};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tenement_wire::ApiError;
use tokio::runtime::Runtime;

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
    client: Client<UnixConnector, Full<Bytes>>,
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
        let client = Client::builder(TokioExecutor::new()).build(UnixConnector);
        Ok(Self { endpoint, timeout, runtime, client })
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
        match serde_json::from_slice::<ApiError>(&bytes) {
            Ok(problem) => Err(problem.into()),
            Err(_) => Err(strange(status, "the error is not problem+json")),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes)> {
        let uri = Uri::new(&self.endpoint.path, &format!("/api/v1{path}"));
        let mut request = Request::builder()
            .method(method)
            .uri(hyper::Uri::from(uri))
            // hyperlocal would send the socket's path in hexadecimal.
            .header(HOST, "localhost")
            .header(ACCEPT, "application/json");
        if !body.is_empty() {
            // What is put is a value, what is posted a JSON object.
            let put = request.method_ref() == Some(&Method::PUT);
            let kind = if put { "application/octet-stream" } else { "application/json" };
            request = request.header(CONTENT_TYPE, kind);
        }
        let request = request.body(Full::new(body)).map_err(|e| {
            CliError::failure(format!("can't form the request: {e}"), "please report this")
        })?;
        let answer = self.client.request(request).await.map_err(|e| self.unreachable(&e))?;
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
