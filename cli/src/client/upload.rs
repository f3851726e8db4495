//! Bodies of any length, sent as they come.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Frame};
use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::{Method, Request};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::{ANSWER_MAX, Agent, dial, strange};
use crate::error::{CliError, Kind, Result};

/// Pieces on their way.
const PIECES: usize = 8;

/// Takes what is to be sent, from a thread of its own; it waits while the agent is slow.
pub struct Pipe(mpsc::Sender<io::Result<Bytes>>);

impl Pipe {
    /// Has the upload fail: the agent must not take what came so far for all of it.
    pub fn fail(&self, error: io::Error) {
        // Nobody listens when the agent has answered already.
        let _ = self.0.blocking_send(Err(error));
    }
}

impl io::Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the agent takes no more"))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is to be sent. Emptied once the answer is there: the connection may keep its body longer than that, and whoever
/// writes would wait for it.
#[derive(Clone)]
struct Pieces(Arc<Mutex<Option<mpsc::Receiver<io::Result<Bytes>>>>>);

impl Pieces {
    fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            Some(pieces) => pieces.poll_recv(cx).map(|piece| piece.map(|p| p.map(Frame::data))),
            // Not the end of a whole body.
            None => Poll::Ready(Some(Err(io::ErrorKind::BrokenPipe.into()))),
        }
    }
}

impl Agent {
    /// Posts what `write` writes, for as long as that takes.
    pub fn upload<T: DeserializeOwned>(
        &self,
        path: &str,
        write: impl FnOnce(&mut Pipe) -> io::Result<()> + Send + 'static,
    ) -> Result<T> {
        let (sender, receiver) = mpsc::channel(PIECES);
        let writing = std::thread::spawn(move || {
            let mut pipe = Pipe(sender);
            let written = write(&mut pipe);
            if let Err(error) = &written {
                pipe.fail(io::Error::new(error.kind(), error.to_string()));
            }
            written
        });
        let pieces = Pieces(Arc::new(Mutex::new(Some(receiver))));
        let answer = self.runtime.block_on(self.send_pieces(path, pieces.clone()));
        pieces.close();
        let written = writing.join().unwrap_or_else(|_| Err(io::Error::other("it broke off")));
        match (answer, written) {
            (Ok((status, bytes)), _) if !status.is_success() => Err(self.refused(status, &bytes)),
            (_, Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => Err(CliError::failure(
                format!("what is sent can't be read: {error}"),
                "correct that, and try again",
            )),
            (Ok((status, bytes)), _) => {
                serde_json::from_slice(&bytes).map_err(|error| strange(status, &error.to_string()))
            }
            (Err(error), _) => Err(error),
        }
    }

    async fn send_pieces(&self, path: &str, body: Pieces) -> Result<(hyper::StatusCode, Bytes)> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("/api/v1{path}"))
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/octet-stream");
        let request = request.body(body).map_err(|e| {
            CliError::failure(format!("can't form the request: {e}"), "please report this")
        })?;
        let answer = dial::send_fresh(&self.endpoint, request).await;
        let answer = answer.map_err(|error| self.undialled(error))?;
        let status = answer.status();
        let bytes = Limited::new(answer.into_body(), ANSWER_MAX).collect();
        let bytes = tokio::time::timeout(self.timeout.max(Duration::from_secs(30)), bytes).await;
        let bytes = bytes.map_err(|_| {
            CliError::new(
                Kind::TimedOut,
                "no_answer",
                "the agent's answer broke off",
                "it goes on with what it was told; see ten events",
            )
        })?;
        Ok((status, bytes.map_err(|e| strange(status, &e.to_string()))?.to_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::endpoint::Endpoint;

    /// An agent that reads so many bytes, answers, and keeps the connection open.
    fn answers(read: usize, answer: &'static str) -> (tempfile::TempDir, Agent) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut vec![0; read]).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            // Open until the client has gone, though nothing more is read of what it sends.
            let _ = stream.set_read_timeout(Some(Duration::from_secs(30)));
            std::thread::park_timeout(Duration::from_secs(30));
        });
        let endpoint = Endpoint { path, mode: crate::endpoint::Mode::System, remote: None };
        (dir, Agent::new(endpoint, Duration::from_secs(30)).unwrap())
    }

    const REFUSED: &str = "HTTP/1.1 409 Conflict\r\nContent-Type: application/json\r\nContent-Length: 52\r\n\r\n\
                           {\"status\":409,\"code\":\"release_exists\",\"detail\":\"no\"}";

    #[test]
    fn an_upload_that_is_refused_early_ends_at_once_with_what_the_agent_says() {
        let (_dir, agent) = answers(100_000, REFUSED);
        let began = std::time::Instant::now();
        // Far more than fits into the socket: whoever writes would wait for ever.
        let answer: Result<serde_json::Value> = agent.upload("/x", |pipe| {
            let piece = vec![7; 64 * 1024];
            loop {
                pipe.write_all(&piece)?;
            }
        });
        let error = answer.unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(10), "it hung");
        assert_eq!(
            (error.code.as_ref(), error.kind),
            ("release_exists", Kind::Conflict),
            "{error}"
        );
    }

    #[test]
    fn what_can_not_be_read_breaks_an_upload_off_with_its_reason() {
        let (_dir, agent) = answers(10, "");
        let answer: Result<serde_json::Value> = agent.upload("/x", |pipe| {
            pipe.write_all(b"some of it")?;
            Err(io::Error::other("the disk is broken"))
        });
        let error = answer.unwrap_err();
        assert!(error.to_string().contains("the disk is broken"), "{error}");
    }
}
