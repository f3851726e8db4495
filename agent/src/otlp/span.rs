//! A span as the proxy tells it, and as the library takes it.

use std::borrow::Cow;
use std::time::SystemTime;

use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

/// What a span stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A request that was served.
    Server,
    /// Something that happened within.
    Internal,
}

/// An attribute's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Text.
    Text(Cow<'static, str>),
    /// A whole number.
    Number(i64),
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

/// A span that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// The trace.
    pub trace_id: [u8; 16],
    /// Its own id.
    pub span_id: [u8; 8],
    /// The span that caused it, and whether that is another service's.
    pub parent: Option<([u8; 8], bool)>,
    /// `tracestate` as it came, or nothing.
    pub trace_state: String,
    /// What it stands for.
    pub kind: Kind,
    /// Its name: one of few.
    pub name: Cow<'static, str>,
    /// When it began.
    pub start: SystemTime,
    /// When it ended.
    pub end: SystemTime,
    /// By their names in the semantic conventions.
    pub attributes: Vec<(&'static str, Value)>,
    /// Whether it failed.
    pub failed: bool,
}

impl Span {
    pub(super) fn into_data(self) -> SpanData {
        let (parent, remote) = self.parent.unwrap_or_default();
        // One that breaks the rules is somebody else's fault, and none of the collector's business.
        let state = self.trace_state.parse().unwrap_or(TraceState::NONE);
        let attributes = self.attributes.into_iter().map(|(key, value)| match value {
            Value::Text(Cow::Borrowed(text)) => KeyValue::new(key, text),
            Value::Text(Cow::Owned(text)) => KeyValue::new(key, text),
            Value::Number(number) => KeyValue::new(key, number),
        });
        SpanData {
            span_context: SpanContext::new(
                TraceId::from_bytes(self.trace_id),
                SpanId::from_bytes(self.span_id),
                TraceFlags::SAMPLED,
                false,
                state,
            ),
            parent_span_id: SpanId::from_bytes(parent),
            parent_span_is_remote: remote,
            span_kind: match self.kind {
                Kind::Server => SpanKind::Server,
                Kind::Internal => SpanKind::Internal,
            },
            name: self.name,
            start_time: self.start,
            end_time: self.end,
            attributes: attributes.collect(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: if self.failed { Status::error("") } else { Status::Unset },
            instrumentation_scope: InstrumentationScope::builder("tenement.proxy")
                .with_version(env!("CARGO_PKG_VERSION"))
                .build(),
        }
    }
}

/// Who sends the spans.
pub(super) fn resource(service: &str, host: &str) -> Resource {
    Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", service.to_owned()),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("host.name", host.to_owned()),
        ])
        .build()
}
