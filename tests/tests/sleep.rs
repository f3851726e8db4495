//! Sleep: idle instances stop, instances in use never do, and no request is lost over a stop.

use std::time::{Duration, Instant};

use tenement_tests::load::rhythm;
use tenement_tests::results::Figure;
use tenement_tests::{Host, until};

const CONFIG: &str = r#"
# Stopped and not parked, for these tests look at systemd's units; parking has tests of its own.
[process.sfd]
command = "/srv/apps/hello-static"
idle_timeout = "400ms"
park = 0

[process.sport]
command = "/srv/apps/hello-static --port {port}"
idle_timeout = "400ms"
park = 0

[process.srace]
command = "/srv/apps/hello-static"
idle_timeout = 0

[process.sracesock]
command = "/srv/apps/hello-static --socket {socket}"
idle_timeout = 0
"#;

fn host() -> &'static Host {
    let host = Host::the();
    if host.try_run("test -e /etc/tenement/conf.d/sleep.toml").code != 0 {
        host.configure("sleep.toml", CONFIG);
    }
    host
}

fn spawn(host: &Host, name: &str) {
    if host.try_run(&format!("ten show {name}")).code != 0 {
        host.run(&format!("ten spawn {name}"));
    }
}

#[test]
fn an_idle_instance_sleeps_and_the_next_request_wakes_it_again() {
    let host = host();
    for name in ["sfd:a", "sport:a"] {
        spawn(host, name);
        host.until_asleep(name);
        let unit = format!("ten-{}.service", name.replace(':', "@"));
        assert_ne!(host.try_run(&format!("systemctl is-active {unit}")).code, 0, "{name}");
        let (process, id) = name.split_once(':').expect("process:id");
        assert_eq!(host.get(&format!("{id}.{process}.localhost"), "/").status, 200, "{name}");
        host.until_asleep(name);
    }
}

#[test]
fn an_open_stream_keeps_its_instance_awake_beyond_its_idle_timeout() {
    let host = host();
    spawn(host, "sfd:stream");
    let mut client = host.client();
    client.send(b"GET /sse/600/100 HTTP/1.1\r\nHost: stream.sfd.localhost\r\n\r\n").expect("sent");
    assert_eq!(client.head().expect("a head").status, 200);
    // Three idle timeouts and more pass while only this stream is open.
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(1600) {
        assert!(client.chunk().expect("the stream goes on").is_some());
    }
    assert_eq!(host.state("sfd:stream"), "running");
    drop(client);
    host.until_asleep("sfd:stream");
}

#[test]
fn a_slow_request_keeps_its_instance_awake_beyond_its_idle_timeout() {
    let host = host();
    spawn(host, "sfd:slow");
    let answer = host.get("slow.sfd.localhost", "/slow/1200");
    assert_eq!(answer.status, 200, "{answer:?}");
    host.until_asleep("sfd:slow");
}

#[test]
fn an_instance_in_use_is_not_put_to_sleep_without_force() {
    let host = host();
    spawn(host, "srace:busy");
    let mut client = host.client();
    client.send(b"GET /sse/600/100 HTTP/1.1\r\nHost: busy.srace.localhost\r\n\r\n").expect("sent");
    assert_eq!(client.head().expect("a head").status, 200);
    assert_eq!(host.try_run("ten sleep srace:busy").code, 6);
    let why = host.ten_json("why srace:busy");
    assert!(!why["holds"].as_array().expect("a list").is_empty(), "{why}");
    drop(client);
    until("it is free", Duration::from_secs(5), || {
        let ran = host.try_run("ten sleep srace:busy");
        if ran.code == 0 { Ok(()) } else { Err(ran) }
    });
}

#[test]
fn a_thousand_stops_under_requests_fail_none() {
    let host = host();
    let systemd = host.systemd();
    let mut failed_in_all = 0_u64;
    // A stop by hand may end as "canceled", when a request starts the service again during it.
    let races = [
        ("srace:a", 400, "ten stop srace:a -q", "exit 1"),
        ("sracesock:a", 200, "ten stop sracesock:a -q", "exit 1"),
        ("srace:b", 400, "systemctl stop ten-srace@b.service", "true"),
    ];
    races.iter().for_each(|(name, ..)| spawn(host, name));
    // All three side by side: a stop mostly waits for systemd.
    let loads = races.map(|(name, ..)| {
        let (process, id) = name.split_once(':').expect("process:id");
        rhythm(host, &format!("{id}.{process}.localhost"), 2, |_, _| Duration::from_millis(1))
    });
    let stopping = races.map(|(name, stops, command, tolerate)| {
        // Stops hit it at every point of its life; but each fourth waits until it is up, since one that
        // is stopped faster than systemd can start it answers nobody, however right everything is.
        let unit = format!("ten-{}.service", name.replace(':', "@"));
        let up = format!(
            "[ $((i % 4)) != 0 ] || timeout 20 sh -c 'until systemctl is-active -q {unit}; do sleep 0.02; done'"
        );
        let script = format!("for i in $(seq {stops}); do {up}; {command} || {tolerate}; done");
        (name, stops, std::thread::spawn(move || host.run(&script)))
    });
    for ((name, stops, thread), finish) in stopping.into_iter().zip(loads) {
        thread.join().expect("all stops succeed");
        let (answered, failed) = finish();
        println!("{name}: {stops} stops, {answered} answered, {failed} failed");
        assert!(answered > 100, "{name}: only {answered} were answered");
        failed_in_all += failed;
    }
    let value = failed_in_all as f64;
    Figure { name: "race.stop.failed", value, systemd, ..Figure::default() }.record();
    assert_eq!(failed_in_all, 0);
}
