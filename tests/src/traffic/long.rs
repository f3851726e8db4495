//! What lasts: streams, uploads and WebSockets, each made anew when it has ended.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::request::upload;
use super::{Closed, Plan, Shared, connect, now_ms};
use crate::host::Host;
use crate::http::Client;
use crate::poll::pace_until;
use crate::websocket::WebSocket;

/// Between two frames of a WebSocket.
const BEAT: Duration = Duration::from_millis(100);
/// After a failure, and after a WebSocket was closed.
const PAUSE: Duration = Duration::from_millis(100);

/// What lasts: one after the other, each to its end.
type Work = fn(&Shared, &str);

/// Begins all.
pub(super) fn start(host: &Host, plan: &Plan, shared: &Arc<Shared>) -> Vec<JoinHandle<()>> {
    let kinds: [(usize, Work); 3] =
        [(plan.streams, streams), (plan.sockets, sockets), (plan.uploads, uploads)];
    let mut threads = Vec::new();
    for (count, work) in kinds {
        for n in 0..count {
            let (shared, name) = (shared.clone(), plan.names[n % plan.names.len()].clone());
            threads.push(host.inside(move || {
                while !shared.is_over() {
                    work(&shared, &name);
                }
            }));
        }
    }
    threads
}

fn streams(shared: &Shared, name: &str) {
    let began_ms = now_ms();
    let whole = || -> io::Result<()> {
        let answer = Client::new(connect()?).get(name, "/stream")?;
        let right: String = (0..10).map(|n| format!("tick {n}\n")).collect();
        match answer.status == 200 && answer.text() == right {
            true => Ok(()),
            false => Err(io::Error::other(format!("{} {:?}", answer.status, answer.text()))),
        }
    };
    match whole() {
        Ok(()) => shared.note(|met| met.streams += 1),
        Err(error) => {
            shared.failed(began_ms, &format!("stream of {name}"), &error);
            pace_until(Instant::now() + PAUSE);
        }
    }
}

fn uploads(shared: &Shared, name: &str) {
    let began_ms = now_ms();
    if let Err(error) = upload(shared, name) {
        shared.failed(began_ms, &format!("upload to {name}"), &error);
        pace_until(Instant::now() + PAUSE);
    }
}

fn sockets(shared: &Shared, name: &str) {
    let began_ms = now_ms();
    let opened = connect().and_then(|stream| WebSocket::open(stream, name));
    let mut socket = match opened {
        Ok(socket) => socket,
        Err(error) => {
            shared.failed(began_ms, &format!("handshake of {name}"), &error);
            return pace_until(Instant::now() + PAUSE);
        }
    };
    let instance = socket.opened.header("x-instance").unwrap_or_default().to_owned();
    for n in 0_u64.. {
        if shared.is_over() {
            return;
        }
        match socket.echo(&format!("frame {n}")) {
            Ok(true) => shared.note(|met| met.frames += 1),
            Ok(false) => {
                let closed = Closed { name: name.to_owned(), instance, at_ms: now_ms() };
                shared.note(|met| met.closed.push(closed));
                return pace_until(Instant::now() + PAUSE);
            }
            Err(error) => {
                shared.failed(began_ms, &format!("WebSocket of {name}"), &error);
                return pace_until(Instant::now() + PAUSE);
            }
        }
        pace_until(Instant::now() + BEAT);
    }
}
