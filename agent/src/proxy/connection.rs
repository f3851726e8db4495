//! One client connection from its first byte to its last.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::guard_io::{GuardIo, Stop};
use super::handle;
use super::stage::{Stage, StageWatch};
use super::stall::Watched;
use super::state::{Active, Client, Counters, Proxy};
use crate::flows::Tenants;

/// What a client that speaks HTTP/2 without asking begins with (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// hyper's read buffer grows up to this.
const BUFFER_MAX: usize = 256 * 1024;
/// How long, and how much, a refused client may go on sending before its connection is closed.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1024 * 1024;
/// Bounds of an HTTP/2 connection: see `docs/PROXY.md`.
const STREAMS_MAX: u32 = 128;
const RESET_STREAMS_MAX: usize = 64;

/// Serves `stream` until it ends or the proxy does.
pub(super) async fn run<T: Tenants>(
    proxy: Arc<Proxy<T>>,
    stream: TcpStream,
    client: Arc<Client>,
    stage: StageWatch,
) {
    let served = async {
        let Ok(Some((first, is_http2))) = first_bytes(&stream, &client, &stage).await else {
            return;
        };
        serve_either(proxy, stream, client, &stage, first, is_http2).await;
    };
    until_abort(served, &stage).await;
}

/// Serves a stream whose protocol is known, and of which `first` was read.
pub(super) async fn serve_either<T: Tenants, S: Stream>(
    proxy: Arc<Proxy<T>>,
    stream: S,
    client: Arc<Client>,
    stage: &StageWatch,
    first: Vec<u8>,
    is_http2: bool,
) {
    let guard = GuardIo::new(stream, client.clone(), first, is_http2);
    if is_http2 {
        serve_http2(proxy, guard, client, stage).await;
    } else {
        serve_http1(proxy, guard, client, stage).await;
    }
}

/// What a connection can be served on.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

/// Drives `served` until it ends or everything is dropped.
pub(super) async fn until_abort(served: impl Future<Output = ()>, stage: &StageWatch) {
    let mut served = pin!(served);
    poll_fn(|cx| match served.as_mut().poll(cx) {
        Poll::Pending if stage.poll_reached(cx, Stage::Abort) => Poll::Ready(()),
        polled => polled,
    })
    .await;
}

/// Reads until it is clear whether the client speaks HTTP/2. Nothing is allocated before the first
/// byte: a connection that is only opened costs little.
async fn first_bytes(
    stream: &TcpStream,
    client: &Client,
    stage: &StageWatch,
) -> io::Result<Option<(Vec<u8>, bool)>> {
    let deadline = Instant::now() + client.policy.limits.header_timeout;
    let mut first = Vec::new();
    loop {
        tokio::select! {
            ready = timeout_at(deadline, stream.readable()) => ready??,
            () = stage.reached(Stage::CloseNew) => return Ok(None),
        }
        let mut bytes = [0; 4096];
        match stream.try_read(&mut bytes) {
            Ok(0) => return Ok(None),
            Ok(n) => first.extend_from_slice(&bytes[..n]),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => continue,
            Err(e) => return Err(e),
        }
        let n = first.len().min(PREFACE.len());
        if first[..n] != PREFACE[..n] {
            return Ok(Some((first, false)));
        }
        if n == PREFACE.len() {
            return Ok(Some((first, true)));
        }
    }
}

