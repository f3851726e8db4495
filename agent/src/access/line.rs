//! One line, and its fields.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderValue, Method, Version};
use log::kv::Value;
use tenement_wire::{InstanceName, plain};

use crate::framing::hex;

/// Longest path, query or host that is written, in bytes; the rest is left out.
const TEXT_MAX: usize = 2_048;

/// How the instance was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// Running.
    Hot,
    /// In this tier.
    Cold(&'static str),
}

/// One request that has ended.
#[derive(Debug, Clone)]
pub struct Line {
    /// Whose it was.
    pub instance: InstanceName,
    /// Method.
    pub method: Method,
    /// Host, as the client wrote it.
    pub host: HeaderValue,
    /// Path, as the client wrote it.
    pub path: String,
    /// Query, where the config wants it.
    pub query: Option<String>,
    /// Version of HTTP.
    pub version: Version,
    /// Status; 499 if the client went away before there was one.
    pub status: u16,
    /// From its head to the last byte of its answer.
    pub duration: Duration,
    /// Bytes of its body, if it said how many.
    pub bytes_in: Option<u64>,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// Whether the answer was sent to its end.
    pub complete: bool,
    /// Who sent it.
    pub client: IpAddr,
    /// Its request id.
    pub request_id: HeaderValue,
    /// The trace that it belongs to.
    pub trace_id: Option<[u8; 16]>,
    /// How the instance was found, if it came so far.
    pub wake: Option<Wake>,
    /// The code of the proxy's own answer.
    pub error: Option<&'static str>,
}

impl Line {
    /// Hands the message and the fields to `write`.
    pub(super) fn tell<R>(&self, write: impl FnOnce(&str, Vec<(&str, Value<'_>)>) -> R) -> R {
        let (host, id) = (text(self.host.as_bytes()), text(self.request_id.as_bytes()));
        let path = text(self.path.as_bytes());
        let query = self.query.as_ref().map(|query| text(query.as_bytes()));
        let method = text(self.method.as_str().as_bytes());
        let client = self.client.to_string();
        let us = u64::try_from(self.duration.as_micros()).unwrap_or(u64::MAX);
        let mut trace = [0; 32];
        let mut fields = vec![
            ("TENEMENT_ACCESS", Value::from("1")),
            ("TENEMENT_PROCESS", Value::from(self.instance.process().as_str())),
            ("TENEMENT_INSTANCE", Value::from(self.instance.id().as_str())),
            ("TENEMENT_METHOD", Value::from(&*method)),
            ("TENEMENT_HOST", Value::from(&*host)),
            ("TENEMENT_PATH", Value::from(&*path)),
            ("TENEMENT_PROTOCOL", Value::from(protocol(self.version))),
            ("TENEMENT_STATUS", Value::from(self.status)),
            ("TENEMENT_DURATION_US", Value::from(us)),
            ("TENEMENT_BYTES_OUT", Value::from(self.bytes_out)),
            ("TENEMENT_CLIENT", Value::from(client.as_str())),
            ("TENEMENT_REQUEST_ID", Value::from(&*id)),
        ];
        fields.extend(query.as_deref().map(|query| ("TENEMENT_QUERY", Value::from(query))));
        fields.extend(self.bytes_in.map(|bytes| ("TENEMENT_BYTES_IN", Value::from(bytes))));
        if let Some(id) = self.trace_id {
            hex(&id, &mut trace);
            let text = std::str::from_utf8(&trace).unwrap_or_default();
            fields.push(("TENEMENT_TRACE_ID", Value::from(text)));
        }
        if let Some(wake) = self.wake {
            let word = match wake {
                Wake::Hot => "hot",
                Wake::Cold(tier) => tier,
            };
            fields.push(("TENEMENT_WAKE", Value::from(word)));
        }
        fields.extend(self.error.map(|code| ("TENEMENT_ERROR", Value::from(code))));
        if !self.complete {
            fields.push(("TENEMENT_COMPLETE", Value::from("0")));
        }
        let (status, bytes) = (self.status, self.bytes_out);
        let ms = self.duration.as_secs_f64() * 1_000.0;
        let message = format!("{client} {method} {host}{path} {status} {bytes} B {ms:.1} ms");
        write(&message, fields)
    }
}

/// The version as semantic conventions write it.
#[must_use]
pub fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

/// A client's text on one line: bounded, and with what could steer a terminal made visible.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    let whole = String::from_utf8_lossy(&bytes[..bytes.len().min(TEXT_MAX)]);
    let steers = |c: char| matches!(c, '\n' | '\t') || plain::steers(c);
    if !whole.contains(steers) {
        return whole;
    }
    let mut safe = String::with_capacity(whole.len() + 16);
    for c in whole.chars() {
        if steers(c) {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}
