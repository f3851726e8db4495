//! The stream to an instance, with every byte of the answers checked before hyper sees it.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::{Target, flatten};
use crate::framing::ResponseScanner;

/// What the link and the stream inside hyper tell each other.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Set before a request is sent: its answer has no body whatever its head says.
    pub head: AtomicBool,
    /// Set before a request is sent: it asked for another protocol.
    pub upgrade: AtomicBool,
    /// Whether a request is waiting for its answer; bytes outside of that are a violation.
    pub expecting: AtomicBool,
    /// Whether any byte of the current answer has come.
    pub answered: AtomicBool,
    /// Set before a request is sent that may be sent again: its head is to be kept.
    pub keep: AtomicBool,
    /// The head that was kept. A copy of the bytes costs a fraction of a copy of the header map.
    pub kept: Mutex<Vec<u8>>,
    /// Whether the instance broke the framing.
    pub violated: AtomicBool,
}

impl Shared {
    /// A request is about to be sent: `head` if it is a HEAD.
    pub(super) fn expect(&self, head: bool) {
        self.head.store(head, Ordering::Relaxed);
        self.answered.store(false, Ordering::Relaxed);
        self.expecting.store(true, Ordering::Relaxed);
    }
}

#[derive(Debug)]
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// A stream to an instance.
#[derive(Debug)]
pub(super) struct CheckedIo {
    stream: Stream,
    scanner: ResponseScanner,
    shared: Arc<Shared>,
}

impl CheckedIo {
    pub(super) async fn connect(target: &Target, shared: Arc<Shared>) -> io::Result<Self> {
        let stream = match target {
            Target::Unix(path) => Stream::Unix(UnixStream::connect(path).await?),
            Target::Tcp(addr) => {
                let stream = TcpStream::connect(addr).await?;
                stream.set_nodelay(true)?;
                Stream::Tcp(stream)
            }
        };
        Ok(Self { stream, scanner: ResponseScanner::new(), shared })
    }

    /// See [`ResponseScanner::heads`].
    pub(super) fn heads(&self) -> u32 {
        self.scanner.heads()
    }

    /// Keeps the head that is about to be written: hyper gives it in one piece.
    fn keep(&self, bytes: &[u8]) {
        if self.shared.keep.swap(false, Ordering::Relaxed) {
            let mut kept = self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.clear();
            kept.extend_from_slice(bytes);
        }
    }

    fn check(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.scanner.is_passthrough() {
            return Ok(());
        }
        if self.shared.expecting.swap(false, Ordering::Relaxed) {
            self.scanner.expect(
                self.shared.head.load(Ordering::Relaxed),
                self.shared.upgrade.load(Ordering::Relaxed),
            );
        }
        self.scanner.feed(bytes).map_err(|reason| {
            self.shared.violated.store(true, Ordering::Relaxed);
            io::Error::new(io::ErrorKind::InvalidData, reason)
        })
    }
}

impl AsyncRead for CheckedIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = match &mut this.stream {
            Stream::Unix(s) => Pin::new(s).poll_read(cx, buf),
            Stream::Tcp(s) => Pin::new(s).poll_read(cx, buf),
        };
        ready!(read)?;
        if buf.filled().len() > before {
            this.shared.answered.store(true, Ordering::Relaxed);
            let checked = this.check(&buf.filled()[before..]);
            if checked.is_err() {
                buf.set_filled(before);
            }
            return Poll::Ready(checked);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for CheckedIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.keep(buf);
        match &mut self.get_mut().stream {
            Stream::Unix(s) => Pin::new(s).poll_write(cx, buf),
            Stream::Tcp(s) => Pin::new(s).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = bufs {
            return self.poll_write(cx, only);
        }
        // Looked at first: even clearing the space costs something.
        if flatten::is_small(bufs)
            && let Some(flat) = flatten::flatten(bufs, &mut flatten::space())
        {
            return self.poll_write(cx, flat);
        }
        match &mut self.get_mut().stream {
            Stream::Unix(s) => Pin::new(s).poll_write_vectored(cx, bufs),
            Stream::Tcp(s) => Pin::new(s).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Unix(s) => Pin::new(s).poll_shutdown(cx),
            Stream::Tcp(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}
