//! Faults of the host: disks, descriptors, a second agent, and calls that nobody should make.

use std::time::Duration;

use tenement_tests::{Host, until};

const CONFIG: &str = r#"
[process.fhost]
command = "/srv/apps/hello-static"
idle_timeout = 0
"#;

/// The sockets too, or the next request would start the agent again.
const STOP: &str = "systemctl stop -q tenement.socket tenement-admin.socket tenement";
const START: &str = "systemctl start tenement";
/// Its own view of the mounts is from its start. Killed and not stopped: of a helper that is stopped while
/// it starts, dbus-daemon hears nothing, and lets callers wait for 25 s.
const KILL_HELPER: &str = "{ systemctl kill -s KILL tenement-unitd 2>/dev/null || true; }";
/// After `mount -t tmpfs`: a file system of its own in place of the state directory, with what is in it.
const OVER: &str = "state /mnt && cp -a /var/lib/tenement/. /mnt/ && chmod 755 /mnt && \
    mount --bind /mnt /var/lib/tenement && umount /mnt";

fn host() -> &'static Host {
    let host = Host::the();
    if host.try_run("test -e /etc/tenement/conf.d/fhost.toml").code != 0 {
        host.configure("fhost.toml", CONFIG);
        host.run("ten spawn fhost:a fhost:b");
    }
    host
}

fn agent_pid(host: &Host) -> String {
    host.run("systemctl show -p MainPID --value tenement.service").out.trim().to_owned()
}

fn until_answers(host: &Host) {
    until("the agent answers `ten`", Duration::from_secs(30), || {
        let ran = host.try_run("ten ps");
        if ran.code == 0 { Ok(()) } else { Err(ran) }
    });
}

#[test]
fn a_second_agent_says_so_and_ends_and_the_first_does_not_notice() {
    let host = host();
    let first = agent_pid(host);
    // As root and with a free port it could bind all that it wants, the admin socket included.
    host.run("rm -rf /run/second && cp -a /etc/tenement /run/second && sed -i '/^port/d' /run/second/tenement.toml && printf '[settings]\\nport = 18080\\n' > /run/second/conf.d/zz.toml");
    for user in ["root", "tenement"] {
        let ran = host.try_run(&format!(
            "timeout 20 runuser -u {user} -- /usr/sbin/tenementd --config-dir /run/second 2>&1; code=$?; \
             journalctl --sync; journalctl -t tenementd -n 20 -o cat; exit $code"
        ));
        assert!(ran.code != 0 && ran.code != 124, "as {user}: {ran:?}");
        assert!(ran.out.contains("another tenementd works with"), "as {user}: {ran:?}");
    }
    host.run("rm -r /run/second");
    assert_eq!(agent_pid(host), first);
    assert_eq!(host.get("a.fhost.localhost", "/").status, 200);
    host.run("ten stop fhost:a && ten wake fhost:a");
}

#[test]
fn with_a_read_only_state_directory_all_are_served_and_woken_and_changes_are_refused() {
    let host = host();
    let uuid = host.ten_json("show fhost:a")["uuid"].clone();
    for kill in [false, true] {
        host.run(&format!("{STOP}; {KILL_HELPER}"));
        host.run(&format!("mount -t tmpfs {OVER}"));
        if kill {
            // What a killed agent leaves: a database with its log beside it.
            host.run(&format!("{START} && ten spawn fhost:late --no-start && systemctl kill -s KILL tenement && {STOP}"));
        }
        host.run(&format!("mount -o remount,ro /var/lib/tenement && {START}"));
        until_answers(host);
        assert_eq!(host.get("a.fhost.localhost", "/").status, 200, "killed: {kill}");
        host.run("ten stop fhost:b");
        assert_eq!(host.get("b.fhost.localhost", "/").status, 200, "killed: {kill}");
        assert_eq!(host.ten_json("show fhost:a")["uuid"], uuid);
        if kill {
            host.run("ten show fhost:late");
        }
        for change in ["ten spawn fhost:new --no-start", "ten rm fhost:b --yes"] {
            let ran = host.try_run(change);
            assert_ne!(ran.code, 0, "{change}: {ran:?}");
            assert!(ran.err.contains("can't be written"), "{change}: {ran:?}");
        }
        // Writable again, for the host and in the agent's own view of it: no restart is needed.
        let pid = agent_pid(host);
        host.run(&format!("mount -o remount,rw /var/lib/tenement && nsenter -t {pid} -m mount -o remount,rw /var/lib/tenement/_agent"));
        host.run("ten spawn fhost:new --no-start && ten rm fhost:new --yes");
        host.run(&format!("{STOP}; {KILL_HELPER} && umount /var/lib/tenement && {START}"));
        until_answers(host);
    }
    assert_eq!(host.ten_json("show fhost:a")["uuid"], uuid);
}

