//! Answers that end with the token they are for.
//!
//! A stream of logs may be open for days. When its token is revoked, gets another secret or expires, it must
//! not go on; so every answer whose length is not known breaks off then, whatever the route.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::response::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::flows::tokens::Lapse;

/// The answer, which breaks off when `lapse` says so.
pub(super) fn until(lapse: Lapse, response: Response) -> Response {
    response.map(|body| match body.size_hint().exact() {
        Some(_) => body,
        None => Body::new(Ending { body, over: Box::pin(lapse.over()) }),
    })
}

struct Ending {
    body: Body,
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
}

#[derive(Debug, thiserror::Error)]
#[error("the token of this answer has ended")]
struct Ended;

impl HttpBody for Ending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.over.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(axum::Error::new(Ended))));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
