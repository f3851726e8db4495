//! `network = "private"`: any port, nobody else's, and no way out.

use std::time::Duration;

use tenement_tests::{Host, until};

const CONFIG: &str = r#"
[process.npriv]
command = "/srv/apps/hello-static --port 3000 --id {id}"
network = "private"
port = 3000
idle_timeout = 0
stop_timeout = 2

[process.nfd]
command = "/srv/apps/hello-static"
network = "private"
idle_timeout = 0

[process.nsock]
command = "/srv/apps/hello-static --socket {socket}"
network = "private"
idle_timeout = 0

[process.nlook]
command = "python3 /srv/apps/look.py"
network = "private"
port = 3001
idle_timeout = 0
"#;

/// An app on `[::1]` that says what it can reach.
const LOOK: &str = r#"
import http.server, os, socket, urllib.request
def tried(where, port):
    try:
        return urllib.request.urlopen(f"http://{where}:{port}/", timeout=2).read().decode()
    except OSError as error:
        return f"no: {error}"
class Look(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        names = ",".join(name for _, name in socket.if_nameindex())
        lines = [f"interfaces {names}", f"pid {os.getpid()}",
                 "proxy " + tried("127.0.0.1", 8080), "other " + tried("127.0.0.1", 3000),
                 "out " + tried("192.0.2.1", 80)]
        body = "\n".join(lines).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer.address_family = socket.AF_INET6
http.server.ThreadingHTTPServer(("::1", 3001), Look).serve_forever()
"#;

fn host() -> &'static Host {
    let host = Host::the();
    if host.try_run("test -e /etc/tenement/conf.d/network.toml").code != 0 {
        host.write("/srv/apps/look.py", LOOK);
        host.configure("network.toml", CONFIG);
        host.run("ten spawn npriv:a npriv:b nfd:a nsock:a nlook:a");
    }
    host
}

fn processes(host: &Host, unit: &str) -> usize {
    let script =
        format!("cat /sys/fs/cgroup/$(systemctl show -P ControlGroup {unit})/cgroup.procs");
    host.run(&script).out.lines().count()
}

fn relay_rss_kb(host: &Host, unit: &str) -> u64 {
    let script = format!(
        "for p in $(cat /sys/fs/cgroup/$(systemctl show -P ControlGroup {unit})/cgroup.procs); do \
           tr '\\0' ' ' </proc/$p/cmdline | grep -q '^/usr/libexec/tenement/tenement-relay' && \
           sed -n 's/^VmRSS:[^0-9]*\\([0-9]*\\) kB/\\1/p' /proc/$p/status; done; true"
    );
    host.run(&script).out.trim().parse().expect("one relay")
}

#[test]
fn two_instances_listen_on_the_same_port_and_each_answers_by_its_own_name() {
    let host = host();
    for _ in 0..3 {
        for id in ["a", "b"] {
            let answer = host.get(&format!("{id}.npriv.localhost"), "/").text();
            assert!(answer.starts_with(&format!("hello from {id},")), "{id}: {answer}");
        }
    }
    for name in ["nfd", "nsock"] {
        assert_eq!(host.get(&format!("a.{name}.localhost"), "/").status, 200, "{name}");
    }
    assert!(host.run("ten show npriv:a").out.contains("/run/tenement/npriv/a.sock"));
}

#[test]
fn big_bodies_go_both_ways() {
    let mut client = host().client();
    let body: Vec<u8> = (0..32_u32 << 20).map(|i| (i % 251) as u8).collect();
    let sunk = client.post("a.npriv.localhost", "/sink", &body).expect("an answer");
    assert_eq!(sunk.text().trim(), body.len().to_string());
    let sent = client.get("a.npriv.localhost", "/bytes/67108864").expect("an answer");
    assert_eq!(sent.body.len(), 64 << 20);
    let echoed = client.post("a.npriv.localhost", "/echo", &body[..8 << 20]).expect("an answer");
    assert!(echoed.body == body[..8 << 20], "the echo differs");
}

