//! Deployments under load: no request fails while releases come and go, and a broken one is taken back.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tenement_tests::Host;
use tenement_tests::host::{PORT, Ran};
use tenement_tests::http::Client;
use tenement_tests::load::{Load, Outcome};
use tenement_tests::results::Figure;

const CONFIG: &str = r#"
[process.roll]
command = "{release}/server"
listen = "port"
health = "/health"
idle_timeout = 0
startup_timeout = "10s"
stop_timeout = "1s"
[process.roll.deploy]
drain_timeout = "6s"
canary_requests = 20
release_command = ["sh", "{release}/migrate"]

[process.color]
command = "{release}/server"
listen = "port"
health = "/health"
idle_timeout = 0
startup_timeout = "10s"
stop_timeout = "1s"
[process.color.deploy]
drain_timeout = "6s"
"#;

/// Serves with keep-alive, a stream of five seconds at `/stream`, and an echo behind `Upgrade`.
const SERVER: &str = r#"#!/usr/bin/python3
import http.server, os, sys, time
home = os.path.dirname(os.path.abspath(__file__))
kind = open(home + "/kind").read().strip()
if kind == "crashes":
    print("this release is broken", flush=True)
    sys.exit(3)
count = 0
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_):
        pass
    def do_GET(self):
        global count
        if self.headers.get("Upgrade"):
            self.close_connection = True
            self.send_response(101)
            self.send_header("Connection", "Upgrade")
            self.send_header("Upgrade", self.headers["Upgrade"])
            self.end_headers()
            while data := self.connection.recv(1):
                self.connection.sendall(data)
            return
        if self.path == "/stream":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for _ in range(10):
                self.wfile.write(b"4\r\ntick\r\n")
                self.wfile.flush()
                time.sleep(0.5)
            self.wfile.write(b"0\r\n\r\n")
            return
        status = 200
        if self.path == "/health":
            status = 503 if kind == "sick" else 200
        else:
            count += 1
            if kind == "half" and count % 2 == 0:
                status = 500
        body = os.environ["TENEMENT_RELEASE"].encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True
Server(("127.0.0.1", int(os.environ["PORT"])), Answer).serve_forever()
"#;

const APP: &str = "/srv/roll";

fn host() -> &'static Host {
    let host = Host::the();
    if host.try_run("test -e /etc/tenement/conf.d/deploys.toml").code != 0 {
        host.write(&format!("{APP}/server"), SERVER);
        host.write(&format!("{APP}/migrate"), "echo \"$TENEMENT_RELEASE\" >> migrated\n");
        host.run(&format!("chmod 755 {APP}/server"));
        host.configure("deploys.toml", CONFIG);
    }
    host
}

fn deploy(host: &Host, process: &str, name: &str, kind: &str, how: &str) -> Ran {
    host.write(&format!("{APP}/kind"), kind);
    host.try_run(&format!("ten --timeout 300 deploy {process} {APP} --release {name} {how}"))
}

fn deployed(host: &Host, process: &str, name: &str, how: &str) {
    let ran = deploy(host, process, name, "good", how);
    assert_eq!(ran.code, 0, "{ran:?}");
}

/// Streams of five seconds, one after the other, and upgraded connections, which are made anew when they are closed.
struct Long {
    stop: Arc<AtomicBool>,
    broken: Arc<AtomicU32>,
    streamed: Arc<AtomicU32>,
    threads: Vec<JoinHandle<()>>,
}

impl Long {
    fn start(host: &Host, domain: &str) -> Self {
        let (stop, broken) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let streamed = Arc::new(AtomicU32::new(0));
        let mut threads = Vec::new();
        for _ in 0..2 {
            let (stop, broken, domain) = (stop.clone(), broken.clone(), domain.to_owned());
            let streamed = streamed.clone();
            threads.push(host.inside(move || {
                while !stop.load(Ordering::Relaxed) {
                    match streams(&domain) {
                        Ok(()) => streamed.fetch_add(1, Ordering::Relaxed),
                        Err(error) => {
                            eprintln!("a stream broke: {error}");
                            broken.fetch_add(1, Ordering::Relaxed)
                        }
                    };
                }
            }));
        }
        let (ended, domain) = (stop.clone(), domain.to_owned());
        threads.push(host.inside(move || {
            while !ended.load(Ordering::Relaxed) {
                // It may be closed after the drain bound; only that it can be had again counts.
                let _ = echoes(&domain, &ended);
            }
        }));
        Self { stop, broken, streamed, threads }
    }

    /// Streams that broke, and those that came whole.
    fn stop(self) -> (u32, u32) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        (self.broken.load(Ordering::Relaxed), self.streamed.load(Ordering::Relaxed))
    }
}

fn connect() -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", PORT))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    Ok(stream)
}

fn streams(domain: &str) -> std::io::Result<()> {
    let answer = Client::new(connect()?).get(domain, "/stream")?;
    match answer.status == 200 && answer.text() == "tick".repeat(10) {
        true => Ok(()),
        false => Err(std::io::Error::other(format!("{} {}", answer.status, answer.text()))),
    }
}

fn echoes(domain: &str, stop: &AtomicBool) -> std::io::Result<()> {
    let mut stream = connect()?;
    write!(
        stream,
        "GET /ws HTTP/1.1\r\nHost: {domain}\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
    )?;
    let mut byte = [0];
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    while !stop.load(Ordering::Relaxed) {
        stream.write_all(b"x")?;
        stream.read_exact(&mut byte)?;
        tenement_tests::poll::pace_until(Instant::now() + Duration::from_millis(50));
    }
    Ok(())
}