async fn serve_http1<T: Tenants, S: Stream>(
    proxy: Arc<Proxy<T>>,
    guard: GuardIo<S>,
    client: Arc<Client>,
    stage: &StageWatch,
) {
    let service = {
        let (proxy, client) = (proxy.clone(), client.clone());
        service_fn(move |request| {
            // Counted before the first poll: the guard must see it as soon as hyper has the head.
            let active = Active::begin(&client);
            handle::handle(proxy.clone(), active, request)
        })
    };
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // The guard's deadlines are exact and cost nothing per request.
        .header_read_timeout(None)
        .max_buf_size(BUFFER_MAX.max(2 * client.policy.limits.header_bytes))
        // The guard counts; hyper only needs room for what it lets through.
        .max_headers(client.policy.limits.header_count + 1)
        .half_close(false)
        .pipeline_flush(false)
        .writev(true)
        .serve_connection(TokioIo::new(guard), service)
        .with_upgrades();
    let mut graceful = false;
    poll_fn(|cx| {
        // hyper closes at once what has not been read from yet, with the request that the guard
        // already holds; so a connection without a request so far is left until the next stage.
        let polled = Pin::new(&mut connection).poll(cx);
        let last =
            if client.served.load(Ordering::Relaxed) { Stage::CloseIdle } else { Stage::CloseNew };
        if polled.is_ready() || graceful || !stage.poll_reached(cx, last) {
            return polled;
        }
        graceful = true;
        Pin::new(&mut connection).graceful_shutdown();
        Pin::new(&mut connection).poll(cx)
    })
    .await
    // What went wrong between hyper and the client is the client's to report.
    .unwrap_or_default();
    // `None` too if the last request asked for another protocol and was refused it: hyper then gives
    // the stream to an upgrade that nobody awaits, which closes it.
    let Some(parts) = connection.into_parts() else { return };
    let (stream, stop) = parts.io.into_inner().into_parts();
    if let Some(Stop::Refused(failure, in_body)) = stop {
        Counters::add(&proxy.counters.requests_refused);
        let answer = if in_body { Vec::new() } else { failure.raw(&proxy.ids.next()) };
        refuse(stream, &answer).await;
    }
}

/// Writes `answer`, then reads on a little: closing with unread bytes would reset the connection and
/// could take the answer with it (RFC 9112 section 9.6).
pub(super) async fn refuse(mut stream: impl Stream, answer: &[u8]) {
    let _ = timeout(LINGER, async {
        stream.write_all(answer).await?;
        stream.shutdown().await?;
        let mut bytes = vec![0; 16 * 1024];
        let mut left = LINGER_BYTES;
        while left > 0 {
            match stream.read(&mut bytes).await? {
                0 => break,
                n => left = left.saturating_sub(n),
            }
        }
        io::Result::Ok(())
    })
    .await;
}

async fn serve_http2<T: Tenants, S: Stream>(
    proxy: Arc<Proxy<T>>,
    guard: GuardIo<S>,
    client: Arc<Client>,
    stage: &StageWatch,
) {
    let limits = client.policy.limits;
    let service = {
        let client = client.clone();
        service_fn(move |request| {
            let active = Active::begin(&client);
            handle::handle(proxy.clone(), active, request)
        })
    };
    let mut connection = pin!(
        http2::Builder::new(Watched { patience: limits.body_timeout })
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .max_pending_accept_reset_streams(RESET_STREAMS_MAX)
            .max_local_error_reset_streams(RESET_STREAMS_MAX)
            .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
            .keep_alive_interval(limits.header_timeout.max(Duration::from_secs(10)))
            .keep_alive_timeout(limits.header_timeout.max(Duration::from_secs(10)))
            .initial_stream_window_size(256 * 1024)
            .initial_connection_window_size(1024 * 1024)
            .max_send_buf_size(256 * 1024)
            .serve_connection(TokioIo::new(guard), service)
    );
    tokio::select! {
        _ = connection.as_mut() => return,
        () = idle(&client) => {}
        // GOAWAY lets the client finish and open its next stream elsewhere.
        () = stage.reached(Stage::Draining) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

/// Ends when the connection had no stream for the keep-alive time.
async fn idle(client: &Client) {
    let limit = client.policy.limits.keepalive_timeout;
    let step = limit / 4;
    let mut quiet = Duration::ZERO;
    while quiet < limit {
        tokio::time::sleep(step).await;
        let busy = client.active.load(Ordering::Acquire) > 0;
        let used = client.served.swap(false, Ordering::Relaxed);
        quiet = if busy || used { Duration::ZERO } else { quiet + step };
    }
}
