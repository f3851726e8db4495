//! Wake: a request starts a sleeping instance, whatever way its app listens.

use std::sync::{Arc, Barrier};
use std::time::Duration;

use tenement_tests::host::PORT;
use tenement_tests::results::Figure;
use tenement_tests::{Client, Host, until};

const CONFIG: &str = r#"
[process.wfd]
command = "/srv/apps/hello-static"
idle_timeout = 0

[process.wsock]
command = "/srv/apps/hello-static --socket {socket}"
idle_timeout = 0

[process.wport]
command = "/srv/apps/hello-static --port {port}"
idle_timeout = 0

[process.wspawn]
command = "/srv/apps/hello-static"
spawn_on_request = true

[process.wnode]
command = "node server.js"
directory = "/srv/apps/node-hello"
health = "http://localhost:{port}/health"

[process.wnotes]
command = "python3 notes.py"
directory = "/srv/apps/notes"

[process.wbad]
command = "/srv/apps/hello-static --port 1 --no-such-flag"
restart = "no"

[process.wloop]
command = "/bin/false"

[process.wdeaf]
command = "/bin/sleep 1000"
listen = "port"
startup_timeout = "1s"
"#;

fn host() -> &'static Host {
    let host = Host::the();
    if host.try_run("test -e /etc/tenement/conf.d/wake.toml").code != 0 {
        host.configure("wake.toml", CONFIG);
    }
    host
}

fn spawn_asleep(host: &Host, name: &str) {
    if host.try_run(&format!("ten show {name}")).code != 0 {
        host.run(&format!("ten spawn {name} --no-start"));
    }
    host.run(&format!("ten stop {name}"));
}

fn wakes_on_request(name: &str) {
    let host = host();
    spawn_asleep(host, name);
    let (process, id) = name.split_once(':').expect("process:id");
    let domain = format!("{id}.{process}.localhost");
    let cold = host.get(&domain, "/");
    assert_eq!(cold.status, 200, "{cold:?}");
    let served = cold.header("x-tenement-wake").expect("says how it was served");
    assert!(served.starts_with("cold;dur="), "{served}");
    until("the next request is served hot", Duration::from_secs(5), || {
        let hot = host.get(&domain, "/");
        if hot.header("x-tenement-wake") == Some("hot") { Ok(()) } else { Err(hot) }
    });
    assert_eq!(host.state(name), "running");
}

#[test]
fn a_request_wakes_an_instance_that_takes_its_socket_from_systemd() {
    wakes_on_request("wfd:a");
}

#[test]
fn a_request_wakes_an_instance_that_binds_its_own_socket() {
    wakes_on_request("wsock:a");
}

#[test]
fn a_request_wakes_an_instance_that_binds_a_port() {
    wakes_on_request("wport:a");
}

#[test]
fn a_node_app_that_listens_on_its_port_wakes_as_inferred_from_its_health_url() {
    wakes_on_request("wnode:a");
}

#[test]
fn a_python_app_wakes_and_keeps_its_data_over_its_sleep() {
    let host = host();
    wakes_on_request("wnotes:a");
    let note = host.client().post("a.wnotes.localhost", "/", b"remember me").expect("posted");
    assert!(note.status < 400, "{note:?}");
    host.run("ten stop wnotes:a");
    let list = host.get("a.wnotes.localhost", "/");
    assert!(list.text().contains("remember me"), "{}", list.text());
}

#[test]
fn two_hundred_simultaneous_first_requests_cause_one_start_and_all_are_answered() {
    let host = host();
    let systemd = host.systemd();
    for name in ["wfd:herd", "wsock:herd", "wport:herd"] {
        spawn_asleep(host, name);
        let unit = format!("ten-{}", name.replace(':', "@"));
        let starts = || {
            let query = format!(
                "journalctl -o cat UNIT={unit}.service JOB_TYPE=start JOB_RESULT=done | wc -l"
            );
            host.run(&query).out.trim().parse::<i64>().expect("a count")
        };
        let before = starts();
        let barrier = Arc::new(Barrier::new(200));
        let (process, id) = name.split_once(':').expect("process:id");
        let clients: Vec<_> = (0..200)
            .map(|_| {
                let (barrier, domain) = (barrier.clone(), format!("{id}.{process}.localhost"));
                let stream = host.connect(PORT).expect("accepted");
                std::thread::spawn(move || {
                    barrier.wait();
                    Client::new(stream).get(&domain, "/").map(|r| r.status)
                })
            })
            .collect();
        let answers: Vec<_> = clients.into_iter().map(|c| c.join().expect("no panic")).collect();
        let failed = answers.iter().filter(|a| !matches!(a, Ok(200))).count();
        let after = until("the journal has the start", Duration::from_secs(10), || {
            let now = starts();
            if now > before { Ok(now) } else { Err(now) }
        });
        let record = |name, value| Figure { name, value, systemd, ..Figure::default() }.record();
        record("wake.herd.starts", (after - before) as f64);
        record("wake.herd.failed", failed as f64);
        assert_eq!(failed, 0, "{name}: {answers:?}");
        assert_eq!(after - before, 1, "{name}");
    }
}

#[test]
fn an_unknown_instance_is_404_and_never_spawned_by_a_request() {
    let host = host();
    assert_eq!(host.get("ghost.wfd.localhost", "/").status, 404);
    assert_eq!(host.try_run("ten show wfd:ghost").code, 3);
}

#[test]
fn spawn_on_request_registers_an_instance_with_its_first_request() {
    let host = host();
    assert_eq!(host.get("fresh.wspawn.localhost", "/").status, 200);
    assert_eq!(host.state("wspawn:fresh"), "running");
}

#[test]
fn a_failed_start_is_503_with_retry_after_long_before_the_startup_timeout() {
    let host = host();
    for name in ["wbad:a", "wloop:a"] {
        spawn_asleep(host, name);
        let (process, id) = name.split_once(':').expect("process:id");
        let (answer, took) = Host::timed(|| host.get(&format!("{id}.{process}.localhost"), "/"));
        assert_eq!(answer.status, 503, "{name}: {answer:?}");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
        assert!(took < Duration::from_secs(15), "{name}: {took:?}");
        let why = host.ten_json(&format!("why {name}"));
        assert_eq!(why["instance"]["state"], "failed", "{why}");
    }
}

#[test]
fn an_app_that_never_listens_is_504_at_its_startup_timeout() {
    let host = host();
    spawn_asleep(host, "wdeaf:a");
    assert_eq!(host.get("a.wdeaf.localhost", "/").status, 504);
    host.run("ten stop wdeaf:a");
}

#[test]
fn the_host_header_is_matched_without_regard_to_case_port_and_trailing_dot() {
    let host = host();
    spawn_asleep(host, "wfd:names");
    for name in ["NAMES.wfd.LOCALHOST", "names.wfd.localhost:8080", "names.wfd.localhost."] {
        assert_eq!(host.get(name, "/").status, 200, "{name}");
    }
}
