//! The state database: damaged, deleted, full, read-only. No instance and no setting is lost, and
//! requests are served all the while.

use std::time::Duration;

use serde_json::Value;
use tenement_tests::{Host, until};

const CONFIG: &str = r#"
[process.dbfd]
command = "/srv/apps/hello-static"
idle_timeout = 0
"#;

const DIR: &str = "/var/lib/tenement/_agent";
const BOUND: Duration = Duration::from_secs(40);

fn host() -> &'static Host {
    let host = Host::the();
    if host.try_run("test -e /etc/tenement/conf.d/database.toml").code != 0 {
        host.configure("database.toml", CONFIG);
        host.run("ten spawn dbfd --id a --id b --id c");
    }
    host
}

fn until_answers(host: &Host) {
    until("the agent answers `ten`", BOUND, || {
        let ran = host.try_run("ten ps");
        if ran.code == 0 { Ok(()) } else { Err(ran) }
    });
}

/// Names, UUIDs and addresses of everything that is registered.
fn registered(host: &Host) -> Vec<(String, String, String)> {
    let list = host.ten_json("ps");
    let word = |view: &Value, key: &str| view[key].as_str().expect("a word").to_owned();
    let views = list["instances"].as_array().expect("a list").iter();
    views.map(|v| (word(v, "name"), word(v, "uuid"), word(v, "address"))).collect()
}

/// Waits until the copy is newer than the newest change.
fn until_copied(host: &Host) {
    until("the verified copy holds all", BOUND, || {
        let ran = host.try_run(&format!(
            "test $(stat -c %Y {DIR}/state.db.backup) -ge $(stat -c %Y {DIR}/state.db-wal)"
        ));
        if ran.code == 0 { Ok(()) } else { Err(ran) }
    });
}

fn doctor(host: &Host) -> Value {
    let ran = host.try_run("ten doctor --json");
    let report: Value = serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {ran:?}"));
    let checks = report["checks"].as_array().expect("a list");
    checks.iter().find(|c| c["name"] == "state database").expect("a line of its own").clone()
}

fn serves(host: &Host) {
    assert_eq!(host.get("a.dbfd.localhost", "/").status, 200);
}

#[test]
fn a_killed_agent_that_finds_its_database_damaged_restores_it() {
    let host = host();
    until_copied(host);
    let before = registered(host);
    // Stopped by SIGKILL and kept from coming back until the file is damaged.
    host.run(&format!(
        "systemctl kill -s KILL tenement.service; rm -f {DIR}/state.db-wal {DIR}/state.db-shm; \
         dd if=/dev/urandom of={DIR}/state.db bs=4096 count=4 conv=notrunc status=none; \
         systemctl kill -s KILL tenement.service; true"
    ));
    until_answers(host);
    assert_eq!(registered(host), before, "an instance is lost");
    serves(host);
    let check = doctor(host);
    assert_eq!(check["status"], "warn", "{check}");
    let log = host.run("journalctl -u tenement --no-pager -n 200").out;
    assert!(log.contains("RESTORED from its verified copy"), "{log}");
    host.run(&format!("ls {DIR}/state.db.corrupt-* && rm {DIR}/state.db.corrupt-*"));
    assert_eq!(doctor(host)["status"], "ok");
}

#[test]
fn a_database_deleted_while_the_agent_is_down_is_restored() {
    let host = host();
    until_copied(host);
    let before = registered(host);
    host.run(&format!("systemctl stop tenement.service; rm -f {DIR}/state.db {DIR}/state.db-*"));
    host.run("systemctl start tenement.service");
    until_answers(host);
    assert_eq!(registered(host), before);
    serves(host);
    host.run(&format!("rm -f {DIR}/state.db.corrupt-*"));
}

#[test]
fn a_database_deleted_while_the_agent_runs_is_written_again() {
    let host = host();
    host.run("ten spawn dbfd:late --no-start");
    let before = registered(host);
    host.run(&format!("find {DIR} -maxdepth 1 -type f -delete"));
    until("it is there again", BOUND, || {
        let ran = host.try_run(&format!("test -s {DIR}/state.db && test -s {DIR}/state.db.backup"));
        if ran.code == 0 { Ok(()) } else { Err(ran) }
    });
    serves(host);
    host.run("systemctl kill -s KILL tenement.service");
    until_answers(host);
    assert_eq!(registered(host), before);
    host.run(&format!("rm -f {DIR}/state.db.corrupt-*"));
    host.run("ten rm dbfd:late --yes");
}

/// The agent's directory on a small file system of its own, for as long as this lives: also a test
/// that fails leaves a host on which the ones after it can succeed.
struct SmallDisk<'a>(&'a Host);

