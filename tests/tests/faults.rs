//! Faults: killing, restarting and upgrading the agent touches no instance and refuses no connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tenement_tests::host::PORT;
use tenement_tests::results::Figure;
use tenement_tests::{Client, Host, until};

const CONFIG: &str = r#"
[process.ffd]
command = "/srv/apps/hello-static"
idle_timeout = 0
"#;

fn host() -> &'static Host {
    let host = Host::the();
    if host.try_run("test -e /etc/tenement/conf.d/faults.toml").code != 0 {
        host.configure("faults.toml", CONFIG);
        host.run("ten spawn ffd:a");
    }
    host
}

fn instance_pid(host: &Host) -> String {
    host.run("systemctl show -p MainPID --value ten-ffd@a.service").out.trim().to_owned()
}

fn until_answers(host: &Host) {
    until("the agent answers `ten`", Duration::from_secs(20), || {
        let ran = host.try_run("ten ps");
        if ran.code == 0 { Ok(()) } else { Err(ran) }
    });
}

#[test]
fn a_killed_agent_leaves_its_instances_running_and_adopts_them() {
    let host = host();
    host.run("ten wake ffd:a");
    let before = instance_pid(host);
    host.run("systemctl kill -s KILL tenement.service");
    let answer = host.get("a.ffd.localhost", "/");
    assert_eq!(answer.status, 200, "{answer:?}");
    until_answers(host);
    assert_eq!(host.state("ffd:a"), "running");
    assert_eq!(instance_pid(host), before);
}

#[test]
fn an_agent_that_hangs_is_restarted_by_its_watchdog() {
    let host = host();
    let pid =
        || host.run("systemctl show -p MainPID --value tenement.service").out.trim().to_owned();
    let before = pid();
    host.run("mkdir -p /run/systemd/system/tenement.service.d && printf '[Service]\\nWatchdogSec=2\\n' > /run/systemd/system/tenement.service.d/wd.conf && systemctl daemon-reload && systemctl restart tenement");
    let watched = pid();
    assert_ne!(watched, before);
    host.run(&format!("kill -STOP {watched}"));
    until("the watchdog restarts it", Duration::from_secs(60), || {
        let now = pid();
        if now != watched && now != "0" { Ok(()) } else { Err(now) }
    });
    host.run("rm -r /run/systemd/system/tenement.service.d && systemctl daemon-reload && systemctl restart tenement");
    until_answers(host);
}

#[test]
fn restarting_the_agent_every_three_seconds_under_load_refuses_no_connection() {
    let host = host();
    host.run("ten wake ffd:a");
    let systemd = host.systemd();
    let before = instance_pid(host);
    let stop = Arc::new(AtomicBool::new(false));
    let counts = Arc::new([const { AtomicU32::new(0) }; 3]);
    let clients: Vec<_> = (0..4)
        .map(|n| {
            let (stop, counts) = (stop.clone(), counts.clone());
            host.inside(move || one_client(n % 2 == 0, &stop, &counts))
        })
        .collect();
    let begin = Instant::now();
    let mut restarts = 0;
    while restarts < 12 {
        host.run("systemctl restart tenement");
        restarts += 1;
        let next = Duration::from_secs(3) * restarts;
        until("the next restart is due", Duration::from_secs(30), || {
            if begin.elapsed() >= next { Ok(()) } else { Err(begin.elapsed()) }
        });
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("no panic");
    }
    let [answered, refused, failed] = [0, 1, 2].map(|i| counts[i].load(Ordering::Relaxed));
    println!(
        "{restarts} restarts, {answered} answered, {refused} refused, {failed} failed in flight"
    );
    let restarted = u32::from(instance_pid(host) != before);
    let record = |name, value| Figure { name, value, systemd, ..Figure::default() }.record();
    record("upgrade.refused", f64::from(refused));
    record("upgrade.failed", f64::from(failed));
    record("upgrade.restarted", f64::from(restarted));
    assert!(answered > 1000, "only {answered} answered");
    assert_eq!((refused, restarted), (0, 0));
    assert_eq!(failed, 0, "requests failed");
}

