//! One request to its instance, again on a fresh connection where that is safe.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::answer::{Counted, ProxyBody};
use super::error::{self, Failure};
use super::headers::{self, Hop};
use super::lost::Lost;
use super::outward::{is_events, prepare};
use super::record::Record;
use super::state::{Active, Counters, Proxy};
use super::tunnel;
use super::way::Way;
use crate::flows::fate::{Fate, Mark};
use crate::flows::{Instance, Served, Tenants, Turn, WakeError, refuse_while_backing_off};
use crate::upstream::timer;
use crate::upstream::{AnswerBody, ExchangeError, Link, UploadBody, UploadFault};

/// How often a request is tried at most.
const ATTEMPTS_MAX: u32 = 10;
/// The pause before a retry doubles from the first to the second of these.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// How long systemd's word of an end is waited for after a connection broke: one made for the request, and
/// one that had been idle, whose end most often means nothing.
const PATIENCE: Duration = Duration::from_secs(1);
const POOLED_PATIENCE: Duration = Duration::from_millis(200);

/// How the instance was found.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wake {
    /// Running.
    Hot,
    /// Asleep: the first byte took this long.
    Cold(Duration),
}

/// One request on its way.
struct Forward<'a, T> {
    proxy: &'a Proxy<T>,
    instance: &'a Arc<Instance>,
    id: &'a HeaderValue,
    started: Instant,
    startup: Duration,
    answer_timeout: Duration,
    served: Served,
    attempt: u32,
    /// Only the first try may use a connection that could be stale.
    may_pool: bool,
    room_pause: Duration,
}

/// What goes along with a request.
pub(super) struct Passage<'a> {
    /// Where it goes.
    pub(super) way: &'a mut Way,
    /// The request's `Host` as it stands.
    pub(super) host: &'a HeaderValue,
    /// Its id.
    pub(super) id: &'a HeaderValue,
    /// When it came.
    pub(super) started: Instant,
    /// Where it is watched.
    pub(super) record: &'a mut Option<Box<Record>>,
}

/// Sends `request` on its way and gives back its answer, whose body holds the lease.
pub(super) async fn forward<T: Tenants>(
    proxy: &Proxy<T>,
    active: Active,
    request: Request<Incoming>,
    hop: Hop,
    passage: Passage<'_>,
) -> Result<(Response<ProxyBody>, Wake), Failure> {
    let limits = active.client().policy.limits;
    let Passage { way, id, mut started, record, .. } = passage;
    let https = way.with.is_some() && super::handle::is_https(&active, request.headers());
    let (mut request, client_upgrade) =
        prepare(request, &hop, &active, way.body_max(limits.body_bytes), &way.instance);
    if let Some(record) = record {
        record.reaching();
    }
    let (answer, link, lease, served) = loop {
        match attempt(proxy, &way.instance, request, limits.response_timeout, started, id).await {
            Ok(answered) => break answered,
            Err(Lost { failure, again }) => {
                let next = way.with.as_mut().filter(|_| again.is_some()).and_then(|w| w.again());
                let (Some(next), Some(again)) = (next, again) else { return Err(failure) };
                log::debug!(instance:% = way.instance.name, next:% = next.name; "another instance is asked");
                Counters::add(&proxy.counters.retries);
                (way.instance, request, started) = (next, *again, Instant::now());
            }
        }
    };
    let wake = match served {
        Served::Hot => Wake::Hot,
        Served::Cold => {
            let took = started.elapsed();
            proxy.tenants.woke(&way.instance, took);
            Wake::Cold(took)
        }
    };
    if let Some(record) = record {
        record.answered(&answer, wake);
    }
    let (mut parts, body) = answer.into_parts();
    let hop = headers::strip(&mut parts.headers);
    parts.version = Version::HTTP_11;
    let body = if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        let Some(client_upgrade) = client_upgrade else { return Err(Failure::BadAnswer) };
        Counters::add(&proxy.counters.upgrades);
        way.instance.meter().answered(parts.status.as_u16(), started.elapsed());
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.extend(hop.upgrade.map(|protocol| (header::UPGRADE, protocol)));
        tunnel::start(
            client_upgrade,
            Response::from_parts(parts.clone(), body),
            link,
            lease,
            active,
            record.take(),
        );
        parts.extensions.clear();
        ProxyBody::empty()
    } else {
        let endless = is_events(&parts.headers);
        if endless {
            way.instance.meter().answered(parts.status.as_u16(), started.elapsed());
        }
        let timeout = (!limits.body_timeout.is_zero() && !endless).then_some(limits.body_timeout);
        let counted = (!endless).then_some((parts.status.as_u16(), started));
        let counted = Counted::new(counted, record.take());
        ProxyBody::stream(body, link, lease, active, timeout, counted)
    };
    let answer = Response::from_parts(parts, body);
    let answer = match &way.with {
        Some(with) => with.finish(answer, https),
        None => answer,
    };
    Ok((answer, wake))
}

