//! Parked instances: the sandbox waits, the app starts in it with the first request, and no request is
//! lost on the way there and back.

use std::time::{Duration, Instant};

use tenement_tests::load::rhythm;
use tenement_tests::{Host, until};

const CONFIG: &str = r#"
[process.pkfd]
command = "/srv/apps/hello-static"
idle_timeout = "1s"
park = 20

[process.pksock]
command = "/srv/apps/hello-static --socket {socket}"
idle_timeout = "1s"
park = 20

[process.pkport]
command = "/srv/apps/hello-static --port {port}"
idle_timeout = "1s"
park = 20

[process.pkfew]
command = "/srv/apps/hello-static"
idle_timeout = "300ms"
park = 2

# These sleep between any two of the requests that come to them.
[process.pkrfd]
command = "/srv/apps/hello-static"
idle_timeout = "40ms"
park = 20

[process.pkrsock]
command = "/srv/apps/hello-static --socket {socket}"
idle_timeout = "40ms"
park = 20

[process.pkrport]
command = "/srv/apps/hello-static --port {port}"
idle_timeout = "40ms"
park = 20

# An argument that systemd 252 can't keep goes through tenement-exec as well.
[process.pkdollar]
command = ["/bin/sh", "-c", "exec /srv/apps/hello-static; echo $0"]
idle_timeout = "1s"
park = 20

[process.pkgone]
command = "/srv/apps/no-interpreter"
idle_timeout = "1s"
restart = "no"
park = 20
"#;

fn host() -> &'static Host {
    let host = Host::the();
    if host.try_run("test -e /etc/tenement/conf.d/park.toml").code != 0 {
        host.write("/srv/apps/no-interpreter", "#!/not/there\n");
        host.run("chmod +x /srv/apps/no-interpreter");
        host.configure("park.toml", CONFIG);
    }
    host
}

fn domain(name: &str) -> String {
    let (process, id) = name.split_once(':').expect("process:id");
    format!("{id}.{process}.localhost")
}

fn unit(name: &str) -> String {
    format!("ten-{}.service", name.replace(':', "@"))
}

fn property(host: &Host, name: &str, property: &str) -> String {
    let unit = unit(name);
    host.run(&format!("systemctl show -p {property} --value {unit}")).out.trim().to_owned()
}

/// What the main process is executing.
fn command(host: &Host, name: &str) -> String {
    let pid = property(host, name, "MainPID");
    host.try_run(&format!("cat /proc/{pid}/comm")).out.trim().to_owned()
}

fn until_parked(host: &Host, name: &str) {
    until(&format!("{name} is parked"), Duration::from_secs(30), || {
        let view = host.ten_json(&format!("show {name}"));
        if view["tier"] == "parked" && view["state"] == "asleep" { Ok(()) } else { Err(view) }
    });
    assert_eq!(property(host, name, "StatusText"), "parked: waits for a request", "{name}");
    assert_eq!(command(host, name), "tenement-park", "{name}");
}

/// Registers it, uses it once and waits until it is parked.
fn parked(host: &Host, name: &str) {
    if host.try_run(&format!("ten show {name}")).code != 0 {
        host.run(&format!("ten spawn {name} --no-start"));
    }
    assert_eq!(host.get(&domain(name), "/").status, 200, "{name}");
    until_parked(host, name);
}

/// A request that must be answered by the process that was parked.
fn wakes_in_place(host: &Host, name: &str) {
    let pid = property(host, name, "MainPID");
    assert_eq!(host.get(&domain(name), "/").status, 200, "{name}");
    assert_eq!(property(host, name, "MainPID"), pid, "{name} was started anew");
    assert_ne!(command(host, name), "tenement-park", "{name}");
}

#[test]
fn an_idle_instance_is_parked_and_a_request_wakes_the_same_process_in_every_listen_mode() {
    let host = host();
    for name in ["pkfd:a", "pksock:a", "pkport:a", "pkdollar:a"] {
        parked(host, name);
        wakes_in_place(host, name);
        until_parked(host, name);
        let why = host.ten_json(&format!("why {name}"));
        assert!(why["next_request"].as_str().is_some_and(|s| s.contains("sandbox")), "{why}");
    }
}

#[test]
fn an_app_with_its_own_listener_gets_no_descriptor_of_systemds() {
    let host = host();
    for (name, listens) in [("pkfd:b", true), ("pksock:b", false), ("pkport:b", false)] {
        parked(host, name);
        wakes_in_place(host, name);
        let pid = property(host, name, "MainPID");
        let environment = host.run(&format!("tr '\\0' '\\n' </proc/{pid}/environ")).out;
        assert_eq!(environment.contains("LISTEN_FDS="), listens, "{name}: {environment}");
        let trigger = name.replace(':', "/");
        let inode = host.try_run(&format!(
            "readlink /proc/{pid}/fd/3 | grep -o '[0-9]*' | xargs -I{{}} grep ' {{}} ' /proc/net/unix"
        ));
        let sees_trigger = inode.out.contains(&format!("{trigger}.wake"));
        assert!(!sees_trigger, "{name}: {}", inode.out);
    }
}

