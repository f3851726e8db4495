//! Server-sent events (HTML standard, section 9.2): what the streams of lines and of events share.
//!
//! A greeting, then what the source has, as it comes. A comment every few seconds shows that the connection
//! is alive, and when the agent stops the stream ends at once.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use futures_util::{FutureExt as _, Stream, stream};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName};
use tokio::sync::OwnedSemaphorePermit;

use super::input::Input;
use super::logs::ask::Seq;
use super::serve::{Stopping, stopped};

/// Silence after which a comment is sent. Proxies cut connections that are silent for 30 or 60 s.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Bytes that are sent at once, if that many are there.
const CHUNK: usize = 64 * 1024;
/// What a browser waits before it reconnects, and a first sign of life.
const GREETING: &[u8] = b"retry: 1000\n\n";
const ALIVE: &[u8] = b": alive\n\n";
const BYE: &[u8] = b": the agent stops\n\n";
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Where a client wants to go on: `Last-Event-ID`, which browsers send by themselves, before `after`. `must` says
/// what it has to be.
pub(super) fn resume(headers: &HeaderMap, input: &mut Input, must: &str) -> Option<u64> {
    let Seq(after) = input.parameter("after").unwrap_or_default();
    let Some(value) = headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty()) else {
        return after;
    };
    match String::from_utf8_lossy(value.as_bytes()).parse::<Seq>() {
        Ok(Seq(last)) => last,
        Err(_) => input.wrong("Last-Event-ID", must),
    }
}

/// What a stream is made of.
pub(super) trait Source: Send + 'static {
    /// A piece of it.
    type Item: Send;

    /// The next piece, once it is there; none at its end. Nothing is lost if this is dropped unfinished.
    fn next(&mut self) -> impl Future<Output = Option<Self::Item>> + Send;

    /// Writes a piece as an event, or nothing if it was sent before.
    fn write(&mut self, item: &Self::Item, out: &mut Vec<u8>);
}

/// The answer that streams `source` and holds `slot` as long.
pub(super) fn answer(
    source: impl Source,
    stopping: Option<Extension<Stopping>>,
    slot: OwnedSemaphorePermit,
) -> Response {
    let feed = feed(source, stopping.map(|Extension(stopping)| stopping), slot);
    ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(feed)).into_response()
}

struct Feed<S> {
    source: S,
    stopping: Option<Stopping>,
    state: Phase,
    _slot: Option<OwnedSemaphorePermit>,
}

#[derive(PartialEq, Eq)]
enum Phase {
    Fresh,
    Open,
    Ended,
}

/// The bytes of the stream.
pub(super) fn feed(
    source: impl Source,
    stopping: Option<Stopping>,
    slot: impl Into<Option<OwnedSemaphorePermit>>,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    let feed = Feed { source, stopping, state: Phase::Fresh, _slot: slot.into() };
    stream::unfold(feed, |mut feed| async move {
        let chunk = feed.chunk().await?;
        Some((Ok(chunk), feed))
    })
}

impl<S: Source> Feed<S> {
    async fn chunk(&mut self) -> Option<Bytes> {
        match self.state {
            Phase::Ended => return None,
            Phase::Fresh => {
                self.state = Phase::Open;
                return Some(Bytes::from_static(GREETING));
            }
            Phase::Open => {}
        }
        let mut out = Vec::new();
        while out.is_empty() {
            let item = tokio::select! {
                biased;
                () = stopped(&mut self.stopping) => return Some(self.end()),
                item = self.source.next() => item,
                () = tokio::time::sleep(HEARTBEAT) => return Some(Bytes::from_static(ALIVE)),
            };
            match item {
                Some(item) => self.source.write(&item, &mut out),
                None => return Some(self.end()),
            }
        }
        // What is there already goes along, so that a busy stream is not one small write for each.
        while out.len() < CHUNK
            && let Some(Some(item)) = self.source.next().now_or_never()
        {
            self.source.write(&item, &mut out);
        }
        Some(out.into())
    }

    fn end(&mut self) -> Bytes {
        self.state = Phase::Ended;
        Bytes::from_static(BYE)
    }
}
