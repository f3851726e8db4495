//! Answers of any length to what is posted, taken piece by piece.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request};
use serde::de::DeserializeOwned;

use super::{ANSWER_MAX, Agent, strange};
use crate::error::{CliError, Kind, Result};

impl Agent {
    /// Posts nothing to `path` and hands each piece of the answer to `take`. `silence` is how long nothing may come.
    pub fn download(
        &self,
        path: &str,
        silence: Duration,
        take: &mut dyn FnMut(Bytes) -> Result<()>,
    ) -> Result<()> {
        let request = Request::builder().method(Method::POST).uri(format!("/api/v1{path}"));
        let request = request.body(Full::new(Bytes::new())).map_err(|e| form(&e))?;
        self.runtime.block_on(async {
            let asked = tokio::time::timeout(silence, self.request(request)).await;
            let answer = asked.map_err(|_| silent(silence))??;
            let status = answer.status();
            let mut body = answer.into_body();
            if !status.is_success() {
                let bytes = Limited::new(body, ANSWER_MAX).collect().await;
                let bytes = bytes.map_err(|e| strange(status, &e.to_string()))?.to_bytes();
                return Err(self.refused(status, &bytes));
            }
            loop {
                let frame = tokio::time::timeout(silence, body.frame()).await;
                match frame.map_err(|_| silent(silence))? {
                    None => return Ok(()),
                    Some(Err(error)) => return Err(self.unreachable(&error)),
                    Some(Ok(frame)) => {
                        if let Ok(bytes) = frame.into_data() {
                            take(bytes)?;
                        }
                    }
                }
            }
        })
    }

    /// Posts without a body what takes as long as it takes.
    pub fn post_slow<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.upload(path, |_| Ok(()))
    }
}

fn form(error: &dyn std::fmt::Display) -> CliError {
    CliError::failure(format!("can't form the request: {error}"), "please report this")
}

fn silent(limit: Duration) -> CliError {
    let detail = format!("the agent said nothing for {} s", limit.as_secs());
    CliError::new(Kind::TimedOut, "no_answer", detail, "see how it is: ten doctor")
}