#[test]
fn a_start_by_hand_starts_the_app_itself() {
    let host = host();
    for name in ["pkfd:hand", "pksock:hand"] {
        parked(host, name);
        host.run(&format!("ten stop {name} -q"));
        assert_eq!(property(host, name, "ActiveState"), "inactive", "{name}: stop parked it");
        host.run(&format!("systemctl start {}", unit(name)));
        until("the app runs", Duration::from_secs(5), || match command(host, name).as_str() {
            "hello-static" => Ok(()),
            other => Err(other.to_owned()),
        });
        until_parked(host, name);
        host.run(&format!("ten wake {name} -q"));
        assert_eq!(command(host, name), "hello-static", "{name}: wake left it parked");
    }
}

#[test]
fn a_stale_flag_parks_no_start_of_the_agents() {
    let host = host();
    parked(host, "pkfd:stale");
    host.run("ten stop pkfd:stale -q");
    host.run("touch /run/tenement/pkfd/stale/park");
    host.run("ten wake pkfd:stale -q");
    assert_eq!(command(host, "pkfd:stale"), "hello-static");
    host.run("ten stop pkfd:stale -q");
    host.run("touch /run/tenement/pkfd/stale/park");
    assert_eq!(host.get("stale.pkfd.localhost", "/").status, 200);
    host.run("ten stop pkfd:stale -q");
    host.run("touch /run/tenement/pkfd/stale/park; systemctl kill -s KILL tenement.service");
    until("the next agent has removed it", Duration::from_secs(20), || {
        match host.try_run("test -e /run/tenement/pkfd/stale/park").code {
            0 => Err("it is there"),
            _ => Ok(()),
        }
    });
}

#[test]
fn what_is_parked_survives_the_agents_death_and_wakes_from_the_next_ones_first_request() {
    let host = host();
    for name in ["pkfd:kill", "pksock:kill"] {
        parked(host, name);
        host.run("systemctl kill -s KILL tenement.service");
        wakes_in_place(host, name);
        until_parked(host, name);
        host.run("systemctl kill -s KILL tenement.service");
        until_parked(host, name);
    }
}

#[test]
fn what_is_parked_survives_a_daemon_reload_and_a_reexec() {
    let host = host();
    for (name, verb) in [("pkfd:reload", "daemon-reload"), ("pksock:reload", "daemon-reexec")] {
        parked(host, name);
        host.run(&format!("systemctl {verb}"));
        until_parked(host, name);
        wakes_in_place(host, name);
        until_parked(host, name);
    }
}

#[test]
fn no_more_are_parked_than_the_config_allows_and_the_others_are_stopped() {
    let host = host();
    for id in ["a", "b", "c", "d"] {
        parked(host, &format!("pkfew:{id}"));
    }
    until("two are left", Duration::from_secs(20), || {
        let tier = |id: &str| host.ten_json(&format!("show pkfew:{id}"))["tier"].to_string();
        let tiers = ["a", "b", "c", "d"].map(tier).join(" ");
        let wanted = r#""stopped" "stopped" "parked" "parked""#;
        if tiers == wanted { Ok(()) } else { Err(tiers) }
    });
    assert_eq!(property(host, "pkfew:a", "ActiveState"), "inactive");
    assert_eq!(property(host, "pkfew:a", "Result"), "success", "the stub's end is no failure");
}

#[test]
fn a_command_that_can_not_be_executed_is_a_failed_start() {
    let host = host();
    let ran = host.try_run("ten spawn pkgone:a");
    let answer = host.get("a.pkgone.localhost", "/");
    assert_eq!(answer.status, 503, "{ran:?} {answer:?}");
    let why = host.ten_json("why pkgone:a");
    assert!(why["reason"].as_str().is_some_and(|r| r.contains("can't be executed")), "{why}");
    host.run("ten rm pkgone:a --yes || ten remove pkgone:a --yes || true");
}

/// From within the idle time to well into the parking, a different one each time.
fn pause(round: u64, client: u64) -> Duration {
    Duration::from_millis(20 + (round * 37 + client * 53) % 160)
}

#[test]
fn two_hundred_cycles_of_parking_and_waking_under_load_fail_no_request() {
    let host = host();
    let begin = Instant::now();
    let starts = |name: &str| -> u32 {
        let unit = unit(name);
        let log =
            host.run(&format!("journalctl -q -o cat -u {unit} | grep -c 'listening as' || true"));
        log.out.trim().parse().expect("a number")
    };
    // All three side by side: a cycle mostly waits for the idle time.
    let names = ["pkrfd:a", "pkrsock:a", "pkrport:a"];
    let running = names.map(|name| {
        host.run(&format!("ten spawn {name} --no-start"));
        (name, starts(name), rhythm(host, &domain(name), 2, pause))
    });
    for (name, before, finish) in running {
        until("200 cycles", Duration::from_secs(300), || {
            let done = starts(name) - before;
            if done >= 200 { Ok(()) } else { Err(done) }
        });
        let (answered, failed) = finish();
        println!("{name}: {answered} answered, {failed} failed in {:?}", begin.elapsed());
        assert_eq!(failed, 0, "{name}");
    }
    for name in names {
        until_parked(host, name);
        host.run(&format!("ten stop {name} -q"));
    }
}
