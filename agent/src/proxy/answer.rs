//! The body of an answer, which keeps the instance awake and gives its connection back at the end.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::compress::Packed;
use super::record::Record;
use super::root::RootBody;
use super::stall;
use super::state::Active;
use crate::flows::{Instance, Lease};
use crate::upstream::{AnswerBody, BrokenBody, Link, timer};

/// The body of every answer of the proxy.
#[derive(Debug)]
pub struct ProxyBody(Kind);

#[derive(Debug)]
enum Kind {
    /// Ours, or none.
    Full(Option<Bytes>),
    /// An instance's.
    Stream(Stream),
    /// An instance's, compressed on its way.
    Packed(Box<Packed>),
    /// The management API's, on the domain itself.
    Root { body: RootBody, _active: Active },
}

/// Why an instance's body ended early. hyper then breaks the client's connection, so that nobody
/// takes the half for the whole.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The instance broke off, or broke the framing.
    #[error("the instance's body ended early")]
    Broken(#[source] BrokenBody),
    /// The instance sent nothing for too long.
    #[error("the instance stopped sending")]
    Stalled,
    /// It could not be compressed.
    #[error("the answer could not be compressed")]
    Packing(#[source] std::io::Error),
    /// What answers on the domain itself broke off.
    #[error("the answer ended early")]
    Root(#[source] Box<dyn std::error::Error + Send + Sync>),
}

#[derive(Debug)]
struct Stream {
    body: AnswerBody,
    ended: bool,
    timeout: Option<Duration>,
    deadline: Option<Instant>,
    link: Option<Link>,
    counted: Counted,
    // Declared last, so that the link is back in the pool before the instance may be stopped.
    lease: Lease,
    _active: Active,
}

/// What is counted of an answer when it ends.
#[derive(Debug)]
pub(super) struct Counted {
    /// Its status, and when the request came; None if that was counted at its head.
    answered: Option<(u16, Instant)>,
    sent: u64,
    /// Where the request is watched: its span and its line of the access log.
    record: Option<Box<Record>>,
}

impl Counted {
    pub(super) fn new(answered: Option<(u16, Instant)>, record: Option<Box<Record>>) -> Self {
        Self { answered, sent: 0, record }
    }

    fn tell(&mut self, instance: &Instance, complete: bool) {
        let meter = instance.meter();
        if let Some((status, came)) = self.answered {
            meter.answered(status, came.elapsed());
        }
        meter.sent(self.sent);
        if let Some(mut record) = self.record.take() {
            record.end(self.sent, complete);
        }
    }
}

impl ProxyBody {
    pub(super) fn empty() -> Self {
        Self(Kind::Full(None))
    }

    pub(super) fn full(bytes: impl Into<Bytes>) -> Self {
        Self(Kind::Full(Some(bytes.into())))
    }

    /// A body that is compressed.
    pub(super) fn packed(packed: Packed) -> Self {
        Self(Kind::Packed(Box::new(packed)))
    }

    /// A body of the domain itself.
    pub(super) fn root(body: RootBody, active: Active) -> Self {
        Self(Kind::Root { body, _active: active })
    }

    /// An instance's body; `timeout` bounds the pause between two pieces.
    pub(super) fn stream(
        body: AnswerBody,
        link: Link,
        lease: Lease,
        active: Active,
        timeout: Option<Duration>,
        counted: Counted,
    ) -> Self {
        let ended = body.is_end_stream();
        let link = Some(link);
        Self(Kind::Stream(Stream {
            body,
            ended,
            timeout,
            deadline: None,
            link,
            counted,
            lease,
            _active: active,
        }))
    }
}

/// Takes the body off an answer to HEAD, which still says how long it would be.
pub(super) fn without_body(answer: &mut http::Response<ProxyBody>) {
    if let Kind::Full(Some(bytes)) = &answer.body().0 {
        let length = bytes.len().into();
        answer.headers_mut().entry(http::header::CONTENT_LENGTH).or_insert(length);
        *answer.body_mut() = ProxyBody::empty();
    }
}

impl Stream {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(link) = &mut self.link else { return Poll::Ready(None) };
        let frame = self.body.poll_frame(link, cx);
        match frame {
            Poll::Ready(Some(Ok(frame))) => {
                self.deadline = None;
                self.ended = self.body.is_end_stream() || frame.is_trailers();
                self.counted.sent += frame.data_ref().map_or(0, Bytes::len) as u64;
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.link = None;
                Poll::Ready(Some(Err(BodyError::Broken(error))))
            }
            Poll::Ready(None) => {
                self.ended = true;
                Poll::Ready(None)
            }
            Poll::Pending => self.poll_stalled(cx),
        }
    }

    fn poll_stalled(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let (Some(timeout), Some(link)) = (self.timeout, &mut self.link) else {
            return Poll::Pending;
        };
        let deadline = *self.deadline.get_or_insert_with(|| timer::now() + timeout);
        if link.poll_deadline(cx, deadline) {
            self.link = None;
            return Poll::Ready(Some(Err(BodyError::Stalled)));
        }
        Poll::Pending
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.counted.tell(self.lease.instance(), self.ended);
        let Some(mut link) = self.link.take().filter(|_| self.ended) else { return };
        if !link.is_reusable() {
            // hyper may still have to take note of the end of the body. Nobody has to be woken: the
            // next holder drives the link before it uses it.
            link.poll_drive(&mut Context::from_waker(Waker::noop()));
        }
        if link.is_reusable() {
            self.lease.instance().pool.put(link);
        }
    }
}

impl Body for ProxyBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = match &mut self.get_mut().0 {
            Kind::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Stream(stream) => stream.poll(cx),
            Kind::Packed(packed) => packed.poll(cx),
            Kind::Root { body, .. } => Pin::new(body).poll_frame(cx).map_err(BodyError::Root),
        };
        stall::polled(polled.is_ready());
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Full(bytes) => bytes.is_none(),
            Kind::Stream(stream) => stream.body.is_end_stream(),
            Kind::Packed(packed) => packed.is_end(),
            Kind::Root { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Kind::Stream(stream) => stream.body.size_hint(),
            Kind::Packed(_) => SizeHint::default(),
            Kind::Root { body, .. } => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_to_head_says_its_length_and_has_no_body() {
        let mut answer = http::Response::new(ProxyBody::full("hello"));
        without_body(&mut answer);
        assert!(answer.body().is_end_stream());
        assert_eq!(answer.headers()[http::header::CONTENT_LENGTH], "5");
    }
}
