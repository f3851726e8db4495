//! Clients at a fixed rate: as many as are needed to send each request when it is due.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::request::{Kind, request};
use super::{Answered, Plan, Shared, now_ms};
use crate::host::Host;
use crate::http::Client;
use crate::poll::pace_until;

/// More clients than this would be a server that does not answer at all.
const CLIENTS_MAX: usize = 1_500;

/// One request that is due.
struct Due {
    at: Instant,
    ms: u64,
    kind: Kind,
    name: usize,
}

/// Clients that have nothing to do, the last used on top: a few of them do all the work while the server is quick.
type Idle = Arc<Mutex<Vec<Sender<Due>>>>;

/// Sends requests until the end of the traffic, and ends when the last of them has its answer.
pub(super) fn start(host: &Host, plan: &Plan, shared: &Arc<Shared>) -> JoinHandle<()> {
    let (host, plan, shared) = (host.clone(), plan.clone(), shared.clone());
    std::thread::spawn(move || {
        let idle = Idle::default();
        let names: Arc<[String]> = plan.names.into();
        let pace = Duration::from_secs(1) / plan.rate;
        let (mut clients, mut at) = (Vec::new(), Instant::now());
        for n in 0_usize.. {
            if shared.is_over() {
                break;
            }
            at += pace;
            pace_until(at);
            let (name, kind) = (n % names.len(), Kind::nth(n / names.len()));
            let due = Due { at, ms: now_ms(), kind, name };
            let free = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let client = free.unwrap_or_else(|| {
                assert!(clients.len() < CLIENTS_MAX, "requests pile up");
                let (give, take) = channel();
                let (shared, idle) = (shared.clone(), idle.clone());
                let (back, names) = (give.clone(), names.clone());
                clients.push(host.inside(move || one_client(&shared, &names, &take, &back, &idle)));
                give
            });
            // Refused only by a client that has seen the end of the traffic.
            let _ = client.send(due);
        }
        let count = clients.len();
        println!("{count} clients were needed");
        for client in clients {
            client.join().expect("no client panics");
        }
    })
}

fn one_client(
    shared: &Shared,
    names: &[String],
    take: &Receiver<Due>,
    back: &Sender<Due>,
    idle: &Idle,
) {
    let mut kept: Option<Client> = None;
    loop {
        // One that is idle at the end is never given anything more.
        let due = match take.recv_timeout(Duration::from_millis(200)) {
            Ok(due) => due,
            Err(_) if shared.is_over() => return,
            Err(_) => continue,
        };
        let name = &names[due.name];
        match request(shared, &mut kept, name, due.kind) {
            Ok(release) => {
                let took_ms = due.at.elapsed().as_secs_f64() * 1000.0;
                let (due_ms, ended_ms) = (due.ms, now_ms());
                let release = release.into();
                let one = Answered { due_ms, ended_ms, took_ms, name: due.name, release };
                shared.note(|met| met.answered.push(one));
            }
            Err(error) => {
                kept = None;
                shared.failed(due.ms, &format!("{:?} {name}", due.kind), &error);
            }
        }
        idle.lock().unwrap_or_else(PoisonError::into_inner).push(back.clone());
    }
}
