//! One request whose body is sent while its answer is read, on a connection of its own.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Frame, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request};
use tokio::sync::mpsc;

use super::{ANSWER_MAX, Agent, strange};
use crate::error::{CliError, Result};

/// Pieces of the request's body that wait to be sent.
const QUEUE: usize = 8;

/// A body that is sent piece by piece.
pub(super) struct Pieces(mpsc::Receiver<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// Both directions of a request.
pub struct Duplex {
    /// To the agent; the request ends when it is dropped.
    pub to: mpsc::Sender<Bytes>,
    /// From the agent.
    pub from: Incoming,
}

impl Agent {
    /// Posts to `path`, with `first` as the beginning of the body, and lets `talk` do the rest once the agent has
    /// answered.
    pub fn duplex<T, F>(
        &self,
        path: &str,
        kind: &str,
        first: Bytes,
        talk: impl FnOnce(Duplex) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        self.runtime.block_on(async {
            let (to, pieces) = mpsc::channel(QUEUE);
            let request = Request::builder()
                .method(Method::POST)
                .uri(format!("/api/v1{path}"))
                .header(CONTENT_TYPE, kind)
                .body(Pieces(pieces));
            let request = request.map_err(|e| {
                CliError::failure(format!("can't form the request: {e}"), "please report this")
            })?;
            // There is room for one.
            let _ = to.try_send(first);
            let asked = tokio::time::timeout(self.timeout, self.fresh(request)).await;
            let answer = asked.map_err(|_| self.late())??;
            let status = answer.status();
            if status.is_success() {
                return talk(Duplex { to, from: answer.into_body() }).await;
            }
            let bytes = Limited::new(answer.into_body(), ANSWER_MAX).collect();
            let bytes = bytes.await.map_err(|e| strange(status, &e.to_string()))?.to_bytes();
            Err(self.refused(status, &bytes))
        })
    }

    /// The connection broke while it was in use.
    pub fn broke(&self, error: &(dyn std::error::Error + 'static)) -> CliError {
        self.unreachable(error)
    }
}
