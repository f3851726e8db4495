//! The body of an instance's answer, whichever way the exchange went.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use super::Link;
use super::decode::Decode;

/// Why a body ended early: the connection broke, or the framing did.
pub type BrokenBody = Box<dyn std::error::Error + Send + Sync>;

/// What is left of an answer's body. It is read through the [`Link`] that the answer came from.
#[derive(Debug)]
pub struct AnswerBody(pub(super) Source);

#[derive(Debug)]
pub(super) enum Source {
    /// From hyper's client.
    Hyper(Incoming),
    /// From the link itself, which was here after the last piece.
    Plain(Decode),
}

impl AnswerBody {
    /// The next piece.
    pub fn poll_frame(
        &mut self,
        link: &mut Link,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenBody>>> {
        let incoming = match &mut self.0 {
            Source::Plain(at) => return link.poll_plain_frame(cx, at),
            Source::Hyper(incoming) => incoming,
        };
        let mut frame = Pin::new(&mut *incoming).poll_frame(cx);
        if frame.is_pending() {
            link.poll_drive(cx);
            frame = Pin::new(incoming).poll_frame(cx);
        }
        frame.map(|frame| frame.map(|frame| frame.map_err(Into::into)))
    }

    /// Whether there is nothing left.
    #[must_use]
    pub fn is_end_stream(&self) -> bool {
        match &self.0 {
            Source::Hyper(incoming) => incoming.is_end_stream(),
            Source::Plain(at) => *at == Decode::Done,
        }
    }

    /// What is known of how much is left.
    #[must_use]
    pub fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::Hyper(incoming) => incoming.size_hint(),
            Source::Plain(at) => at.size_hint(),
        }
    }

    /// hyper's body, which alone can switch protocols.
    pub(super) fn into_incoming(self) -> Option<Incoming> {
        match self.0 {
            Source::Hyper(incoming) => Some(incoming),
            Source::Plain(_) => None,
        }
    }
}
