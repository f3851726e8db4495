//! The accept loop of the admin socket.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};

use super::access::Caller;
use super::bounds::HEADERS_MAX;
use super::peer::{Access, Peer};
use super::problem::Problem;
use super::trace::RequestId;

/// Connections served at once; more wait in the kernel's queue.
const CONNECTIONS: usize = 128;
/// From accept, or the last answer, to the end of the next request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long requests may go on after `shutdown`.
const DRAIN: Duration = Duration::from_secs(10);
/// Pause after a failed accept (out of file descriptors, usually), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Tells a request that goes on and on when the agent stops. Nothing is ever sent: the sender goes away.
#[derive(Debug, Clone)]
pub(super) struct Stopping(pub(super) watch::Receiver<()>);

/// Ends when the agent stops; without a word about that, never.
pub(super) async fn stopped(stopping: &mut Option<Stopping>) {
    match stopping {
        // A sender that is gone says the same as a word from it.
        Some(Stopping(word)) => drop(word.changed().await),
        None => std::future::pending().await,
    }
}

/// Serves `router` to those whom `access` allows, until `shutdown`; then lets open requests end, with
/// a bound. Each request carries its [`Peer`] as an extension. `turned_away` hears of each request of others.
pub async fn serve(
    listener: UnixListener,
    router: Router,
    access: Access,
    turned_away: impl Fn(&Peer) + Clone + Send + Sync + 'static,
    shutdown: impl Future<Output = ()>,
) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let (stop, stopping) = watch::channel(());
    let accept = async {
        loop {
            let Ok(slot) = slots.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let one = connection(
                        stream,
                        router.clone(),
                        access,
                        turned_away.clone(),
                        stopping.clone(),
                    );
                    tokio::spawn(async move {
                        one.await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    log::warn!(error = error.to_string().as_str(); "can't accept on the admin socket");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = accept => {}
        () = shutdown => {}
    }
    drop(stopping);
    drop(stop);
    // Every slot back means that every connection has ended.
    let all = slots.acquire_many(CONNECTIONS as u32);
    if tokio::time::timeout(DRAIN, all).await.is_err() {
        log::warn!("admin requests were still open when the agent stopped");
    }
}

async fn connection(
    stream: UnixStream,
    router: Router,
    access: Access,
    turned_away: impl Fn(&Peer),
    mut stopping: watch::Receiver<()>,
) {
    let peer = match Peer::of(&stream) {
        Ok(peer) => peer,
        Err(error) => {
            log::warn!(error = error.to_string().as_str(); "can't tell who connects to the admin socket");
            return;
        }
    };
    let allowed = access.allows(&peer);
    if !allowed {
        log::warn!(uid = peer.uid, gid = peer.gid; "refused on the admin socket");
    }
    let stop = Stopping(stopping.clone());
    let service = service_fn(move |request| {
        if !allowed {
            turned_away(&peer);
        }
        answer(request, router.clone(), peer.clone(), stop.clone(), allowed)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        // More than `bounds` allows, so that it can say so.
        .max_headers(2 * HEADERS_MAX)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        _ = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        log::debug!(error = error.to_string().as_str(); "an admin connection broke");
    }
}

async fn answer(
    request: Request<Incoming>,
    router: Router,
    peer: Peer,
    stop: Stopping,
    allowed: bool,
) -> Result<Response, Infallible> {
    if !allowed {
        return Ok(Problem::forbidden().render(&RequestId::fresh().0));
    }
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(Caller::Local(peer.clone()));
    request.extensions_mut().insert(peer);
    request.extensions_mut().insert(stop);
    TowerToHyperService::new(router).call(request).await
}
