//! Steady load on a host, and what became of each request.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::host::{Host, PORT};
use crate::http::{Client, Response};
use crate::poll::pace_until;

/// Clients side by side; each keeps its own pace, so that one that waits slows no other.
const CLIENTS: u32 = 16;
/// No answer takes longer than this.
const BOUND: Duration = Duration::from_secs(30);

/// A request without a whole answer of 200.
#[derive(Debug, Clone)]
pub struct Failure {
    /// When it was begun, before its connection was made if it needed a new one.
    pub begun: Instant,
    /// When it failed.
    pub ended: Instant,
    /// How.
    pub how: String,
}

impl Failure {
    /// Whether it was under way at one of these moments, each given as a span.
    #[must_use]
    pub fn during(&self, moments: &[(Instant, Instant)]) -> bool {
        moments.iter().any(|(from, to)| self.begun <= *to && self.ended >= *from)
    }
}

/// What the load met.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Requests answered with 200.
    pub answered: u64,
    /// Connections that were refused.
    pub refused: u64,
    /// All other requests.
    pub failures: Vec<Failure>,
    /// The longest time from the begin of a request to its answer.
    pub slowest: Duration,
    /// How long the load lasted.
    pub lasted: Duration,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    answered: AtomicU64,
    refused: AtomicU64,
    rest: Mutex<(Vec<Failure>, Duration)>,
}

/// Load that goes on until [`Load::stop`].
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
    begun: Instant,
}

impl Load {
    /// Sends `rate` requests a second to the hosts named `domains` in turn. Half of the clients keep
    /// their connection as long as it lasts, half make one for each request.
    #[must_use]
    pub fn start(host: &Host, domains: &[String], rate: u32) -> Self {
        let shared = Arc::new(Shared::default());
        let pace = Duration::from_secs(1) * CLIENTS / rate;
        let one = |n: u32| {
            let (shared, domains) = (shared.clone(), domains.to_vec());
            host.inside(move || one_client(&shared, &domains, n, pace))
        };
        let clients = (0..CLIENTS).map(one).collect();
        Self { shared, clients, begun: Instant::now() }
    }

    /// How many requests were answered so far.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Ends it.
    ///
    /// # Panics
    /// When a client did.
    #[must_use]
    pub fn stop(self) -> Outcome {
        self.shared.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().expect("no client panics");
        }
        let rest = self.shared.rest.lock().unwrap_or_else(PoisonError::into_inner);
        Outcome {
            answered: self.shared.answered.load(Ordering::Relaxed),
            refused: self.shared.refused.load(Ordering::Relaxed),
            failures: rest.0.clone(),
            slowest: rest.1,
            lasted: self.begun.elapsed(),
        }
    }
}

fn one_client(shared: &Shared, domains: &[String], n: u32, pace: Duration) {
    let keeps = n.is_multiple_of(2);
    let mut due = Instant::now() + pace * n / CLIENTS;
    let mut kept: Option<Client> = None;
    for domain in domains.iter().cycle().skip(n as usize) {
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        pace_until(due);
        // What is overdue is sent at once, but not all that piled up during a long wait.
        due = (due + pace).max(Instant::now().checked_sub(pace * 4).unwrap_or(due));
        let begun = Instant::now();
        let result = request(&mut kept, domain);
        let ended = Instant::now();
        let how = match result {
            Ok(answer) if answer.status == 200 => {
                if !keeps || answer.header("connection") == Some("close") {
                    kept = None;
                }
                shared.answered.fetch_add(1, Ordering::Relaxed);
                let mut rest = shared.rest.lock().unwrap_or_else(PoisonError::into_inner);
                rest.1 = rest.1.max(ended - begun);
                continue;
            }
            Ok(answer) => format!("{domain}: {} {}", answer.status, answer.text()),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                shared.refused.fetch_add(1, Ordering::Relaxed);
                format!("{domain}: {error}")
            }
            Err(error) => format!("{domain}: {error}"),
        };
        kept = None;
        let failure = Failure { begun, ended, how };
        shared.rest.lock().unwrap_or_else(PoisonError::into_inner).0.push(failure);
    }
}

/// One request, on the kept connection if there is one that the server has not closed.
fn request(kept: &mut Option<Client>, domain: &str) -> std::io::Result<Response> {
    if kept.as_mut().is_none_or(|client| !client.is_open()) {
        let stream = TcpStream::connect(("127.0.0.1", PORT))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(BOUND))?;
        *kept = Some(Client::new(stream));
    }
    kept.as_mut().expect("just made").get(domain, "/")
}

/// Clients that come again and again on a kept connection, each with its own rhythm, until the result is called:
/// that ends them and gives how many requests were answered and how many failed. `pause` says how long the client
/// of that number waits after its round of that number.
///
/// # Panics
/// When a connection is refused.
pub fn rhythm(
    host: &Host,
    domain: &str,
    clients: u64,
    pause: fn(round: u64, client: u64) -> Duration,
) -> impl FnOnce() -> (u64, u64) + use<> {
    let shared = Arc::new(Shared::default());
    let failed = Arc::new(AtomicU64::new(0));
    let one = |n: u64| {
        let (shared, failed, domain) = (shared.clone(), failed.clone(), domain.to_owned());
        let mut client = Client::new(host.connect(PORT).expect("accepted"));
        std::thread::spawn(move || {
            for round in 0_u64.. {
                if shared.stop.load(Ordering::Relaxed) {
                    return;
                }
                match client.get(&domain, "/") {
                    Ok(answer) if answer.status == 200 => {
                        shared.answered.fetch_add(1, Ordering::Relaxed);
                    }
                    other => {
                        eprintln!("failed: {other:?}");
                        failed.fetch_add(1, Ordering::Relaxed);
                        return;
                    }
                }
                // Not a wait for anything: the rhythm of the clients is the test.
                std::thread::park_timeout(pause(round, n));
            }
        })
    };
    let threads: Vec<_> = (0..clients).map(one).collect();
    move || {
        shared.stop.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.thread().unpark();
            thread.join().expect("no client panics");
        }
        (shared.answered.load(Ordering::Relaxed), failed.load(Ordering::Relaxed))
    }
}
