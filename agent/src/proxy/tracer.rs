//! Which trace a request belongs to, and whether it is recorded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::access::AccessLog;
use crate::config::{Share, Tracing};
use crate::framing::{TraceParent, unhex};
use crate::otlp::Exporter;

pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// What is watched of requests. Where nothing is, a request pays one load for it.
#[derive(Debug, Default)]
pub struct Watch {
    on: AtomicBool,
    tracer: ArcSwapOption<Tracer>,
    access: ArcSwapOption<AccessLog>,
}

impl Watch {
    /// Replaces both: requests that began before go where they would have gone.
    pub fn set(&self, tracer: Option<Arc<Tracer>>, access: Option<Arc<AccessLog>>) {
        let on = tracer.is_some() || access.is_some();
        self.tracer.store(tracer);
        self.access.store(access);
        self.on.store(on, Ordering::Release);
    }

    pub(super) fn is_on(&self) -> bool {
        self.on.load(Ordering::Acquire)
    }

    pub(super) fn tracer(&self) -> Option<Arc<Tracer>> {
        self.tracer.load_full()
    }

    pub(super) fn access(&self) -> Option<Arc<AccessLog>> {
        self.access.load_full()
    }
}

/// Decides which requests are recorded, and takes their spans.
#[derive(Debug)]
pub struct Tracer {
    pub(super) exporter: Exporter,
    sample: Share,
    follow_clients: bool,
    pub(super) query: bool,
}

/// A request's place in its trace.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) trace_id: [u8; 16],
    /// Our span's, if there is one.
    pub(super) span_id: [u8; 8],
    pub(super) parent: Option<[u8; 8]>,
    pub(super) sampled: bool,
    random: bool,
}

impl Place {
    /// What the instance is told: that our span caused what it does.
    pub(super) fn onward(&self) -> TraceParent {
        let Self { trace_id, span_id, sampled, random, .. } = *self;
        TraceParent { trace_id, parent_id: span_id, sampled, random }
    }
}

impl Tracer {
    /// As the config says, with the way to the collector that it names.
    #[must_use]
    pub fn new(exporter: Exporter, config: &Tracing) -> Self {
        let Tracing { sample, follow_clients, query, .. } = *config;
        Self { exporter, sample, follow_clients, query }
    }

    /// The way to the collector.
    #[must_use]
    pub fn exporter(&self) -> &Exporter {
        &self.exporter
    }

    /// Where a request stands that came with `parent`, from a `trusted` proxy or from anybody. Anybody may say which
    /// trace it is; whether we record it is ours to decide, or a client could make us record everything.
    pub(super) fn place(
        &self,
        parent: Option<TraceParent>,
        trusted: bool,
        request_id: &HeaderValue,
        random: [[u64; 2]; 2],
    ) -> Place {
        let [[high, low], [span, chance]] = random;
        let span_id = span.max(1).to_be_bytes();
        let by_chance = self.sample.has(chance);
        let Some(parent) = parent else {
            // The request's id where that is one: whoever has the one can find the other.
            let mut trace_id = [0; 16];
            if unhex(request_id.as_bytes(), &mut trace_id).is_none() || trace_id == [0; 16] {
                trace_id[..8].copy_from_slice(&high.to_be_bytes());
                trace_id[8..].copy_from_slice(&low.max(1).to_be_bytes());
            }
            return Place { trace_id, span_id, parent: None, sampled: by_chance, random: true };
        };
        let TraceParent { trace_id, parent_id, random, .. } = parent;
        let decided = trusted || self.follow_clients;
        let sampled = if decided { parent.sampled } else { by_chance };
        Place { trace_id, span_id, parent: Some(parent_id), sampled, random }
    }
}

/// The trace that a request says it belongs to. What is not valid, or there twice, is taken off, and `tracestate`
/// with it: then a new trace begins.
pub(super) fn receive(headers: &mut HeaderMap) -> Option<TraceParent> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let parent = values.next().and_then(|value| TraceParent::parse(value.as_bytes()));
    let parent = parent.filter(|_| values.next().is_none());
    if parent.is_none() {
        headers.remove(TRACEPARENT);
        headers.remove(TRACESTATE);
    }
    parent
}
