//! Wake from parked, beside the wake from stopped and the app's plain fork and exec in the same rounds.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use tenement_tests::host::PORT;
use tenement_tests::results::{Figure, median};
use tenement_tests::{Host, until};

use super::admin::{inside, verb};
use super::wake::{Ended, STATIC, at_once, ms, on_its_own, quiet, request};

/// Rounds of single wakes.
const ROUNDS: usize = 31;
/// Instances woken at once.
const BURST: usize = 100;
/// Rounds of the burst.
const BURST_ROUNDS: usize = 5;

/// All figures of parking.
pub fn all(host: &Host, systemd: u32) {
    let ids = (0..BURST).map(|n| format!("\"p{n}\"")).collect::<Vec<_>>().join(", ");
    host.configure(
        "benchpark.toml",
        &format!(
            "[process.benchpark]\ncommand = \"/srv/apps/hello-static\"\nidle_timeout = \"1h\"\n\
             park = {BURST}\n[instances]\nbenchpark = [{ids}]\n"
        ),
    );
    single(host, systemd);
    burst(host, systemd);
}

fn single(host: &Host, systemd: u32) {
    let (name, domain) = ("benchpark:p0", "p0.benchpark.localhost");
    let (mut parked, mut stopped, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    verb(host, name, "wake");
    for _ in 0..ROUNDS {
        until_tier(host, &["p0".to_owned()], "running");
        verb(host, name, "sleep");
        until_tier(host, &["p0".to_owned()], "parked");
        parked.push(through(host, domain));
        verb(host, name, "stop");
        stopped.push(through(host, domain));
        alone.push(on_its_own(&STATIC));
    }
    verb(host, name, "stop");
    let (parked, stopped, alone) = (median(&parked), median(&stopped), median(&alone));
    let ratio = Some(parked / alone);
    let figure = |name, value, unit, peer, ratio| {
        Figure { name, value, unit, peer: Some(peer), ratio, systemd }.record();
    };
    figure("wake.parked.ms", parked, "ms", alone, ratio);
    figure("wake.parked.overhead_ms", parked - alone, "ms", alone, ratio);
    figure("wake.parked.vs_stopped_ratio", parked / stopped, "", stopped, Some(parked / stopped));
}

/// Milliseconds from the request, on a connection that the proxy has accepted, to its answer.
fn through(host: &Host, domain: &str) -> f64 {
    let stream = host.connect(PORT).expect("accepted");
    let begin = Instant::now();
    request(stream, domain);
    ms(begin)
}

fn burst(host: &Host, systemd: u32) {
    let ids: Vec<_> = (0..BURST).map(|n| format!("p{n}")).collect();
    let (mut parked, mut alone) = (Vec::new(), Vec::new());
    for id in &ids {
        verb(host, &format!("benchpark:{id}"), "wake");
    }
    for _ in 0..BURST_ROUNDS {
        until_tier(host, &ids, "running");
        for id in &ids {
            verb(host, &format!("benchpark:{id}"), "sleep");
        }
        until_tier(host, &ids, "parked");
        parked.push(at_once(&ids, |id| {
            let stream = host.connect(PORT).expect("accepted");
            let domain = format!("{id}.benchpark.localhost");
            Box::new(move || request(stream, &domain))
        }));
        alone.push(forks(&ids));
    }
    for id in &ids {
        verb(host, &format!("benchpark:{id}"), "stop");
    }
    let (value, peer) = (median(&parked), median(&alone));
    let ratio = value / peer;
    let figure = Figure { peer: Some(peer), ratio: Some(ratio), systemd, ..Figure::default() };
    Figure { name: "wake.parked.burst100.ms", value, unit: "ms", ..figure.clone() }.record();
    Figure { name: "wake.parked.burst100.ratio", value: ratio, ..figure }.record();
}

/// Milliseconds until as many apps as `ids` have answered that were forked and executed at once, each
/// with a socket of its own.
fn forks(ids: &[String]) -> f64 {
    let dir = std::env::temp_dir().join(format!("tenement-bench-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir(&dir).expect("a directory");
    let begin = Instant::now();
    let mut waiting: Vec<_> = ids
        .iter()
        .map(|id| {
            let socket = dir.join(id);
            let mut command = quiet(STATIC.alone(&socket));
            let child = Ended(command.spawn().expect("it starts"));
            (socket, child)
        })
        .collect();
    let mut children = Vec::new();
    while !waiting.is_empty() {
        let mut later = Vec::new();
        for (socket, child) in waiting {
            match UnixStream::connect(&socket) {
                Ok(stream) => {
                    request(stream, "localhost");
                    children.push(child);
                }
                Err(_) => later.push((socket, child)),
            }
        }
        waiting = later;
        assert!(begin.elapsed() < Duration::from_secs(20), "{} do not listen", waiting.len());
        // Only where nothing can be asked yet: a busy loop would take a core from the apps.
        if !waiting.is_empty() {
            std::thread::park_timeout(Duration::from_micros(500));
        }
    }
    let took = ms(begin);
    drop(children);
    let _ = std::fs::remove_dir_all(&dir);
    took
}

fn until_tier(host: &Host, ids: &[String], tier: &str) {
    let wanted = format!("\"tier\":\"{tier}\"");
    for id in ids {
        until(&format!("{id} is {tier}"), Duration::from_secs(60), || {
            let view = show(host, &format!("benchpark:{id}"));
            if view.contains(&wanted) { Ok(()) } else { Err(view) }
        });
    }
}

/// GETs an instance's view, as text.
fn show(host: &Host, instance: &str) -> String {
    let mut stream = UnixStream::connect(inside(host, "/run/tenement/admin.sock")).expect("agent");
    let request = format!(
        "GET /api/v1/instances/{instance} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer
}