fn under_load(host: &Host, domain: &str, rate: u32, work: impl FnOnce()) -> Outcome {
    let load = Load::start(host, &[domain.to_owned()], rate);
    let long = Long::start(host, domain);
    work();
    let (broken, streamed) = long.stop();
    let outcome = load.stop();
    eprintln!(
        "{domain}: {} requests in {:.0?}, {} failed, slowest {:.1?}; {streamed} streams, {broken} broken",
        outcome.answered,
        outcome.lasted,
        outcome.failures.len(),
        outcome.slowest
    );
    let failed = outcome.failures.len() as f64 + f64::from(broken);
    Figure { name: "deploy.failed", value: failed, systemd: host.systemd(), ..Figure::default() }
        .record();
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
    assert_eq!(broken, 0, "streams broke");
    assert!(outcome.answered > 0 && streamed > 0);
    outcome
}

#[test]
fn a1_in_place_no_request_fails_through_consecutive_deployments() {
    let host = host();
    deployed(host, "roll", "v0", "");
    host.run("ten spawn roll:a roll:b");
    under_load(host, "a.roll.localhost", 40, || {
        (1..=3).for_each(|n| deployed(host, "roll", &format!("v{n}"), "--now"));
    });
    assert_eq!(host.get("a.roll.localhost", "/").text(), "v3");
    // One after the other, and for the name that both share a third waits for nobody.
    under_load(host, "roll.localhost", 40, || deployed(host, "roll", "v4", "--now"));
    let migrated = host.run("cat /var/lib/tenement/roll/a/migrated").out;
    assert_eq!(migrated.split_whitespace().collect::<Vec<_>>(), ["v0", "v1", "v2", "v3", "v4"]);
}

#[test]
fn a2_a_release_that_does_not_start_is_taken_back_and_nobody_notices() {
    let host = host();
    for (name, kind) in [("bad1", "crashes"), ("bad2", "sick")] {
        under_load(host, "a.roll.localhost", 20, || {
            let ran = deploy(host, "roll", name, kind, "--now");
            assert_eq!(ran.code, 1, "{ran:?}");
            assert!(ran.err.contains("rolled-back"), "{ran:?}");
            assert!(kind != "crashes" || ran.err.contains("this release is broken"), "{ran:?}");
        });
        assert_eq!(host.get("a.roll.localhost", "/").text(), "v4", "{kind}");
        assert_eq!(host.get("b.roll.localhost", "/").text(), "v4", "{kind}");
    }
}

#[test]
fn a3_the_request_that_finds_a_lazy_release_broken_is_served_by_the_one_before() {
    let host = host();
    let ran = deploy(host, "roll", "bad3", "crashes", "");
    assert_eq!(ran.code, 0, "{ran:?}");
    host.run("ten stop roll:a");
    let answer = host.get("a.roll.localhost", "/");
    assert_eq!((answer.status, answer.text().as_str()), (200, "v4"));
    let list = host.ten_json("deploys roll");
    assert_eq!(list["deploys"][0]["release"], "bad3");
    assert_eq!(host.ten_json("releases show roll v4")["current"], true);
}

#[test]
fn b1_blue_and_green_swap_under_load() {
    let host = host();
    deployed(host, "color", "g0", "--version g0");
    host.run("ten route color --to g0");
    under_load(host, "color.localhost", 40, || {
        for n in 1..=3 {
            deployed(host, "color", &format!("g{n}"), &format!("--version g{n}"));
            host.run(&format!("ten route color --from g{} --to g{n}", n - 1));
            assert_eq!(host.get("color.localhost", "/").text(), format!("g{n}"));
        }
    });
    let ran = deploy(host, "color", "g9", "sick", "--version g9");
    assert_eq!(ran.code, 1, "{ran:?}");
    let ran = host.try_run("ten route color --from g3 --to g9");
    assert_eq!(ran.code, 6, "{ran:?}");
    assert_eq!(host.get("color.localhost", "/").text(), "g3");
}

#[test]
fn b2_a_canary_goes_all_the_way_or_back_at_once() {
    let host = host();
    under_load(host, "color.localhost", 60, || {
        deployed(host, "color", "c1", "--version c1 --canary 25,50,100 --step 2s");
        assert_eq!(host.get("color.localhost", "/").text(), "c1");
    });
    let load = Load::start(host, &["color.localhost".to_owned()], 60);
    let ran = deploy(host, "color", "c2", "half", "--version c2 --canary 20,100 --step 10m");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("% errors") && ran.err.contains("the others"), "{ran:?}");
    drop(load.stop());
    for _ in 0..20 {
        assert_eq!(host.get("color.localhost", "/").text(), "c1", "it still gets requests");
    }
}

#[test]
fn c1_a_deployment_outlives_an_agent_that_is_killed() {
    let host = host();
    host.run("ten wake roll:a roll:b");
    host.write(&format!("{APP}/kind"), "good");
    host.run(&format!("ten deploy roll {APP} --release k1 --now --detach"));
    host.run("systemctl kill -s KILL tenement.service");
    let over = || -> Result<(), String> {
        let ran = host.try_run("ten --json deploys roll");
        let list: serde_json::Value = serde_json::from_str(&ran.out).map_err(|e| e.to_string())?;
        let last = &list["deploys"][0];
        match last["release"] == "k1" && last["state"] == "succeeded" {
            true => Ok(()),
            false => Err(last["state"].to_string()),
        }
    };
    tenement_tests::until("the new agent is done", Duration::from_secs(60), over);
    assert_eq!(host.get("a.roll.localhost", "/").text(), "k1");
    assert_eq!(host.get("b.roll.localhost", "/").text(), "k1");
}