type Answered = (Response<AnswerBody>, Link, crate::flows::Lease, Served);

/// Asks one instance.
async fn attempt<T: Tenants>(
    proxy: &Proxy<T>,
    instance: &Arc<Instance>,
    request: Request<UploadBody>,
    answer_timeout: Duration,
    started: Instant,
    id: &HeaderValue,
) -> Result<Answered, Lost> {
    // Before the wake: a request that is refused must not start anything.
    let turn = match Turn::take(instance) {
        Ok(turn) => turn,
        Err(refusal) => return Err(Lost::with(refusal.into(), request)),
    };
    if let Some(after) = instance.breaker.refuses() {
        return Err(Lost::with(Failure::BreakerOpen(after), request));
    }
    let (lease, served) = match proxy.tenants.ensure(instance).await {
        Ok((lease, served)) => (lease.with(turn), served),
        Err(error) => return Err(Lost::with(wake_failed(instance, id, &error), request)),
    };
    let mut job = Forward {
        proxy,
        instance,
        id,
        // Of a start that was waited for, that was the time: its release may have been taken back meanwhile.
        started: if served == Served::Cold { Instant::now() } else { started },
        startup: instance.setup().definition.startup_timeout,
        answer_timeout,
        served,
        attempt: 0,
        may_pool: true,
        room_pause: PAUSE_MIN,
    };
    match job.run(request).await {
        Ok((answer, link)) => {
            instance.breaker.answered();
            Ok((answer, link, lease, job.served))
        }
        Err(lost) => {
            job.count(lost.failure);
            if let Some(outcome) = lost.failure.wake_outcome() {
                // Where the connection is the wake, only who made it sees how it ends.
                proxy.tenants.lost(instance, outcome);
            }
            Err(lost)
        }
    }
}

