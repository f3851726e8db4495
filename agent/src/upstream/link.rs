//! One HTTP/1.1 connection to an instance, driven by whoever holds it.
//!
//! hyper's connection future is polled from the exchange and then from the response body rather
//! than from a task of its own: that saves two task switches per request, and dropping the holder
//! (a client went away) closes the connection at once. The price is that an idle link notices the
//! instance's close only when it is next used, which the retry rules have to cover anyway.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};

use http::{Method, Request, Response, header};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::checked_io::{CheckedIo, Shared};
use super::timer::LazyTimer;
use super::{Pool, Target, UploadBody, UploadError, replay};

/// Read and write buffers of a connection grow up to this: enough that a large body moves in few
/// system calls, and a head larger than it is refused.
const BUFFER_MAX: usize = 256 * 1024;
/// The most header fields in an answer.
const HEADERS_MAX: usize = 256;

type Connection = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// Why an exchange failed.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The connection was closed before anything was written: here is the request again.
    #[error("the connection was closed before the request was sent")]
    Unsent(Box<Request<UploadBody>>),
    /// The connection broke after (some of) the request was written.
    #[error("the connection broke")]
    Broken {
        /// Whether the instance had begun to answer.
        answered: bool,
        /// What hyper says.
        #[source]
        source: hyper::Error,
    },
    /// The answer's framing is ambiguous.
    #[error("the answer breaks HTTP framing")]
    Violated,
    /// The client's body failed.
    #[error("the request body is at fault")]
    Upload(UploadFault),
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
}

/// [`UploadError`] without its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadFault {
    /// See [`UploadError::TooLarge`].
    TooLarge,
    /// See [`UploadError::Stalled`].
    Stalled,
    /// See [`UploadError::Client`].
    Client,
}

enum Driver {
    /// Polled by the holder.
    Inline(Connection),
    /// In a task of its own, because an upload goes on while the answer is read.
    Task(AbortHandle),
    /// It has ended.
    Ended,
}

/// One connection to an instance.
pub struct Link {
    sender: SendRequest<UploadBody>,
    driver: Driver,
    shared: Arc<Shared>,
    timer: LazyTimer,
    generation: u64,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("generation", &self.generation).finish_non_exhaustive()
    }
}

