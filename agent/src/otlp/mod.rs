//! Floor 2: sends spans to an OpenTelemetry collector (OTLP over HTTP, protobuf).
//!
//! ```text
//! a request ends ─► offer ─► queue (2,048) ─► task: up to 512 spans, or what came in 2 s ─► POST ─► collector
//!                     └ full: dropped, counted               └ refused: again 3 times, then dropped, counted
//! ```
//! Offering never waits. One batch is on its way at a time, each try has a deadline, and a collector that is down
//! costs spans and nothing else. The encoding is opentelemetry-otlp's; its own queue and clients are not used, since
//! they want a thread and block it between tries.

mod client;
mod span;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Uri;
use opentelemetry_otlp::{
    Protocol, RetryPolicy, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

pub use span::{Kind, Span, Value};

/// Spans that wait, at most.
const QUEUE: usize = 2_048;
/// Spans in one message, at most.
const BATCH: usize = 512;
/// How long a span waits for others.
const LINGER: Duration = Duration::from_secs(2);
/// How often a batch is sent before it is dropped.
const TRIES: u32 = 4;
/// Pause before the second try, doubled before each further one.
const PAUSE: Duration = Duration::from_secs(1);
/// A trouble that lasts is said again so rarely.
const SAY: Duration = Duration::from_secs(60);

/// Where spans go, and as whose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// URL for traces.
    pub endpoint: Uri,
    /// File with more header fields, `name: value` in each line; read for each message.
    pub headers_file: Option<PathBuf>,
    /// How long one message may take.
    pub timeout: Duration,
    /// `service.name`.
    pub service_name: String,
    /// `host.name`.
    pub host_name: String,
}

/// What became of spans. Relaxed atomics: they order nothing.
#[derive(Debug, Default)]
pub struct Counts {
    /// Taken by the collector.
    pub sent: AtomicU64,
    /// Not sent: the queue was full, or the collector did not take them.
    pub dropped: AtomicU64,
}

/// The way to one collector; ends with its last holder, what waits being sent before.
#[derive(Debug)]
pub struct Exporter {
    queue: mpsc::Sender<Span>,
    counts: Arc<Counts>,
    ended: watch::Receiver<bool>,
    closing: watch::Sender<bool>,
}

impl Exporter {
    /// Begins to send to `target`; nothing is connected before the first span.
    ///
    /// # Errors
    /// What is wrong with the target or the environment, in the words of the library.
    pub fn start(target: Target, counts: Arc<Counts>) -> Result<Self, String> {
        let worker = Worker::new(target, counts.clone())?;
        let (queue, spans) = mpsc::channel(QUEUE);
        let (closing, close) = watch::channel(false);
        let (end, ended) = watch::channel(false);
        tokio::spawn(async move {
            worker.run(spans, close).await;
            let _ = end.send(true);
        });
        Ok(Self { queue, counts, ended, closing })
    }

    /// Hands over a span. It never waits: if too many do, this one is dropped and counted.
    pub fn offer(&self, span: Span) {
        if self.queue.try_send(span).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends what waits, once, and returns when that is done or `bound` has passed.
    pub async fn close(&self, bound: Duration) {
        let _ = self.closing.send(true);
        let mut ended = self.ended.clone();
        let _ = tokio::time::timeout(bound, ended.wait_for(|ended| *ended)).await;
    }
}

struct Worker {
    exporter: SpanExporter,
    endpoint: Uri,
    counts: Arc<Counts>,
    /// When a trouble was last said.
    said: Option<Instant>,
}

impl Worker {
    fn new(target: Target, counts: Arc<Counts>) -> Result<Self, String> {
        let client = client::Client::new(target.headers_file.clone(), target.timeout);
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(target.endpoint.to_string())
            .with_timeout(target.timeout)
            // Between its tries the library would put this thread, a worker of the runtime, to sleep.
            .with_retry_policy(RetryPolicy::disabled())
            .build();
        let mut exporter = exporter.map_err(|error| error.to_string())?;
        exporter.set_resource(&span::resource(&target.service_name, &target.host_name));
        Ok(Self { exporter, endpoint: target.endpoint, counts, said: None })
    }

    async fn run(mut self, mut spans: mpsc::Receiver<Span>, mut close: watch::Receiver<bool>) {
        let mut batch = Vec::new();
        loop {
            let open = tokio::select! {
                open = gather(&mut spans, &mut batch) => open,
                // All who could offer are gone: that is an end as well.
                () = told(&mut close) => {
                    spans.close();
                    while batch.len() < BATCH && let Some(span) = spans.recv().await {
                        batch.push(span);
                    }
                    !batch.is_empty()
                }
            };
            if !batch.is_empty() {
                let data = batch.drain(..).map(Span::into_data).collect();
                self.send(data, &mut close).await;
            }
            if !open {
                return;
            }
        }
    }

    /// Sends a batch, again if it is not taken, and drops it in the end. When closing, there is no second try.
    async fn send(&mut self, data: Vec<SpanData>, close: &mut watch::Receiver<bool>) {
        let count = data.len() as u64;
        let mut pause = PAUSE;
        for attempt in 1..=TRIES {
            match self.exporter.export(data.clone()).await {
                Ok(()) => {
                    self.counts.sent.fetch_add(count, Ordering::Relaxed);
                    if self.said.take().is_some() {
                        log::info!("the collector {} takes spans again", self.endpoint);
                    }
                    return;
                }
                Err(error) => self.say(&error.to_string()),
            }
            if attempt == TRIES || *close.borrow() {
                break;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = told(close) => {}
            }
            pause *= 2;
        }
        self.counts.dropped.fetch_add(count, Ordering::Relaxed);
    }

    fn say(&mut self, why: &str) {
        if self.said.is_some_and(|said| said.elapsed() < SAY) {
            return;
        }
        self.said = Some(Instant::now());
        let dropped = self.counts.dropped.load(Ordering::Relaxed);
        log::warn!("spans can't be sent to {}: {why}; {dropped} dropped so far", self.endpoint);
    }
}

/// Ends when nobody offers any more.
async fn told(close: &mut watch::Receiver<bool>) {
    let _ = close.wait_for(|close| *close).await;
}

/// Fills `batch` until it is full or its first span has waited long enough; whether more may come. What was
/// gathered stays in `batch` if this is dropped.
async fn gather(spans: &mut mpsc::Receiver<Span>, batch: &mut Vec<Span>) -> bool {
    let Some(first) = spans.recv().await else { return false };
    batch.push(first);
    let until = Instant::now() + LINGER;
    while batch.len() < BATCH {
        match timeout_at(until, spans.recv()).await {
            Ok(Some(span)) => batch.push(span),
            Ok(None) => return false,
            Err(_) => break,
        }
    }
    true
}
