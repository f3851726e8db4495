//! One HTTP/1.1 connection to an instance, driven by whoever holds it.
//!
//! It begins as a [`Plain`] one, and is handed to hyper with the first request that is not plain.
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

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body::{Body as _, Frame};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::answer_body::{AnswerBody, BrokenBody, Source};
use super::checked_io::{CheckedIo, Shared};
use super::decode::Decode;
use super::plain::Plain;
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
        /// What happened to it.
        #[source]
        source: BrokenBody,
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
    /// None yet: the link reads and writes by itself.
    Plain(Box<Plain>),
    /// Polled by the holder.
    Inline(Connection),
    /// In a task of its own, because an upload goes on while the answer is read.
    Task(AbortHandle),
    /// It has ended.
    Ended,
}

/// One connection to an instance.
pub struct Link {
    /// hyper's, once it has the connection.
    sender: Option<SendRequest<UploadBody>>,
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
        let driver = Driver::Plain(Box::new(Plain::new(io)));
        Ok(Self { sender: None, driver, shared, timer: LazyTimer::default(), generation })
    }

    /// Hands the connection to hyper, if it has it not yet.
    async fn hand_over(&mut self) -> hyper::Result<()> {
        let plain = match std::mem::replace(&mut self.driver, Driver::Ended) {
            Driver::Plain(plain) => plain,
            other => {
                self.driver = other;
                return Ok(());
            }
        };
        let (sender, connection) = Builder::new()
            .max_buf_size(BUFFER_MAX)
            .max_headers(HEADERS_MAX)
            .writev(true)
            .handshake(TokioIo::new(plain.into_io()))
            .await?;
        self.driver = Driver::Inline(Box::pin(connection.with_upgrades()));
        self.sender = Some(sender);
        Ok(())
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
        match &self.driver {
            Driver::Plain(plain) => plain.is_reusable(),
            Driver::Inline(_) => self.sender.as_ref().is_some_and(SendRequest::is_ready),
            Driver::Task(_) | Driver::Ended => false,
        }
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
    ) -> Result<Response<AnswerBody>, ExchangeError> {
        if matches!(self.driver, Driver::Plain(_)) && Plain::takes(&request) {
            return self.exchange_plain(request, deadline).await;
        }
        if self.hand_over().await.is_err() {
            return Err(ExchangeError::Unsent(Box::new(request)));
        }
        poll_fn(|cx| {
            self.poll_drive(cx);
            Poll::Ready(())
        })
        .await;
        let ready = self.is_reusable();
        let Some(sender) = self.sender.as_mut().filter(|_| ready) else {
            return Err(ExchangeError::Unsent(Box::new(request)));
        };
        let shared = &self.shared;
        shared.upgrade.store(request.headers().contains_key(header::UPGRADE), Ordering::Relaxed);
        shared.keep.store(can_replay(&request), Ordering::Relaxed);
        shared.kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
        shared.expect(request.method() == Method::HEAD);
        let mut request = request;
        let upload = (!request.body().is_end_stream()).then(|| request.body_mut().watch());
        let mut answer = std::pin::pin!(sender.try_send_request(request));
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
        Ok(answer.map(|body| AnswerBody(Source::Hyper(body))))
    }

    async fn exchange_plain(
        &mut self,
        request: Request<UploadBody>,
        deadline: Option<Instant>,
    ) -> Result<Response<AnswerBody>, ExchangeError> {
        let (shared, timer) = (&self.shared, &mut self.timer);
        let Driver::Plain(plain) = &mut self.driver else {
            return Err(ExchangeError::Unsent(Box::new(request)));
        };
        let mut unsent = Some(request);
        let answer = poll_fn(|cx| {
            if let Some(request) = unsent.take() {
                if plain.poll_stale(cx) {
                    return Poll::Ready(Err(ExchangeError::Unsent(Box::new(request))));
                }
                plain.begin(&request, can_replay(&request));
                shared.upgrade.store(false, Ordering::Relaxed);
                shared.expect(request.method() == Method::HEAD);
            }
            match plain.poll_answer(cx) {
                Poll::Ready(Ok(answer)) => Poll::Ready(Ok(answer)),
                Poll::Ready(Err(_)) if shared.violated.load(Ordering::Relaxed) => {
                    Poll::Ready(Err(ExchangeError::Violated))
                }
                Poll::Ready(Err(source)) => {
                    let answered = shared.answered.load(Ordering::Relaxed);
                    Poll::Ready(Err(ExchangeError::Broken { answered, source: source.into() }))
                }
                Poll::Pending if deadline.is_some_and(|at| timer.poll_at(cx, at)) => {
                    Poll::Ready(Err(ExchangeError::TimedOut))
                }
                Poll::Pending => Poll::Pending,
            }
        })
        .await?;
        let at = plain.body;
        Ok(answer.map(|()| AnswerBody(Source::Plain(at))))
    }

    /// The next piece of a plain answer's body; `at` is where that leaves it.
    pub(super) fn poll_plain_frame(
        &mut self,
        cx: &mut Context<'_>,
        at: &mut Decode,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenBody>>> {
        let Driver::Plain(plain) = &mut self.driver else { return Poll::Ready(None) };
        let frame = plain.poll_frame(cx);
        *at = plain.body;
        frame.map(|frame| frame.map(|frame| frame.map_err(Into::into)))
    }

    /// Before it idles in the pool: gives back what it does not need there.
    pub(crate) fn shrink(&mut self) {
        if let Driver::Plain(plain) = &mut self.driver {
            plain.shrink();
        }
    }

    /// The request of the last exchange once more, if sending it twice does no harm.
    #[must_use]
    pub fn replay(&self) -> Option<Request<UploadBody>> {
        if let Driver::Plain(plain) = &self.driver {
            return plain.replay_head().and_then(replay::parse);
        }
        replay::parse(&self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The bare stream, after `answer` switched protocols.
    ///
    /// # Errors
    /// The connection broke first.
    pub async fn into_upgraded(
        mut self,
        answer: Response<AnswerBody>,
    ) -> Result<hyper::upgrade::Upgraded, BrokenBody> {
        let (parts, body) = answer.into_parts();
        let body = body.into_incoming().ok_or("only hyper switches protocols")?;
        let mut upgraded = std::pin::pin!(hyper::upgrade::on(Response::from_parts(parts, body)));
        poll_fn(|cx| {
            self.poll_drive(cx);
            upgraded.as_mut().poll(cx)
        })
        .await
        .map_err(Into::into)
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
        ExchangeError::Broken {
            answered: self.shared.answered.load(Ordering::Relaxed),
            source: source.into(),
        }
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
