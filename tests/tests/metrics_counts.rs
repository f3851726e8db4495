//! Metrics on a host: what clients and instances do wrong, and what a nap leaves behind.

use std::time::Duration;

use tenement_tests::{Host, until};

const BOUND: Duration = Duration::from_secs(120);

const CONFIG: &str = r#"
[process.metnap2]
command = "/srv/apps/hello-static"
idle_timeout = "1s"
park = 0

[process.mettry]
command = "python3 /srv/apps/mettry.py {port}"
idle_timeout = "10m"

[process.metbad]
command = "/bin/sh -c 'exit 3'"
idle_timeout = "10m"
restart = "no"
"#;

/// Answers, and hangs where it is asked to.
const TRY: &str = r#"
import http.server, sys, threading

class Try(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/hang":
            threading.Event().wait()
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"ok\n")

    def log_message(self, *args):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Try).serve_forever()
"#;

fn host() -> &'static Host {
    let host = Host::the();
    if host.try_run("test -e /etc/tenement/conf.d/metrics-counts.toml").code != 0 {
        host.write("/srv/apps/mettry.py", TRY);
        host.configure("metrics-counts.toml", CONFIG);
    }
    host
}

fn scrape(host: &Host) -> String {
    host.run("curl -sSf --unix-socket /run/tenement/admin.sock http://x/metrics").out
}

fn ask(host: &Host, instance: &str) {
    let (process, id) = instance.split_once(':').unwrap();
    assert_eq!(host.get(&format!("{id}.{process}.localhost"), "/").status, 200);
}

/// The value of one series of a scrape.
fn value(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(series))?;
    line.trim().parse().ok()
}

/// Waits until a series is as it should be.
fn until_value(host: &Host, series: &str, good: impl Fn(Option<f64>) -> bool) {
    until(series, BOUND, || {
        let now = value(&scrape(host), series);
        if good(now) { Ok(()) } else { Err(now) }
    });
}

#[test]
fn what_clients_and_instances_do_wrong_is_in_the_series() {
    let host = host();
    host.run("ten spawn mettry:a metbad:a --no-start");
    ask(host, "mettry:a");
    let of = |process: &str| format!("{{process=\"{process}\",id=\"a\"}}");
    let (tried, bad) = (of("mettry"), of("metbad"));
    let in_flight = format!("tenement_instance_requests_in_flight{tried}");
    until_value(host, &in_flight, |open| open == Some(0.0));
    let text = scrape(host);
    let sleeps = value(&text, &format!("tenement_instance_sleep_timestamp_seconds{tried}"));
    let now: f64 = host.run("date +%s").out.trim().parse().unwrap();
    let left = sleeps.expect("it is idle") - now;
    assert!((500.0..=601.0).contains(&left), "it sleeps in {left} s");
    let curl = "curl -sS -m 5 -H 'Host: a.mettry.localhost' http://127.0.0.1:8080/hang";
    host.run(&format!("nohup {curl} >/dev/null 2>&1 &"));
    until_value(host, &in_flight, |open| open == Some(1.0));
    until_value(host, &format!("tenement_requests_gone_total{tried}"), |gone| gone == Some(1.0));
    host.run("systemctl kill --signal=KILL ten-mettry@a.service");
    until_value(host, &format!("tenement_instance_restarts_total{tried}"), |n| n >= Some(1.0));

    let failed = || {
        let text = scrape(host);
        let of = |tier| format!("tenement_wakes_total{{tier=\"{tier}\",outcome=\"failed\"}}");
        value(&text, &of("stopped")).unwrap() + value(&text, &of("dormant")).unwrap()
    };
    let before = failed();
    assert_eq!(host.get("a.metbad.localhost", "/").status, 503);
    assert_eq!(failed(), before + 1.0, "where the connection is the wake as well");
    until_value(host, &format!("tenement_instance_failed{bad}"), |failed| failed == Some(1.0));
    host.run("ten rm --yes mettry:a metbad:a");
}

#[test]
fn a_nap_leaves_its_cpu_time_and_the_time_of_its_wake_behind() {
    let host = host();
    host.run("ten spawn metnap2:a --no-start");
    ask(host, "metnap2:a");
    host.until_asleep("metnap2:a");
    let took = "tenement_wake_duration_seconds_count{tier=\"stopped\"}";
    let before = value(&scrape(host), took).unwrap();
    ask(host, "metnap2:a");
    host.until_asleep("metnap2:a");
    let text = scrape(host);
    assert!(value(&text, took) >= Some(before + 1.0), "{text}");
    let cpu = "tenement_instance_cpu_seconds_total{process=\"metnap2\",id=\"a\"}";
    assert!(value(&text, cpu) > Some(0.0), "{text}");
    assert!(!text.contains("tenement_instance_memory_bytes{process=\"metnap2\""), "{text}");
    host.run("ten rm --yes metnap2:a");
}
