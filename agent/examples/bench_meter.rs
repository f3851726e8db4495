//! What counting a request costs, beside the request: `bench_meter [--json FILE]`.
//!
//! The proxy runs in a thread of its own whose CPU time is taken, so that neither client nor backend counts.

use std::fs::OpenOptions;
use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tenement_agent::config::{self, Limits, SourceFile};
use tenement_agent::flows::metrics::Meter;
use tenement_agent::flows::{Instance, Lease, Served, Tenants, WakeError};
use tenement_agent::proxy::{self, Policy, Proxy};
use tenement_agent::routes::Route;
use tenement_agent::upstream::Target;
use tenement_wire::InstanceName;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const RECORDS: u32 = 20_000_000;
const REQUESTS: u32 = 50_000;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a.bench.localhost\r\n\r\n";

/// One instance, that runs.
struct One(Arc<Instance>);

impl Tenants for One {
    fn route(&self, _: &str) -> Route<Arc<Instance>> {
        Route::Instance(self.0.clone())
    }

    async fn spawn(&self, name: &InstanceName) -> Result<Arc<Instance>, WakeError> {
        Err(WakeError::Gone { name: name.clone() })
    }

    async fn ensure(&self, instance: &Arc<Instance>) -> Result<(Lease, Served), WakeError> {
        let gone = || WakeError::Gone { name: instance.name.clone() };
        Ok((Lease::take(instance).ok_or_else(gone)?, Served::Hot))
    }

    async fn suspect(&self, _: &Arc<Instance>) -> Result<Served, WakeError> {
        Ok(Served::Hot)
    }

    fn tripped(&self, _: &Arc<Instance>) {}

    fn woke(&self, _: &Arc<Instance>, _: Duration) {}
}

/// CPU time of this thread, in nanoseconds.
fn cpu_ns() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

/// What the proxy does at the end of an answer, again and again.
fn record_ns() -> f64 {
    let meter = Meter::default();
    let came = tokio::time::Instant::now();
    let before = cpu_ns();
    for n in 0..RECORDS {
        let meter = black_box(&meter);
        meter.answered(black_box(200), black_box(came).elapsed());
        meter.sent(u64::from(black_box(n)));
    }
    (cpu_ns() - before) / f64::from(RECORDS)
}

/// A backend that answers whatever it reads.
fn backend(path: &Path) {
    let listener = UnixListener::bind(path).expect("a free path");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while stream.read(&mut buffer).is_ok_and(|bytes| bytes > 0) {
                    if stream.write_all(ANSWER).is_err() {
                        return;
                    }
                }
            });
        }
    });
}

/// CPU time of the proxy for one small request on a kept connection.
fn request_ns(socket: &Path) -> f64 {
    backend(socket);
    let text = "[process.bench]\ncommand = \"true\"\n".to_owned();
    let file = SourceFile { name: "bench.toml".into(), text };
    let config = config::parse(&[file]).expect("a valid config");
    let definition = config.processes.values().next().expect("one process").clone();
    let name = "bench:a".parse().expect("a valid name");
    let instance = Arc::new(Instance::at(name, definition, Target::Unix(socket.into())));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    listener.set_nonblocking(true).expect("a socket");
    let (ask, asked) = std::sync::mpsc::channel::<std::sync::mpsc::Sender<f64>>();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async move {
            let policy = Policy {
                limits: Limits::default(),
                trusted_proxies: Vec::new(),
                proxy_protocol: Vec::new(),
                drain_timeout: Duration::from_secs(1),
                secure: Default::default(),
            };
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            let proxy = Arc::new(Proxy::new(Arc::new(One(instance)), policy));
            tokio::spawn(proxy::serve(vec![listener], proxy, std::future::pending()));
            // Looked at now and then from within the thread, whose clock it is.
            loop {
                tokio::time::sleep(Duration::from_millis(20)).await;
                if let Ok(answer) = asked.try_recv() {
                    let _ = answer.send(cpu_ns());
                }
            }
        });
    });
    let now = || {
        let (answer, told) = std::sync::mpsc::channel();
        ask.send(answer).expect("the proxy lives");
        told.recv().expect("the proxy lives")
    };
    let mut client = TcpStream::connect(address).expect("the proxy listens");
    let _ = client.set_nodelay(true);
    let mut exchange = |count: u32| {
        let mut buffer = [0; 4096];
        for _ in 0..count {
            client.write_all(REQUEST).expect("the proxy reads");
            let mut read = 0;
            while !buffer[..read].ends_with(b"\r\n\r\nok") {
                let more = client.read(&mut buffer[read..]).expect("an answer");
                assert!(more > 0, "the proxy hung up");
                read += more;
            }
        }
    };
    exchange(REQUESTS / 10);
    let before = now();
    exchange(REQUESTS);
    (now() - before) / f64::from(REQUESTS)
}

fn main() {
    let mut args = std::env::args().skip_while(|arg| arg != "--json").skip(1);
    let json = args.next();
    let socket = std::env::temp_dir().join(format!("bench-meter-{}.sock", std::process::id()));
    let middle = |of: &mut dyn FnMut() -> f64| {
        let mut values: Vec<f64> = (0..5).map(|_| of()).collect();
        values.sort_by(f64::total_cmp);
        values[2]
    };
    let record = middle(&mut record_ns);
    let request = middle(&mut || {
        let _ = std::fs::remove_file(&socket);
        request_ns(&socket)
    });
    let _ = std::fs::remove_file(&socket);
    let figures = [
        ("metrics.overhead.record_ns", record, "ns", None),
        ("metrics.overhead.pct", 100.0 * record / request, "%", Some(request)),
    ];
    for (name, value, unit, peer) in figures {
        println!("{name:<36} {value:>12.3} {unit:<8} peer {peer:?}");
        let Some(path) = &json else { continue };
        let row = serde_json::json!({"name": name, "value": value, "unit": unit, "peer": peer,
            "ratio": null, "systemd": 0});
        let file = OpenOptions::new().create(true).append(true).open(path);
        writeln!(file.expect("results can be opened"), "{row}").expect("they can be written");
    }
}