impl Link {
    /// Connects to `target`, for `pool`.
    ///
    /// # Errors
    /// What connect(2) says.
    pub async fn open(target: &Target, pool: &Pool) -> io::Result<Self> {
        let generation = pool.generation();
        let shared = Arc::new(Shared::default());
        let io = CheckedIo::connect(target, shared.clone()).await?;
        let (sender, connection) = Builder::new()
            .max_buf_size(BUFFER_MAX)
            .max_headers(HEADERS_MAX)
            .writev(true)
            .handshake(TokioIo::new(io))
            .await
            .map_err(io::Error::other)?;
        let driver = Driver::Inline(Box::pin(connection.with_upgrades()));
        Ok(Self { sender, driver, shared, timer: LazyTimer::default(), generation })
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Drives the connection; afterwards it is known whether the instance has closed it.
    pub fn poll_drive(&mut self, cx: &mut Context<'_>) {
        if let Driver::Inline(connection) = &mut self.driver
            && connection.as_mut().poll(cx).is_ready()
        {
            self.driver = Driver::Ended;
        }
    }

    /// Whether it can carry another request now.
    #[must_use]
    pub fn is_reusable(&self) -> bool {
        matches!(self.driver, Driver::Inline(_)) && self.sender.is_ready()
    }

    /// Whether `deadline` has passed; if not, the task is woken when it does.
    pub fn poll_deadline(&mut self, cx: &mut Context<'_>, deadline: Instant) -> bool {
        self.timer.poll_at(cx, deadline)
    }

    /// Sends `request` and waits for the head of the answer, until `deadline`.
    ///
    /// # Errors
    /// [`ExchangeError`] says how far it came.
    pub async fn exchange(
        &mut self,
        request: Request<UploadBody>,
        deadline: Option<Instant>,
    ) -> Result<Response<Incoming>, ExchangeError> {
        poll_fn(|cx| {
            self.poll_drive(cx);
            Poll::Ready(())
        })
        .await;
        if !self.is_reusable() {
            return Err(ExchangeError::Unsent(Box::new(request)));
        }
        let shared = &self.shared;
        shared.head.store(request.method() == Method::HEAD, Ordering::Relaxed);
        shared.upgrade.store(request.headers().contains_key(header::UPGRADE), Ordering::Relaxed);
        shared.keep.store(can_replay(&request), Ordering::Relaxed);
        shared.kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
        shared.answered.store(false, Ordering::Relaxed);
        shared.expecting.store(true, Ordering::Relaxed);
        let mut request = request;
        let upload = (!request.body().is_end_stream()).then(|| request.body_mut().watch());
        let mut answer = std::pin::pin!(self.sender.try_send_request(request));
        let driver = &mut self.driver;
        let timer = &mut self.timer;
        let answer = poll_fn(|cx| {
            if let Driver::Inline(connection) = driver
                && connection.as_mut().poll(cx).is_ready()
            {
                *driver = Driver::Ended;
            }
            match answer.as_mut().poll(cx) {
                Poll::Ready(answer) => Poll::Ready(Ok(answer)),
                Poll::Pending if deadline.is_some_and(|at| timer.poll_at(cx, at)) => {
                    Poll::Ready(Err(ExchangeError::TimedOut))
                }
                Poll::Pending => Poll::Pending,
            }
        })
        .await?;
        let answer = answer.map_err(|mut e| match e.take_message() {
            Some(request) => ExchangeError::Unsent(Box::new(request)),
            None => self.broken(e.into_error()),
        })?;
        if upload.is_some_and(|upload| upload.is_going_on()) {
            self.detach();
        }
        Ok(answer)
    }

    /// The request of the last exchange once more, if sending it twice does no harm.
    #[must_use]
    pub fn replay(&self) -> Option<Request<UploadBody>> {
        replay::parse(&self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The bare stream, after `answer` switched protocols.
    ///
    /// # Errors
    /// The connection broke first.
    pub async fn into_upgraded(
        mut self,
        answer: Response<Incoming>,
    ) -> hyper::Result<hyper::upgrade::Upgraded> {
        let mut upgraded = std::pin::pin!(hyper::upgrade::on(answer));
        poll_fn(|cx| {
            self.poll_drive(cx);
            upgraded.as_mut().poll(cx)
        })
        .await
    }

    fn broken(&self, source: hyper::Error) -> ExchangeError {
        if self.shared.violated.load(Ordering::Relaxed) || source.is_parse() {
            return ExchangeError::Violated;
        }
        let mut cause = std::error::Error::source(&source);
        while let Some(error) = cause {
            if let Some(upload) = error.downcast_ref::<UploadError>() {
                return ExchangeError::Upload(match upload {
                    UploadError::TooLarge => UploadFault::TooLarge,
                    UploadError::Stalled => UploadFault::Stalled,
                    UploadError::Client(_) => UploadFault::Client,
                });
            }
            cause = error.source();
        }
        ExchangeError::Broken { answered: self.shared.answered.load(Ordering::Relaxed), source }
    }

    /// Lets the connection run in a task: polled only through the answer's body, an upload would
    /// stop whenever the client does not read.
    fn detach(&mut self) {
        if let Driver::Inline(connection) = std::mem::replace(&mut self.driver, Driver::Ended) {
            let task = tokio::spawn(async move {
                // Its errors reach the holder through the answer's body.
                let _ = connection.await;
            });
            self.driver = Driver::Task(task.abort_handle());
        }
    }
}

/// Whether sending `request` twice does no harm (RFC 9110 section 9.2.2), and it has no body, which
/// could be sent only once.
fn can_replay(request: &Request<UploadBody>) -> bool {
    let method = request.method();
    (method.is_safe() || method.is_idempotent()) && request.body().is_end_stream()
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Driver::Task(task) = &self.driver {
            task.abort();
        }
    }
}
