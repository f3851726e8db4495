//! Cold wake through the agent, beside a bare connect to the same unit's socket.

use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use tenement_tests::host::PORT;
use tenement_tests::results::{Figure, median};
use tenement_tests::{Host, until};

use super::admin::{inside, verb};

/// Rounds of each kind of wake.
const ROUNDS: usize = 31;
/// Instances woken at once.
const BURST: usize = 100;
/// Rounds of the burst.
const BURST_ROUNDS: usize = 5;

/// An app whose wake is measured.
pub struct App {
    /// In the figure's name.
    name: &'static str,
    /// Process in the benchmark's config.
    process: &'static str,
    /// Starts it on its own at a socket.
    alone: fn(&std::path::Path) -> Command,
}

/// The static binary.
pub const STATIC: App = App {
    name: "static",
    process: "bench",
    alone: |socket| {
        let mut command = Command::new(std::env::var_os("TENEMENT_BENCH_HELLO").expect("its path"));
        command.arg("--socket").arg(socket);
        command
    },
};

/// The Python app.
pub const PYTHON: App = App {
    name: "python",
    process: "benchpy",
    alone: |socket| {
        let mut command = Command::new("python3");
        command.arg(std::env::var_os("TENEMENT_BENCH_NOTES").expect("its path"));
        command.env("NOTES_SOCKET", socket).env("DATA_DIR", std::env::temp_dir());
        command
    },
};

pub(super) fn request(mut stream: impl std::io::Read + std::io::Write, host: &str) {
    let text = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).expect("sent");
    let mut first = [0; 64];
    let got = stream.read(&mut first).expect("a first byte");
    assert!(first[..got].starts_with(b"HTTP/1.1 200") || first[..got].starts_with(b"HTTP/1.0 200"));
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
}

pub(super) fn ms(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64() * 1000.0
}

/// Measures one app and gives the median of its wake through the agent, in milliseconds.
pub fn one(host: &Host, systemd: u32, size: usize, app: &App) -> f64 {
    let socket = inside(host, &format!("/run/tenement/{}/i0.sock", app.process));
    let instance = format!("{}:i0", app.process);
    let domain = format!("i0.{}.localhost", app.process);
    let (mut through, mut bare, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    verb(host, &instance, "wake");
    for _ in 0..ROUNDS {
        verb(host, &instance, "stop");
        let (domain2, begin) = (domain.clone(), host.connect(PORT).expect("accepted"));
        through.push({
            let stream = begin;
            let begin = Instant::now();
            request(stream, &domain2);
            ms(begin)
        });
        verb(host, &instance, "stop");
        let begin = Instant::now();
        request(UnixStream::connect(&socket).expect("its socket is loaded"), &domain);
        bare.push(ms(begin));
        if size == 10 {
            alone.push(on_its_own(app));
        }
    }
    verb(host, &instance, "stop");
    let (through, bare) = (median(&through), median(&bare));
    let record = |what: &str, value, unit, peer, ratio| {
        let name = format!("wake.{}.{what}", app.name);
        let name = if size == 10 { name } else { format!("{name}.{size}") };
        Figure { name: &name, value, unit, peer, ratio, systemd }.record();
    };
    record("ms", through, "ms", Some(bare), Some(through / bare));
    record("overhead_ms", through - bare, "ms", Some(bare), Some(through / bare));
    if !alone.is_empty() {
        let alone = median(&alone);
        record("own_start_ms", alone, "ms", None, None);
    }
    through
}

/// How long the app takes from fork to the first byte, without systemd.
pub(super) fn on_its_own(app: &App) -> f64 {
    let socket = std::env::temp_dir().join(format!("tenement-bench-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&socket);
    let begin = Instant::now();
    let child = Ended(quiet((app.alone)(&socket)).spawn().expect("it starts"));
    let stream = loop {
        if let Ok(stream) = UnixStream::connect(&socket) {
            break stream;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "{} does not listen", app.name);
        std::hint::spin_loop();
    };
    request(stream, "localhost");
    let took = ms(begin);
    drop(child);
    took
}

fn quiet(mut command: Command) -> Command {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A child that does not outlive the measurement.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The wake with many registered beside that with few.
pub fn scale_ratio(systemd: u32, size: usize, value: f64, base: f64) {
    let name = format!("wake.static.scale_{size}_ratio");
    let ratio = value / base;
    Figure { name: &name, value: ratio, unit: "", peer: Some(base), ratio: Some(ratio), systemd }
        .record();
}

/// A hundred sleeping instances at once, through the agent and bare.
pub fn burst(host: &Host, systemd: u32) {
    let names: Vec<_> = (0..BURST).map(|n| format!("i{n}")).collect();
    let (mut through, mut bare) = (Vec::new(), Vec::new());
    for id in &names {
        verb(host, &format!("benchburst:{id}"), "wake");
    }
    for _ in 0..BURST_ROUNDS {
        sleep_all(host, &names);
        through.push(at_once(&names, |id| {
            let stream: TcpStream = host.connect(PORT).expect("accepted");
            let domain = format!("{id}.benchburst.localhost");
            Box::new(move || request(stream, &domain))
        }));
        sleep_all(host, &names);
        bare.push(at_once(&names, |id| {
            let path = inside(host, &format!("/run/tenement/benchburst/{id}.sock"));
            Box::new(move || request(UnixStream::connect(path).expect("loaded"), "localhost"))
        }));
    }
    sleep_all(host, &names);
    let (through, bare) = (median(&through), median(&bare));
    let ratio = through / bare;
    Figure {
        name: "wake.burst100.ratio",
        value: ratio,
        unit: "",
        peer: Some(bare),
        ratio: Some(ratio),
        systemd,
    }
    .record();
}

fn sleep_all(host: &Host, names: &[String]) {
    for id in names {
        verb(host, &format!("benchburst:{id}"), "stop");
    }
    until("no instance of the burst runs", Duration::from_secs(30), || {
        let out = host.run("systemctl list-units --state=active,activating,deactivating --no-legend --plain 'ten-benchburst@*.service' | wc -l").out;
        if out.trim() == "0" { Ok(()) } else { Err(out) }
    });
}

/// Milliseconds from the common start to the last answer.
fn at_once(names: &[String], prepare: impl Fn(&str) -> Box<dyn FnOnce() + Send>) -> f64 {
    let barrier = Arc::new(Barrier::new(names.len() + 1));
    let threads: Vec<_> = names
        .iter()
        .map(|id| {
            let (work, barrier) = (prepare(id), barrier.clone());
            std::thread::spawn(move || {
                barrier.wait();
                work();
            })
        })
        .collect();
    barrier.wait();
    let begin = Instant::now();
    for thread in threads {
        thread.join().expect("answered");
    }
    ms(begin)
}