#[test]
fn upgrades_and_events_come_through_the_relay_as_they_are_sent() {
    let mut client = host().client();
    let upgrade = "GET /upgrade HTTP/1.1\r\nHost: a.npriv.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    client.send(upgrade.as_bytes()).expect("sent");
    assert_eq!(client.head().expect("a head").status, 101);
    client.send(b"\x00\xffping").expect("sent");
    let mut echoed = Vec::new();
    while echoed.len() < 6 {
        echoed.extend(client.some().expect("echoed"));
    }
    assert_eq!(echoed, b"\x00\xffping");
    let mut client = host().client();
    client.send(b"GET /sse/3/200 HTTP/1.1\r\nHost: a.npriv.localhost\r\n\r\n").expect("sent");
    assert_eq!(client.head().expect("a head").status, 200);
    for _ in 0..3 {
        let event = client.chunk().expect("the stream goes on").expect("an event");
        assert_eq!(String::from_utf8_lossy(&event).matches("data:").count(), 1);
    }
}

#[test]
fn neither_the_host_nor_another_instance_is_within_reach_and_neither_reaches_in() {
    let host = host();
    assert_eq!(host.get("a.npriv.localhost", "/").status, 200);
    let seen = host.get("a.nlook.localhost", "/").text();
    assert!(seen.contains("interfaces lo\n"), "{seen}");
    for what in ["proxy no:", "other no:", "out no:"] {
        assert!(seen.contains(what), "{seen}");
    }
    let inside =
        host.try_run("curl -sS -m 3 http://127.0.0.1:3000/ || curl -sS -m 3 'http://[::1]:3001/'");
    assert_ne!(inside.code, 0, "the host reaches a private port: {inside:?}");
}

#[test]
fn a_hundred_naps_cost_no_request_and_a_daemon_reload_changes_nothing() {
    let host = host();
    for round in 0..100 {
        if round == 50 {
            host.run("systemctl daemon-reload");
        }
        if round % 10 == 0 {
            host.run("ten sleep --force npriv:a");
        } else {
            host.run("systemctl stop ten-npriv@a.service");
        }
        let answer = host.get("a.npriv.localhost", "/");
        assert_eq!(answer.status, 200, "round {round}: {}", answer.text());
    }
    let shown = host.run("systemctl show -p PrivateNetwork,ActiveState ten-npriv@a.service").out;
    assert!(
        shown.contains("PrivateNetwork=yes") && shown.contains("ActiveState=active"),
        "{shown}"
    );
    // The unit is one app and one relay, whatever came before.
    assert_eq!(processes(host, "ten-npriv@a.service"), 2);
}

#[test]
fn a_relay_costs_at_most_two_megabytes_and_a_private_wake_is_measured_beside_a_plain_one() {
    let host = host();
    assert_eq!(host.get("a.npriv.localhost", "/").status, 200);
    let rss = relay_rss_kb(host, "ten-npriv@a.service");
    assert!(rss <= 2_048, "the relay has {rss} kB");
    let wake = |name: &str| {
        let mut all: Vec<f64> = (0..15)
            .map(|_| {
                host.run(&format!("ten sleep --force {name}:a"));
                let (answer, took) =
                    Host::timed(|| host.get(&format!("a.{name}.localhost"), "/").status);
                assert_eq!(answer, 200);
                took.as_secs_f64() * 1_000.0
            })
            .collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let (fd, port) = (wake("nfd"), wake("npriv"));
    println!(
        "wake in a private network: {fd:.1} ms by fd, {port:.1} ms through the relay; relay {rss} kB"
    );
}

#[test]
fn an_app_that_ends_takes_its_relay_along_and_the_next_request_starts_both() {
    let host = host();
    let _ = host.client().get("b.npriv.localhost", "/exit/0");
    until("the unit is down or another one is up", Duration::from_secs(10), || {
        let answer = host.get("b.npriv.localhost", "/");
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    });
    assert_eq!(processes(host, "ten-npriv@b.service"), 2, "one app and one relay");
}

#[test]
fn an_open_way_out_that_cannot_be_had_is_refused_with_the_reason() {
    let text = "[process.x]\ncommand = \"true\"\nnetwork = \"private\"\noutbound = \"passt\"\n";
    host().write("/root/passt.toml", text);
    let checked = host().try_run("ten config check /root/passt.toml");
    assert_ne!(checked.code, 0);
    assert!(checked.out.contains("passt") || checked.err.contains("passt"), "{checked:?}");
}
