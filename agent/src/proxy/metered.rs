//! Metered: bytes that are passed on as they are, counted as they pass.
//!
//! A stream may last for days and end by a reset: what was counted at its end alone would come late or never.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::flows::Instance;

/// Told how long a wake took, once.
pub(super) type Woke = Box<dyn FnOnce(Duration) + Send>;

/// The instance's side of a stream.
pub(super) struct Metered<S> {
    stream: S,
    instance: Arc<Instance>,
    sent: u64,
    woken: Option<Woken>,
}

/// The wake that the stream was for, until the instance says its first byte.
struct Woken {
    /// Until the instance could be connected to.
    connected: Duration,
    /// When it was, or when the client spoke first: what it takes its time for is no part of the wake.
    since: Instant,
    tell: Woke,
}

impl<S> Metered<S> {
    pub(super) fn new(stream: S, instance: Arc<Instance>) -> Self {
        Self { stream, instance, sent: 0, woken: None }
    }

    /// Has the first byte of the instance told to `tell` as the end of a wake, which has taken `connected` so far.
    pub(super) fn waking(mut self, connected: Duration, tell: Woke) -> Self {
        self.woken = Some(Woken { connected, since: Instant::now(), tell });
        self
    }

    /// Bytes that the instance has sent.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        let bytes = (buf.filled().len() - before) as u64;
        this.sent += bytes;
        this.instance.meter().sent(bytes);
        if let Some(Woken { connected, since, tell }) = this.woken.take_if(|_| bytes > 0) {
            tell(connected + since.elapsed());
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, buf))?;
        if let Some(woken) = &mut this.woken {
            woken.since = Instant::now();
        }
        this.instance.meter().took_in(written as u64);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
