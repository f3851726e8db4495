//! Answers of any length: handed on piece by piece, or line by line.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Response};

use super::{ANSWER_MAX, Agent, strange};
use crate::error::{CliError, Kind, Result};

/// Longest line that is read, in bytes.
const LINE_MAX: usize = 64 * 1024 * 1024;

impl Agent {
    /// Reads `path` and hands each piece of the body to `take`. `resume` becomes `Last-Event-ID`; `silence`
    /// is how long nothing may come.
    pub fn stream(
        &self,
        path: &str,
        resume: Option<&str>,
        silence: Option<Duration>,
        take: &mut dyn FnMut(Bytes) -> Result<()>,
    ) -> Result<()> {
        self.runtime.block_on(async {
            let mut body = self.begin(path, resume).await?.into_body();
            loop {
                let limit = silence.unwrap_or(self.timeout);
                let frame = match tokio::time::timeout(limit, body.frame()).await {
                    Err(_) => return Err(self.silent(limit)),
                    Ok(None) => return Ok(()),
                    Ok(Some(Err(error))) => return Err(self.unreachable(&error)),
                    Ok(Some(Ok(frame))) => frame,
                };
                if let Ok(bytes) = frame.into_data() {
                    take(bytes)?;
                }
            }
        })
    }

    /// Like [`Agent::stream`], line by line. A last line without a newline is no line: it broke off.
    pub fn lines(
        &self,
        path: &str,
        resume: Option<&str>,
        silence: Option<Duration>,
        take: &mut dyn FnMut(&str) -> Result<()>,
    ) -> Result<()> {
        let mut held: Vec<u8> = Vec::new();
        self.stream(path, resume, silence, &mut |bytes| {
            let mut rest = bytes.as_ref();
            while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
                held.extend_from_slice(&rest[..at]);
                rest = &rest[at + 1..];
                take(&String::from_utf8_lossy(&held))?;
                held.clear();
            }
            held.extend_from_slice(rest);
            if held.len() > LINE_MAX {
                return Err(CliError::failure(
                    "a line of the agent's answer is too long",
                    "please report this",
                ));
            }
            Ok(())
        })
    }

    /// The head of the answer, if it is not an error.
    async fn begin(
        &self,
        path: &str,
        resume: Option<&str>,
    ) -> Result<Response<hyper::body::Incoming>> {
        let mut request = Request::builder().uri(format!("/api/v1{path}"));
        if let Some(id) = resume {
            request = request.header("last-event-id", id);
        }
        let request = request.body(Full::new(Bytes::new())).map_err(|e| {
            CliError::failure(format!("can't form the request: {e}"), "please report this")
        })?;
        let asked = tokio::time::timeout(self.timeout, self.request(request)).await;
        let answer = asked.map_err(|_| self.late())??;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let bytes = Limited::new(answer.into_body(), ANSWER_MAX).collect();
        let bytes = bytes.await.map_err(|e| strange(status, &e.to_string()))?.to_bytes();
        Err(self.refused(status, &bytes))
    }

    fn silent(&self, limit: Duration) -> CliError {
        let detail = format!("the agent said nothing for {} s", limit.as_secs());
        CliError::new(Kind::TimedOut, "no_answer", detail, "see how it is: ten doctor")
    }
}
