//! A client's stream with every byte checked before hyper sees it, and with deadlines.
//!
//! A refused message never reaches hyper: what came before it is passed on, then reading fails, and
//! when hyper has let go of the stream the connection's task writes the refusal.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::error::Failure;
use super::flood::Flood;
use super::state::Client;
use crate::framing::{Phase, Reason, RequestLimits, RequestScanner};
use crate::upstream::flatten;
use crate::upstream::timer::{self, LazyTimer};

/// How much of what follows a request for another protocol is read before the answer is known.
const HELD_MAX: usize = 16 * 1024;

/// Why reading from the client ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// A request was refused; `true` if hyper has its head, so that the service answers.
    Refused(Failure, bool),
    /// Nothing came for the keep-alive time.
    Idle,
    /// More HTTP/2 frames that demand an answer than anybody needs.
    Flood,
}

/// The guarded stream.
#[derive(Debug)]
pub(super) struct GuardIo<S> {
    stream: S,
    client: Arc<Client>,
    /// `None` once the client speaks HTTP/2, whose framing hyper's h2 checks.
    scanner: Option<RequestScanner>,
    /// Watches the frames of a client that speaks HTTP/2.
    flood: Option<Flood>,
    /// Bytes that were read but may not be passed on yet.
    held: Vec<u8>,
    stop: Option<Stop>,
    read_deadline: Option<Instant>,
    read_timer: LazyTimer,
    write_deadline: Option<Instant>,
    write_timer: LazyTimer,
    /// Whether hyper has been told to read again, and has not yet.
    woken: bool,
}

impl<S> GuardIo<S> {
    /// Guards `stream`, of which `first` was read already.
    pub(super) fn new(stream: S, client: Arc<Client>, first: Vec<u8>, is_http2: bool) -> Self {
        let limits = &client.policy.limits;
        let limits = RequestLimits { bytes: limits.header_bytes, fields: limits.header_count };
        Self {
            stream,
            client,
            scanner: (!is_http2).then(|| RequestScanner::new(limits)),
            flood: is_http2.then(Flood::default),
            held: first,
            stop: None,
            read_deadline: None,
            read_timer: LazyTimer::default(),
            write_deadline: None,
            write_timer: LazyTimer::default(),
            woken: false,
        }
    }

    /// The stream, and why reading ended if the guard ended it.
    pub(super) fn into_parts(self) -> (S, Option<Stop>) {
        (self.stream, self.stop)
    }

    fn is_active(&self) -> bool {
        self.client.active.load(Ordering::Acquire) > 0
    }

    /// Checks the bytes of `buf` after `before`, and takes back what may not be passed on.
    fn check(&mut self, buf: &mut ReadBuf<'_>, before: usize) {
        let Some(scanner) = &mut self.scanner else {
            let flood = self.flood.as_mut();
            if flood.is_some_and(|flood| flood.is_one(&buf.filled()[before..], timer::now())) {
                self.stop = Some(Stop::Flood);
                buf.set_filled(before);
            }
            return;
        };
        let was_head = scanner.phase() == Phase::Head;
        let input = &buf.filled()[before..];
        let good = match scanner.feed(input) {
            Ok(good) => {
                if good < input.len() {
                    // What follows a request for another protocol waits for the answer.
                    self.held.splice(0..0, input[good..].iter().copied());
                }
                good
            }
            Err(rejected) => {
                let failure = match rejected.reason {
                    Reason::HeadTooLarge => Failure::HeadTooLarge,
                    reason => Failure::BadRequest(reason),
                };
                self.stop = Some(Stop::Refused(failure, rejected.in_body));
                rejected.good
            }
        };
        // A head that comes in many pieces keeps the deadline of its first byte.
        if !(was_head && self.scanner.as_ref().is_some_and(|s| s.phase() == Phase::Head)) {
            self.read_deadline = None;
        }
        buf.set_filled(before + good);
    }

