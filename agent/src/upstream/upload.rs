//! The request body on its way to an instance: counted, limited, and not allowed to stall.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

/// Why a request body could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// It is longer than the limit.
    #[error("the request body is too large")]
    TooLarge,
    /// The client sent nothing for too long.
    #[error("the client stopped sending the request body")]
    Stalled,
    /// The client went away, or broke the framing.
    #[error("the request body ended early")]
    Client(#[source] hyper::Error),
}

/// A client's request body.
#[derive(Debug)]
pub struct UploadBody {
    inner: Option<Incoming>,
    left: Option<u64>,
    timeout: Duration,
    stall: Option<Pin<Box<Sleep>>>,
    waiting: bool,
    watch: Option<Arc<()>>,
    count: Option<Arc<AtomicU64>>,
}

/// Tells whether a body is still being read.
#[derive(Debug)]
pub(crate) struct UploadWatch(Arc<()>);

impl UploadWatch {
    pub(crate) fn is_going_on(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

impl UploadBody {
    /// Passes `inner` on, at most `limit` bytes of it (0 = any number), with at most `timeout`
    /// between two pieces (zero = any time). They are counted in what `count` gives, if there are any.
    #[must_use]
    pub fn new(
        inner: Incoming,
        limit: u64,
        timeout: Duration,
        count: impl FnOnce() -> Arc<AtomicU64>,
    ) -> Self {
        let inner = (!inner.is_end_stream()).then_some(inner);
        let left = (limit > 0).then_some(limit);
        let count = inner.is_some().then(count);
        Self { inner, left, timeout, stall: None, waiting: false, watch: None, count }
    }

    /// The body of a request that has none.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            inner: None,
            left: None,
            timeout: Duration::ZERO,
            stall: None,
            waiting: false,
            watch: None,
            count: None,
        }
    }

    /// Lets the caller see when hyper has dropped the body, having sent it all.
    pub(crate) fn watch(&mut self) -> UploadWatch {
        UploadWatch(self.watch.insert(Arc::new(())).clone())
    }

    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.timeout.is_zero() {
            return Poll::Pending;
        }
        let deadline = Instant::now() + self.timeout;
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if !self.waiting {
            self.waiting = true;
            stall.as_mut().reset(deadline);
        }
        stall.as_mut().poll(cx)
    }
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let this = self.get_mut();
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        let Poll::Ready(frame) = Pin::new(inner).poll_frame(cx) else {
            ready!(this.poll_stall(cx));
            return Poll::Ready(Some(Err(UploadError::Stalled)));
        };
        this.waiting = false;
        let Some(frame) = frame else { return Poll::Ready(None) };
        let frame = frame.map_err(UploadError::Client)?;
        if let (Some(count), Some(data)) = (&this.count, frame.data_ref()) {
            count.fetch_add(data.len() as u64, Ordering::Relaxed);
        }
        if let (Some(left), Some(data)) = (&mut this.left, frame.data_ref()) {
            match left.checked_sub(data.len() as u64) {
                Some(rest) => *left = rest,
                None => return Poll::Ready(Some(Err(UploadError::TooLarge))),
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