/// Requests on kept-alive or fresh connections; a connection closed between responses is reopened.
fn one_client(keep_alive: bool, stop: &AtomicBool, counts: &[AtomicU32; 3]) {
    let mut client: Option<Client> = None;
    while !stop.load(Ordering::Relaxed) {
        let fresh = client.is_none();
        if fresh {
            match std::net::TcpStream::connect(("127.0.0.1", PORT)) {
                Ok(stream) => client = Some(Client::new(stream)),
                Err(error) => {
                    eprintln!("refused: {error}");
                    counts[1].fetch_add(1, Ordering::Relaxed);
                    continue;
                }
            }
        }
        match client.as_mut().expect("just made").get("a.ffd.localhost", "/") {
            Ok(answer) if answer.status == 200 => {
                counts[0].fetch_add(1, Ordering::Relaxed);
                if !keep_alive || answer.header("connection") == Some("close") {
                    client = None;
                }
            }
            other => {
                eprintln!("failed (fresh: {fresh}): {other:?}");
                counts[2].fetch_add(1, Ordering::Relaxed);
                client = None;
            }
        }
    }
}

#[test]
fn a_killed_unit_helper_comes_back_with_the_next_call() {
    let host = host();
    host.run("systemctl kill -s KILL tenement-unitd.service || true");
    host.run("ten spawn ffd:helper --no-start");
    host.run("ten wake ffd:helper");
    host.run("ten rm ffd:helper --yes --purge");
    assert_ne!(
        host.try_run("test -e /var/lib/tenement/ffd/helper").code,
        0,
        "purged data is there"
    );
}

#[test]
fn reinstalling_the_package_keeps_instances_running_and_settings() {
    let host = host();
    host.run("ten wake ffd:a");
    let before = instance_pid(host);
    host.run("apt-get install -y --reinstall --no-install-recommends /root/pkg/tenement.deb");
    assert_eq!(host.get("a.ffd.localhost", "/").status, 200);
    assert_eq!(instance_pid(host), before);
    until_answers(host);
    assert_eq!(host.state("ffd:a"), "running");
}

#[test]
fn a_restarted_bus_is_noticed_and_the_agent_goes_on() {
    let host = host();
    host.run("ten wake ffd:a");
    let before = instance_pid(host);
    host.run("systemctl restart dbus.service");
    assert_eq!(host.get("a.ffd.localhost", "/").status, 200);
    until("stop by hand is followed again", Duration::from_secs(20), || {
        let _ = host.try_run("systemctl stop ten-ffd@a.service");
        let state = host.try_run("ten show ffd:a --json");
        if state.out.contains("\"asleep\"") { Ok(()) } else { Err(state) }
    });
    assert_eq!(host.get("a.ffd.localhost", "/").status, 200);
    assert_ne!(instance_pid(host), before);
}

#[test]
fn a_second_agent_does_not_disturb_the_first() {
    let host = host();
    let ran = host.try_run("timeout 5 runuser -u tenement -- /usr/sbin/tenementd 2>&1");
    assert_ne!(ran.code, 0, "{ran:?}");
    until_answers(host);
    assert_eq!(host.get("a.ffd.localhost", "/").status, 200);
}

#[test]
fn a_symlink_in_place_of_a_data_directory_is_refused() {
    let host = host();
    host.run("mkdir -p /var/lib/tenement/ffd && ln -s /etc /var/lib/tenement/ffd/evil");
    let ran = host.try_run("ten spawn ffd:evil");
    assert_ne!(ran.code, 0, "{ran:?}");
    assert_eq!(host.run("stat -c %U /etc").out.trim(), "root");
    let _ = host.try_run("ten rm ffd:evil --yes");
    host.run("rm -f /var/lib/tenement/ffd/evil");
}

#[test]
fn only_the_agent_and_root_may_call_the_unit_helper() {
    let host = host();
    let call =
        "busctl call org.tenement.Units1 /org/tenement/Units1 org.tenement.Units1 Stop s ffd:a";
    let ran = host.try_run(&format!("runuser -u nobody -- {call}"));
    assert_ne!(ran.code, 0, "nobody could stop an instance: {ran:?}");
    assert_eq!(host.state("ffd:a"), "running");
}