impl<T: Tenants> Forward<'_, T> {
    async fn run(
        &mut self,
        mut request: Request<UploadBody>,
    ) -> Result<(Response<AnswerBody>, Link), Lost> {
        loop {
            self.attempt += 1;
            let may_pool = std::mem::replace(&mut self.may_pool, false);
            let pooled = if may_pool { self.instance.pool.take() } else { None };
            let was_pooled = pooled.is_some();
            let mut link = match pooled {
                Some(link) => link,
                None => match Link::open(&self.instance.target(), &self.instance.pool).await {
                    Ok(link) => link,
                    Err(error) => {
                        if let Err(failure) = self.not_connected(&error).await {
                            return Err(Lost::with(failure, request));
                        }
                        continue;
                    }
                },
            };
            let mark = self.instance.mark();
            match link.exchange(request, self.deadline()).await {
                Ok(answer) => return Ok((answer, link)),
                Err(ExchangeError::Unsent(unsent)) => {
                    request = *unsent;
                    if self.attempt > 1
                        && let Err(failure) = self.again(Failure::BadGateway).await
                    {
                        return Err(Lost::with(failure, request));
                    }
                }
                Err(error) => {
                    let unanswered = matches!(error, ExchangeError::Broken { answered: false, .. });
                    let replay = if unanswered { link.replay() } else { None };
                    let Some(replay) = replay else { return Err(self.failed(&error).into()) };
                    drop(link);
                    if let Err(failure) = self.replayable(&error, mark, was_pooled).await {
                        // It may have died of it; another one, if there is, is asked once.
                        return Err(Lost::with(failure, replay));
                    }
                    request = replay;
                }
            }
        }
    }

    /// After connecting failed: waits until another try makes sense.
    async fn not_connected(&mut self, error: &std::io::Error) -> Result<(), Failure> {
        if error.kind() == std::io::ErrorKind::WouldBlock {
            return self.wait_for_room().await;
        }
        log::debug!(instance:% = self.instance.name, error = error::chain(error); "cannot connect");
        self.again(Failure::BadGateway).await
    }

    /// After a connection broke without a byte of an answer: waits until the same instance may be asked again.
    async fn replayable(
        &mut self,
        error: &ExchangeError,
        mark: Mark,
        was_pooled: bool,
    ) -> Result<(), Failure> {
        if !self.may_replay(mark, was_pooled).await? {
            return Err(self.failed(error));
        }
        log::debug!(instance:% = self.instance.name, error = error::chain(error); "connection broke, trying again");
        self.again(Failure::BadGateway).await
    }

    /// Whether a request may be sent again that was sent and got no byte back. One that its process died of
    /// would kill the next one, too. Of an idle connection, the instance may have closed it just then.
    async fn may_replay(&self, mark: Mark, was_pooled: bool) -> Result<bool, Failure> {
        let patience = if was_pooled { POOLED_PATIENCE } else { PATIENCE };
        match self.instance.fate(mark, patience).await {
            Fate::Lives => Ok(was_pooled),
            Fate::Stopped => Ok(true),
            // Its start may have been given up just now, which says more than a broken connection.
            Fate::Died => match refuse_while_backing_off(self.instance) {
                Ok(()) => Ok(false),
                Err(error) => Err(wake_failed(self.instance, self.id, &error)),
            },
        }
    }

    /// When the answer must have begun.
    fn deadline(&self) -> Option<Instant> {
        match self.served {
            Served::Cold => Some(self.started + self.startup),
            Served::Hot if self.answer_timeout.is_zero() => None,
            Served::Hot => Some(timer::now() + self.answer_timeout),
        }
    }

    /// Waits a little, because the queue of the instance's unix socket is full: connect(2) then fails
    /// at once instead of waiting. It says nothing against the instance, so that only the deadline
    /// ends it, and it is no attempt.
    async fn wait_for_room(&mut self) -> Result<(), Failure> {
        if Instant::now() >= self.started + self.startup {
            return Err(match self.served {
                Served::Cold => Failure::WakeTimeout,
                Served::Hot => Failure::AnswerTimeout,
            });
        }
        let pause = self.room_pause;
        self.room_pause = (pause * 2).min(PAUSE_MAX / 4);
        self.attempt -= 1;
        // Meanwhile another request may have finished with its connection.
        self.may_pool = true;
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// Waits until another try makes sense, or says why there is none.
    async fn again(&mut self, failure: Failure) -> Result<(), Failure> {
        let deadline = self.started + self.startup;
        if self.attempt >= ATTEMPTS_MAX || Instant::now() >= deadline {
            return Err(match self.served {
                Served::Cold if Instant::now() >= deadline => Failure::WakeTimeout,
                _ => failure,
            });
        }
        Counters::add(&self.proxy.counters.retries);
        let suspected =
            tokio::time::timeout_at(deadline, self.proxy.tenants.suspect(self.instance));
        match suspected.await {
            Ok(Ok(Served::Cold)) => self.served = Served::Cold,
            Ok(Ok(Served::Hot)) => {}
            Ok(Err(error)) => return Err(wake_failed(self.instance, self.id, &error)),
            Err(_) => return Err(Failure::WakeTimeout),
        }
        if self.attempt > 1 {
            let pause = PAUSE_MIN * 2u32.pow(self.attempt.min(8));
            tokio::time::sleep(pause.min(PAUSE_MAX)).await;
        }
        Ok(())
    }

    /// Lets the breaker know of a request that the instance did not answer at all.
    fn count(&self, failure: Failure) {
        let unanswered =
            matches!(failure, Failure::BadGateway | Failure::AnswerTimeout | Failure::WakeTimeout);
        let threshold = self.instance.setup().definition.supervision.breaker_threshold;
        if unanswered && self.instance.breaker.failed(threshold) {
            self.proxy.tenants.tripped(self.instance);
        }
    }

    fn failed(&self, error: &ExchangeError) -> Failure {
        let failure = match error {
            ExchangeError::Violated => Failure::BadAnswer,
            ExchangeError::TimedOut if self.served == Served::Cold => Failure::WakeTimeout,
            ExchangeError::TimedOut => Failure::AnswerTimeout,
            ExchangeError::Upload(UploadFault::TooLarge) => return Failure::BodyTooLarge,
            ExchangeError::Upload(UploadFault::Stalled) => return Failure::RequestTimeout,
            ExchangeError::Upload(UploadFault::Client) => return Failure::BadBody,
            ExchangeError::Unsent(_) | ExchangeError::Broken { .. } => Failure::BadGateway,
        };
        let id = self.id.to_str().unwrap_or_default();
        log::warn!(instance:% = self.instance.name, request_id = id, error = error::chain(error); "no answer from the instance");
        failure
    }
}

fn wake_failed(instance: &Instance, id: &HeaderValue, error: &WakeError) -> Failure {
    let id = id.to_str().unwrap_or_default();
    log::warn!(instance:% = instance.name, request_id = id, error = error::chain(error); "cannot wake the instance");
    Failure::from(error)
}