    /// What reading answers after [`Stop`], or while a switch of protocols is undecided.
    fn poll_stopped(&mut self) -> Option<Poll<io::Result<()>>> {
        match self.stop? {
            // The requests before it are answered first; hyper reads again after each.
            Stop::Refused(_, false) if self.is_active() => Some(Poll::Pending),
            Stop::Refused(Failure::BadRequest(reason), _) => {
                Some(Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, reason))))
            }
            Stop::Refused(..) | Stop::Idle | Stop::Flood => {
                Some(Poll::Ready(Err(io::ErrorKind::TimedOut.into())))
            }
        }
    }

    fn poll_read_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(scanner) = &self.scanner else { return Poll::Pending };
        let limits = &self.client.policy.limits;
        let (timeout, stop) = match scanner.phase() {
            Phase::Head => (limits.header_timeout, Stop::Refused(Failure::RequestTimeout, false)),
            Phase::Idle if !self.is_active() => (limits.keepalive_timeout, Stop::Idle),
            _ => return Poll::Pending,
        };
        let deadline = *self.read_deadline.get_or_insert_with(|| timer::now() + timeout);
        if !self.read_timer.poll_at(cx, deadline) {
            return Poll::Pending;
        }
        self.stop = Some(stop);
        self.poll_stopped().unwrap_or(Poll::Pending)
    }

    /// When hyper has flushed: an answer may have ended since hyper last read, and it need not read
    /// again of its own accord.
    fn after_answer(&mut self, cx: &mut Context<'_>) {
        if self.is_active() {
            return;
        }
        let phase = self.scanner.as_ref().map(RequestScanner::phase);
        let waiting = self.stop.is_some() || phase == Some(Phase::Undecided);
        let waiting = waiting || self.poll_read_deadline(cx).is_ready();
        // Once per read: hyper may have reasons not to read any more.
        if waiting && !std::mem::replace(&mut self.woken, true) {
            cx.waker().wake_by_ref();
        }
    }

    fn poll_written(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.write_deadline = None;
            return written;
        }
        let timeout = self.client.policy.limits.body_timeout;
        if timeout.is_zero() {
            return Poll::Pending;
        }
        let deadline = *self.write_deadline.get_or_insert_with(|| timer::now() + timeout);
        if self.write_timer.poll_at(cx, deadline) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> GuardIo<S> {
    /// While it is undecided whether the client switches protocols: decides, or holds what comes.
    fn poll_undecided(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let active = self.is_active();
        let Some(scanner) = self.scanner.as_mut().filter(|s| s.phase() == Phase::Undecided) else {
            return Poll::Ready(Ok(()));
        };
        if self.client.switched.load(Ordering::Acquire) || !active {
            scanner.decide(self.client.switched.load(Ordering::Acquire));
            return Poll::Ready(Ok(()));
        }
        let mut bytes = [0; 1024];
        while self.held.len() < HELD_MAX {
            let mut buf = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            self.held.extend_from_slice(buf.filled());
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for GuardIo<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.woken = false;
        let before = buf.filled().len();
        loop {
            if let Some(stopped) = this.poll_stopped() {
                return stopped;
            }
            ready!(this.poll_undecided(cx))?;
            if this.held.is_empty() {
                if Pin::new(&mut this.stream).poll_read(cx, buf)?.is_pending() {
                    return this.poll_read_deadline(cx);
                }
                if buf.filled().len() == before {
                    return Poll::Ready(Ok(()));
                }
            } else {
                let n = this.held.len().min(buf.remaining());
                buf.put_slice(&this.held[..n]);
                this.held.drain(..n);
                if this.held.is_empty() {
                    this.held = Vec::new();
                }
            }
            this.check(buf, before);
            if buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for GuardIo<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.poll_written(cx, written)
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
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.poll_written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_flush(cx))?;
        this.after_answer(cx);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if matches!(this.stop, Some(Stop::Refused(_, false))) {
            // The refusal is still to be written.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}