impl<'a> SmallDisk<'a> {
    /// Moves there what the directory holds (the index of logs may be many megabytes), with a
    /// megabyte to spare.
    fn mount(host: &'a Host) -> Self {
        host.run(&format!(
            "systemctl stop tenement.service && cp -a {DIR} /run/keep && \
             mount -t tmpfs -o size=$(($(du -sk /run/keep | cut -f1) + 1024))k,mode=0700 small {DIR}"
        ));
        let small = Self(host);
        host.run(&format!("cp -a /run/keep/. {DIR}/ && chown tenement:tenement {DIR}"));
        small
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let ran = self.0.try_run(&format!(
            "set -e; systemctl stop tenement.service; mount -o remount,rw {DIR}; rm -f {DIR}/filler; \
             rm -rf /run/keep; cp -a {DIR} /run/keep; umount {DIR}; \
             find {DIR} -mindepth 1 -delete; cp -a /run/keep/. {DIR}/; rm -rf /run/keep; \
             systemctl start tenement.service"
        ));
        if !std::thread::panicking() {
            assert_eq!(ran.code, 0, "{ran:?}");
            until_answers(self.0);
        }
    }
}

#[test]
fn a_full_disk_refuses_changes_with_507_and_serves_everything_else() {
    let host = host();
    let before = registered(host);
    let small = SmallDisk::mount(host);
    // From before the agent's start on.
    host.run(&format!("dd if=/dev/zero of={DIR}/filler bs=4096 status=none; true"));
    host.run("systemctl start tenement.service");
    until_answers(host);
    assert_eq!(registered(host), before);
    serves(host);
    let refused = host.try_run("ten spawn dbfd:full --no-start --json");
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("store_full") || refused.err.contains("store_read_only"));
    assert_eq!(doctor(host)["status"], "fail");
    host.run(&format!("rm {DIR}/filler"));
    until("changes are taken again", BOUND, || {
        let ran = host.try_run("ten spawn dbfd:full --no-start");
        if ran.code == 0 { Ok(()) } else { Err(ran) }
    });
    // And when it fills while the agent runs.
    host.run(&format!("dd if=/dev/zero of={DIR}/filler bs=512 status=none; true"));
    let refused = until("a change is refused", BOUND, || {
        let many: String = (0..50).map(|i| format!(" dbfd:full{i}")).collect();
        let ran = host.try_run(&format!("ten spawn --no-start --json{many}"));
        if ran.code != 0 { Ok(ran) } else { Err(host.try_run(&format!("ten rm --yes{many}"))) }
    });
    assert!(refused.err.contains("store_full"), "{refused:?}");
    serves(host);
    host.run(&format!("rm {DIR}/filler"));
    host.run("ten rm dbfd:full --yes");
    assert_eq!(registered(host), before);
    drop(small);
    assert_eq!(registered(host), before);
}

#[test]
fn a_read_only_disk_refuses_changes_and_serves_everything_else() {
    let host = host();
    let before = registered(host);
    let small = SmallDisk::mount(host);
    // A disk is read-only at boot, after the kernel has seen errors on it.
    host.run(&format!("mount -o remount,ro {DIR} && systemctl start tenement.service"));
    until_answers(host);
    let refused = host.try_run("ten spawn dbfd:ro --no-start --json");
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("store_read_only"), "{refused:?}");
    serves(host);
    assert_eq!(registered(host), before, "an agent that starts there serves less");
    assert_eq!(doctor(host)["status"], "fail");
    // The agent's own view of the mount was made read-only with it.
    host.run(&format!("mount -o remount,rw {DIR} && systemctl restart tenement.service"));
    until_answers(host);
    until("changes are taken again", BOUND, || {
        let ran = host.try_run("ten spawn dbfd:ro --no-start");
        if ran.code == 0 { Ok(()) } else { Err(ran) }
    });
    host.run("ten rm dbfd:ro --yes");
    drop(small);
    assert_eq!(registered(host), before);
}

/// From its next start on, each fsync(2) and fdatasync(2) of the agent fails as on a dying disk.
const NO_SYNC: &str = "/run/systemd/system/tenement.service.d/no-sync.conf";

#[test]
fn a_disk_that_fails_to_sync_gets_nothing_acknowledged_and_loses_nothing() {
    let host = host();
    until_copied(host);
    let before = registered(host);
    let text = "[Service]\nSystemCallFilter=\nSystemCallFilter=~fsync:EIO fdatasync:EIO\n";
    host.write(NO_SYNC, text);
    host.run("systemctl daemon-reload; systemctl restart tenement.service");
    until_answers(host);
    for command in ["ten spawn dbfd:unsynced --no-start", "ten set dbfd:b tasks_max=77"] {
        let ran = host.try_run(command);
        assert_ne!(ran.code, 0, "acknowledged, though nothing can be synced: {command}");
        assert!(ran.err.contains("hint: "), "{ran:?}");
    }
    assert_eq!(registered(host), before, "what could not be kept is shown");
    serves(host);
    host.run(&format!("rm {NO_SYNC}; systemctl daemon-reload; systemctl restart tenement.service"));
    until_answers(host);
    // What was refused may have reached the disk all the same: nobody was told that it has.
    let after = registered(host);
    assert!(before.iter().all(|one| after.contains(one)), "an instance is lost: {after:?}");
    host.run(
        "ten set dbfd:b tasks_max=77; ten set dbfd:b tasks_max=; ten rm dbfd:unsynced || true",
    );
    assert_eq!(registered(host), before);
    assert_eq!(doctor(host)["status"], "ok");
}
