//! Health: starts end healthy, checks leave sleepers alone, the sick are restarted and given up.

use std::time::Duration;

use tenement_tests::{Host, until};

const CONFIG: &str = r#"
[process.hwell]
command = "/srv/apps/hello-static"
health = "/health"
health_interval = "1s"
idle_timeout = "3s"

[process.hsick]
command = "/srv/apps/hello-static"
health = "/health"
health_interval = "1s"
unhealthy_threshold = 2
max_restarts = 1
startup_timeout = "3s"
stop_timeout = "1s"
idle_timeout = 0

[process.hloop]
command = "/bin/sh -c 'exit 7'"
max_restarts = 3
"#;

fn host() -> &'static Host {
    let host = Host::the();
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| host.configure("health.toml", CONFIG));
    host
}

/// Makes sure that it is registered and as new.
fn spawn(host: &Host, name: &str) {
    let _ = host.try_run(&format!("ten rm --purge --yes {name}"));
    host.run(&format!("ten spawn --no-start {name}"));
}

fn health(host: &Host, name: &str) -> String {
    host.ten_json(&format!("show {name}"))["health"].as_str().unwrap_or("none").to_owned()
}

#[test]
fn a_start_is_finished_when_it_is_healthy_and_sleep_is_left_alone() {
    let host = host();
    spawn(host, "hwell:a");
    host.run("ten wake hwell:a");
    assert_eq!(health(host, "hwell:a"), "healthy");
    // Checks go on each second, and it sleeps all the same, and stays asleep.
    until("it is parked", Duration::from_secs(20), || {
        let tier = host.ten_json("show hwell:a")["tier"].clone();
        if tier == "parked" { Ok(()) } else { Err(tier) }
    });
    let wakes = "journalctl -o cat UNIT=ten-hwell@a.service JOB_TYPE=start JOB_RESULT=done | wc -l";
    let before = host.run(wakes).out;
    let begin = std::time::Instant::now();
    until("three intervals have passed", Duration::from_secs(10), || {
        if begin.elapsed() > Duration::from_secs(3) { Ok(()) } else { Err(()) }
    });
    assert_eq!(host.state("hwell:a"), "asleep");
    assert_eq!(host.run(wakes).out, before);
}

#[test]
fn a_sick_instance_is_restarted_then_failed_and_reset_clears_it() {
    let host = host();
    spawn(host, "hsick:a");
    host.run("ten wake hsick:a");
    let pid = host.ten_json("show hsick:a")["pid"].clone();
    assert_eq!(host.get("a.hsick.localhost", "/sick").status, 200);
    until("it is restarted", Duration::from_secs(30), || {
        let now = host.ten_json("show hsick:a")["pid"].clone();
        if !now.is_null() && now != pid { Ok(()) } else { Err(now) }
    });
    until("it has failed", Duration::from_secs(60), || {
        let view = host.ten_json("show hsick:a");
        if view["health"] == "failed" && view["tier"] == "dormant" { Ok(()) } else { Err(view) }
    });
    let begin = std::time::Instant::now();
    let refused = host.get("a.hsick.localhost", "/");
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.header("retry-after").is_some() && begin.elapsed() < Duration::from_secs(1));
    let why = host.run("ten why hsick:a").out;
    assert!(why.contains("503") && why.contains("ten reset"), "{why}");
    // Neither a restart of the agent nor a reload of its config brings it back.
    host.run("systemctl restart tenement.service && ten config reload");
    assert_eq!(host.get("a.hsick.localhost", "/").status, 503);
    assert_eq!(host.state("hsick:a"), "failed");
    host.run("rm -f /var/lib/tenement/hsick/a/sick");
    host.run("ten reset hsick:a");
    assert_eq!(host.get("a.hsick.localhost", "/").status, 200);
    assert_eq!(health(host, "hsick:a"), "healthy");
}

#[test]
fn a_crash_loop_ends_in_failed_on_every_systemd_and_leaves_pid_1_cool() {
    let host = host();
    spawn(host, "hloop:a");
    let ticks = || {
        let out = host.run("sed 's/.*) //' /proc/1/stat").out;
        let fields: Vec<&str> = out.split_whitespace().collect();
        [11, 12].iter().map(|i| fields[*i].parse::<u64>().expect("a number")).sum::<u64>()
    };
    let (before, begin) = (ticks(), std::time::Instant::now());
    until("it has failed for good", Duration::from_secs(60), || {
        let _ = host.get("a.hloop.localhost", "/");
        let why = host.run("ten why hloop:a").out;
        if why.contains("not started any more") { Ok(()) } else { Err(why) }
    });
    let share = (ticks() - before) as f64 / begin.elapsed().as_secs_f64();
    assert!(share < 50.0, "PID 1 took {share} % of a core");
    let why = host.run("ten why hloop:a").out;
    assert!(why.contains("exited with status 7"), "{why}");
    let starts = "journalctl -o cat UNIT=ten-hloop@a.service JOB_TYPE=start | wc -l";
    let starts: u32 = host.run(starts).out.trim().parse().expect("a count");
    assert!(starts <= 20, "{starts} lines of starts");
    host.run("ten rm --yes --purge hloop:a");
}
