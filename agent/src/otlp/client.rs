//! The library's HTTP client, which is the one of webhooks.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::USER_AGENT;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::Full;
use opentelemetry_http::{HttpClient, HttpError};

use crate::hook;

/// Longest answer that is read, in bytes.
const ANSWER_MAX: usize = 64 * 1024;
/// Longest file of header fields, in bytes.
const HEADERS_MAX: u64 = 16 * 1024;

/// One connection for each message: there is one in some seconds.
#[derive(Debug)]
pub(super) struct Client {
    headers_file: Option<PathBuf>,
    timeout: Duration,
}

impl Client {
    pub(super) fn new(headers_file: Option<PathBuf>, timeout: Duration) -> Self {
        Self { headers_file, timeout }
    }

    async fn send(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static(hook::AGENT));
        if let Some(path) = &self.headers_file {
            let meta = tokio::fs::metadata(path).await;
            let text = match meta {
                Ok(meta) if meta.len() > HEADERS_MAX => Err("it is too long".to_owned()),
                Ok(_) => tokio::fs::read_to_string(path).await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            let more = text.and_then(|text| fields(&text));
            headers.extend(more.map_err(|why| format!("{}: {why}", path.display()))?);
        }
        let sent = hook::send(request.map(Full::new), ANSWER_MAX);
        match tokio::time::timeout(self.timeout, sent).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(format!("no answer within {:?}", self.timeout).into()),
        }
    }
}

impl HttpClient for Client {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(self.send(request))
    }
}

/// `name: value` in each line; empty lines and those that begin with `#` are none. What is wrong is said without
/// the text, which is a secret.
fn fields(text: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = || format!("line {} is not `name: value`", at + 1);
        let (name, value) = line.split_once(':').ok_or_else(wrong)?;
        let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| wrong())?;
        let mut value = HeaderValue::from_str(value.trim()).map_err(|_| wrong())?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod unit {
    use super::fields;

    #[test]
    fn a_file_of_header_fields_is_read_line_by_line_and_never_quoted() {
        let read =
            fields("# for the collector\n\nAuthorization: Bearer a:b\nx-team : blue\n").unwrap();
        assert_eq!(read["authorization"], "Bearer a:b");
        assert_eq!(read["x-team"], "blue");
        let error = fields("x-a: 1\nhidden\n").unwrap_err();
        assert_eq!(error, "line 2 is not `name: value`");
    }
}