#[test]
fn on_a_full_disk_changes_are_refused_and_a_kill_of_the_agent_loses_nothing_acknowledged() {
    let host = host();
    host.run(&format!("{STOP}; {KILL_HELPER}"));
    host.run(&format!("mount -t tmpfs -o size=$(($(du -sk /var/lib/tenement | cut -f1) + 3072))k {OVER} && {START}"));
    until_answers(host);
    host.run("dd if=/dev/zero of=/var/lib/tenement/fill bs=64k status=none 2>/dev/null || true");
    // The log of the database still has some room in its last page.
    let mut acknowledged = Vec::new();
    let refused = (0..500).find_map(|n| {
        let id = format!("fhost:full{n}");
        let ran = host.try_run(&format!("ten spawn {id} --no-start"));
        if ran.code == 0 {
            acknowledged.push(id);
            return None;
        }
        Some(ran)
    });
    let refused = refused.expect("a full disk takes no more");
    assert!(refused.err.contains("no space"), "{refused:?}");
    for _ in 0..3 {
        host.run("systemctl kill -s KILL --kill-whom=main tenement");
        assert_eq!(host.get("a.fhost.localhost", "/").status, 200);
        until_answers(host);
    }
    for id in acknowledged.iter().map(String::as_str).chain(["fhost:a", "fhost:b"]) {
        host.run(&format!("ten show {id}"));
    }
    host.run("rm /var/lib/tenement/fill && ten spawn fhost:room --no-start");
    println!("{} registrations went through on the full disk", acknowledged.len());
    host.run(&format!("{STOP}; {KILL_HELPER} && umount /var/lib/tenement && {START}"));
    until_answers(host);
}

#[test]
fn without_descriptors_the_agent_neither_spins_nor_dies_and_goes_on_when_it_has_some() {
    let host = host();
    let pid = agent_pid(host);
    let open = format!("ls /proc/{pid}/fd | wc -l");
    let now: u32 = host.run(&open).out.trim().parse().expect("a count");
    let limit = |soft: u32| {
        host.run(&format!("runuser -u tenement -- prlimit --pid {pid} --nofile={soft}:"));
    };
    limit(now + 8);
    let clients: Vec<_> = (0..40).map(|_| host.client()).collect();
    let ticks = || -> u64 {
        let stat = host.run(&format!("cat /proc/{pid}/stat")).out;
        let fields: Vec<_> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
        fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime")
    };
    until("all descriptors are in use", Duration::from_secs(10), || {
        let used: u32 = host.run(&open).out.trim().parse().expect("a count");
        if used >= now + 8 { Ok(()) } else { Err(used) }
    });
    let (begin, spent) = (std::time::Instant::now(), ticks());
    until("two seconds have passed", Duration::from_secs(5), || {
        if begin.elapsed() > Duration::from_secs(2) { Ok(()) } else { Err(()) }
    });
    let spent = ticks() - spent;
    // Of 200 ticks; one that spins takes them all.
    assert!(spent < 40, "{spent} ticks in {:?}", begin.elapsed());
    drop(clients);
    limit(4096);
    assert_eq!(host.get("a.fhost.localhost", "/").status, 200);
    assert_eq!(agent_pid(host), pid);
    host.run("systemctl restart tenement");
}

#[test]
fn garbage_sent_to_the_unit_helper_is_refused_and_harms_nothing() {
    let host = host();
    let before = host.run("systemctl show -p MainPID --value ten-fhost@a.service").out;
    let name = "org.tenement.Units1 /org/tenement/Units1 org.tenement.Units1";
    let long = "x".repeat(4000);
    for call in [
        "Start s fhost:a".to_owned(),
        "Stop u 7".to_owned(),
        "Stop s ''".to_owned(),
        "Stop s ../../etc".to_owned(),
        "Stop s 'fhost:a.service'".to_owned(),
        "Stop s 'fhost:a\n[Service]'".to_owned(),
        "Stop s 'dbus.service'".to_owned(),
        "Stop s '*:*'".to_owned(),
        format!("Stop s 'fhost:{long}'"),
        "Purge s 'fhost:..'".to_owned(),
        "NoSuchMethod s x".to_owned(),
        "Stop".to_owned(),
        "Load 'sa{sv}' fhost:a 1 memory_max s lots".to_owned(),
    ] {
        let ran = host.try_run(&format!("busctl --timeout=20 call {name} {call}"));
        assert_ne!(ran.code, 0, "{call}: {ran:?}");
    }
    assert_eq!(host.run("systemctl show -p MainPID --value ten-fhost@a.service").out, before);
    host.run("test -e /var/lib/tenement/fhost/a");
    host.run("ten stop fhost:b && ten wake fhost:b");
}
