//! The plain exchange: a request without a body, over a connection that hyper does not know.
//!
//! Nearly every request is one. hyper's client would hand it through a channel, an answer channel
//! and a state machine for what cannot happen here: that is a third of the proxy's own work.
//! Reading is simple because the scanner in [`CheckedIo`] has judged every byte before.

use std::future::Future as _;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::{Request, Response, header};
use http_body::{Body as _, Frame};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _};

use super::checked_io::CheckedIo;
use super::decode::Decode;
use super::{UploadBody, answer_head};

/// Reads are of this many bytes at first, and grow while they fill the space.
const READ_MIN: usize = 8 * 1024;
const READ_MAX: usize = 256 * 1024;

/// A connection with at most one plain exchange on it.
#[derive(Debug)]
pub(super) struct Plain {
    io: CheckedIo,
    /// The request's head as written; also what a replay is made of.
    head: Vec<u8>,
    written: usize,
    /// Heads of answers that have been taken out of `buf`.
    heads: u32,
    may_replay: bool,
    to_head: bool,
    /// What was read but not passed on.
    buf: BytesMut,
    read_size: usize,
    pub(super) body: Decode,
    /// Whether the connection goes on after this answer.
    keep: bool,
}

impl Plain {
    pub(super) fn new(io: CheckedIo) -> Self {
        Self {
            io,
            head: Vec::new(),
            written: 0,
            heads: 0,
            may_replay: false,
            to_head: false,
            buf: BytesMut::new(),
            read_size: READ_MIN,
            body: Decode::Done,
            keep: true,
        }
    }

    /// Whether `request` is plain: without a body, and not for another protocol.
    pub(super) fn takes(request: &Request<UploadBody>) -> bool {
        let headers = request.headers();
        request.body().is_end_stream()
            && !headers.contains_key(header::UPGRADE)
            && !headers.contains_key(header::CONTENT_LENGTH)
            && !headers.contains_key(header::TRANSFER_ENCODING)
    }

    pub(super) fn is_reusable(&self) -> bool {
        self.keep && self.body == Decode::Done && self.buf.is_empty()
    }

    /// The stream, between two exchanges.
    pub(super) fn into_io(self) -> CheckedIo {
        self.io
    }

    /// The head that was written, if sending it again does no harm.
    pub(super) fn replay_head(&self) -> Option<&[u8]> {
        self.may_replay.then_some(&self.head)
    }

    /// Whether the instance closed the connection, or said something, while nothing was asked.
    pub(super) fn poll_stale(&mut self, cx: &mut Context<'_>) -> bool {
        self.poll_fill(cx).is_ready()
    }

    /// Begins an exchange; [`Plain::poll_answer`] does it.
    pub(super) fn begin(&mut self, request: &Request<UploadBody>, may_replay: bool) {
        self.may_replay = may_replay;
        answer_head::write_request(&mut self.head, request);
        self.written = 0;
        self.to_head = request.method() == http::Method::HEAD;
    }

    /// Writes the request, then reads up to the end of the answer's head.
    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Response<()>>> {
        while self.written < self.head.len() {
            let rest = &self.head[self.written..];
            match ready!(Pin::new(&mut self.io).poll_write(cx, rest)) {
                Ok(n) if n > 0 => self.written += n,
                // It may have answered before it closed: what can be read decides.
                _ => (self.written, self.keep) = (self.head.len(), false),
            }
        }
        loop {
            // The scanner has found the end of a head that was not taken yet: it is in the buffer.
            while self.heads != self.io.heads() {
                self.heads = self.heads.wrapping_add(1);
                let answer = answer_head::take(&mut self.buf).ok_or(io::ErrorKind::InvalidData)?;
                if !answer.status().is_informational() {
                    self.keep &= answer_head::keeps_alive(&answer);
                    self.body = Decode::of(&answer, self.to_head);
                    return Poll::Ready(Ok(answer));
                }
            }
            if ready!(self.poll_fill(cx))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// The next piece of the answer's body.
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            if let Some(frame) = self.body.next(&mut self.buf) {
                return Poll::Ready(Some(Ok(frame)));
            }
            if self.body == Decode::Done {
                return Poll::Ready(None);
            }
            match ready!(self.poll_fill(cx)) {
                Ok(0) if self.body == Decode::UntilClose => self.body = Decode::Done,
                Ok(0) => return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.buf.capacity() - self.buf.len() < self.read_size {
            self.buf.reserve(self.read_size);
        }
        let read = ready!(pin!(self.io.read_buf(&mut self.buf)).poll(cx));
        match &read {
            Ok(n) if *n >= self.read_size => self.read_size = (2 * n).min(READ_MAX),
            Ok(n) if *n < self.read_size / 4 => {
                self.read_size = (self.read_size / 2).max(READ_MIN);
            }
            Ok(_) => {}
            Err(_) => self.keep = false,
        }
        if let Ok(0) = read {
            self.keep = false;
        }
        Poll::Ready(read)
    }

    /// Gives back a large buffer before idling.
    pub(super) fn shrink(&mut self) {
        if self.buf.capacity() > 2 * READ_MIN {
            self.buf = BytesMut::new();
        }
    }
}
