//! Backups beside commands, with migrations, on full disks, cut off, of a user's own agent; and what restores leave.

mod backup_support;

use std::time::Duration;

use backup_support::{PATIENCE, note, notes, nothing_left};
use tenement_tests::{Host, until};

const CONFIG: &str = r#"
[process.bmore]
command = "/usr/bin/python3 notes.py"
directory = "/srv/apps/notes"
idle_timeout = 0
stop_timeout = "1s"

[process.bmore.backup]
to = "/srv/backups"
hold_max = "5s"

[process.bmore.cron.nightly]
schedule = "2099-01-01 03:00:00"
command = "sleep 600"

[process.bfull]
command = "/usr/bin/python3 notes.py"
directory = "/srv/apps/notes"
idle_timeout = 0
stop_timeout = "1s"

[process.bdyn]
command = "/srv/apps/hello-static"
user = "dynamic"

[process.bmig]
command = "{release}/server"
listen = "port"
idle_timeout = 0
stop_timeout = "1s"
[process.bmig.deploy]
release_command = ["sh", "-c", "echo $TENEMENT_RELEASE >> migrated"]
"#;

const SERVER: &str = r#"#!/usr/bin/python3
import http.server, os
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = (os.environ["TENEMENT_RELEASE"] + ":" + open("migrated").read()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Answer).serve_forever()
"#;

fn host() -> &'static Host {
    let host = backup_support::host();
    if host.try_run("test -e /etc/tenement/conf.d/backup-more.toml").code != 0 {
        host.configure("backup-more.toml", CONFIG);
    }
    host.run("for p in bmore bfull bdyn bmig; do ten ps $p --json | grep -o '\"name\": *\"[^\"]*\"' | cut -d'\"' -f4 | xargs -r ten rm -y --purge; done");
    host
}

#[test]
fn a_job_that_runs_is_waited_for_and_no_data_is_read_or_replaced_under_one() {
    let host = host();
    host.run("ten spawn bmore:a");
    note(host, "bmore:a", "first");
    host.run("ten backup bmore:a -o /root/b/a.tar.zst");
    until("its job runs", PATIENCE, || {
        let _ = host.try_run("timeout 2 ten cron run bmore:a nightly");
        let ran = host.try_run("systemctl is-active ten-bmore@a.cron-nightly.service");
        if ran.out.trim() == "activating" { Ok(()) } else { Err(ran.out) }
    });
    let refused = host.try_run("ten backup bmore:a");
    assert!(refused.code == 6 && refused.err.contains("job nightly runs"), "{refused:?}");
    let refused = host.try_run("ten restore bmore:a /root/b/a.tar.zst --yes");
    assert!(refused.code == 6 && refused.err.contains("job nightly runs"), "{refused:?}");
    // Requests were not held for it, and online nobody waits.
    assert!(notes(host, "bmore:a").contains("first"));
    host.run("ten backup bmore:a --online -o /root/b/online.tar.zst");
    host.run("(sleep 2; systemctl kill ten-bmore@a.cron-nightly.service) > /dev/null 2>&1 &");
    host.run("ten backup bmore:a");
    assert!(notes(host, "bmore:a").contains("first"));
    nothing_left(host);
}

#[test]
fn data_of_an_older_release_is_migrated_before_a_newer_one_starts_on_it() {
    let host = host();
    host.write("/srv/bmig/server", SERVER);
    host.run("chmod 755 /srv/bmig/server; ten releases rm bmig v1; ten releases rm bmig v2; true");
    let deploy =
        |name: &str| host.try_run(&format!("ten deploy bmig /srv/bmig --release {name} --now"));
    let (has_v1, _) =
        (deploy("v1").code, host.run("ten deploy bmig --release v1 --now; ten spawn bmig:a"));
    assert!([0, 6].contains(&has_v1));
    assert_eq!(host.get("a.bmig.localhost", "/").text(), "v1:v1\n");
    host.run("ten backup bmig:a -o /root/b/v1.tar.zst");
    if deploy("v2").code != 0 {
        host.run("ten deploy bmig --release v2 --now");
    }
    assert_eq!(host.get("a.bmig.localhost", "/").text(), "v2:v1\nv2\n");
    host.run("ten backup bmig:a -o /root/b/v2.tar.zst");
    host.run("ten restore bmig:a /root/b/v1.tar.zst --yes");
    assert_eq!(
        host.get("a.bmig.localhost", "/").text(),
        "v2:v1\nv2\n",
        "its command was run again"
    );
    host.run("ten restore bmig:a /root/b/v2.tar.zst --yes");
    assert_eq!(
        host.get("a.bmig.localhost", "/").text(),
        "v2:v1\nv2\n",
        "and not for what has had it"
    );
    host.run("ten restore bmig:a /root/b/v1.tar.zst --to bmig:copy --yes");
    assert_eq!(host.get("copy.bmig.localhost", "/").text(), "v2:v1\nv2\n");
    nothing_left(host);
}

#[test]
fn a_full_disk_leaves_the_data_as_it_was_and_no_half_of_a_backup() {
    let host = host();
    let dir = "/var/lib/tenement/bfull";
    host.run(&format!(
        "install -d -o root -g root -m 755 {dir}; mount -t tmpfs -o size=20m,mode=755 none {dir}"
    ));
    host.run("ten spawn bfull:a");
    note(host, "bfull:a", "kept");
    host.run(&format!(
        "head -c 12000000 /dev/urandom > {dir}/a/large; chown --reference {dir}/a {dir}/a/large"
    ));
    host.run("ten backup bfull:a -o /root/b/full.tar.zst");
    let failed = host.try_run("ten restore bfull:a /root/b/full.tar.zst --yes");
    assert!(failed.code != 0, "{failed:?}");
    assert!(
        failed.err.to_lowercase().contains("space") || failed.err.contains("disk"),
        "{failed:?}"
    );
    assert!(notes(host, "bfull:a").contains("kept"));
    assert_eq!(host.run(&format!("ls -A {dir}")).out, "a\n");
    // Nor where a backup goes to.
    host.run("mkdir -p /root/small; mount -t tmpfs -o size=1m none /root/small");
    let failed = host.try_run("ten backup bfull:a -o /root/small/a.tar.zst");
    let left = host.run("ls -A /root/small; umount /root/small").out;
    assert!(failed.code == 1 && failed.err.contains("space"), "{failed:?}");
    assert_eq!(left, "");
    assert!(notes(host, "bfull:a").contains("kept"));
    host.run(&format!("ten rm -y --purge bfull:a; umount {dir}"));
    nothing_left(host);
}

#[test]
fn a_download_that_is_interrupted_leaves_no_file() {
    let host = host();
    host.run("ten spawn bmore:a");
    note(host, "bmore:a", "x");
    let large = "/var/lib/tenement/bmore/a/large";
    host.run(&format!("head -c 300000000 /dev/urandom > {large}; chown --reference /var/lib/tenement/bmore/a {large}"));
    for signal in ["INT", "KILL"] {
        host.run(&format!(
            "timeout -s {signal} 0.7 ten backup bmore:a --online -o /root/b/cut.tar.zst; true"
        ));
        assert_eq!(host.run("ls -A /root/b").out, "", "{signal}");
    }
    assert!(notes(host, "bmore:a").contains('x'));
    host.run(&format!("rm {large}"));
    host.run(
        "ten backup bmore:a --online -o /root/b/whole.tar.zst && test -s /root/b/whole.tar.zst",
    );
    assert_eq!(host.run("stat -c %a /root/b/whole.tar.zst").out.trim(), "600");
}

#[test]
fn what_was_kept_goes_with_a_purge_and_what_a_killed_helper_has_left_with_the_next() {
    let host = host();
    let dir = "/var/lib/tenement/bmore";
    host.run("ten spawn bmore:a bmore:a-1");
    note(host, "bmore:a", "x");
    host.run("ten backup bmore:a -o /root/b/a.tar.zst");
    for name in ["a", "a-1"] {
        host.run(&format!(
            "ten restore bmore:a /root/b/a.tar.zst --to bmore:{name} --yes --keep-old"
        ));
    }
    host.run(&format!("mkdir -p {dir}/.restore-a/sub; systemctl stop tenement-unitd"));
    host.run("ten restart bmore:a");
    until("it is deleted", Duration::from_secs(10), || {
        let left = host.run(&format!("ls -A {dir} | grep -e '^.restore' -e '^.gone' || true")).out;
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
    host.run("ten rm -y --purge bmore:a");
    let left = host.run(&format!("ls -A {dir}")).out;
    assert!(!left.contains(".kept-a-1\n") && left.lines().count() == 2, "{left}");
    assert!(left.contains(".kept-a-1-"), "{left}");
    host.run("ten rm -y --purge bmore:a-1");
    assert_eq!(host.run(&format!("ls -A {dir}")).out, "");
}

#[test]
fn an_instance_with_a_made_up_user_is_backed_up_and_a_restore_says_why_not() {
    let host = host();
    host.run("ten spawn bdyn:a && ten run bdyn:a -- sh -c 'echo x > kept'");
    host.run("ten backup bdyn:a -o /root/b/dyn.tar.zst");
    let refused = host.try_run("ten restore bdyn:a /root/b/dyn.tar.zst --yes");
    assert!(refused.code != 0 && refused.err.contains("dynamic"), "{refused:?}");
    assert_eq!(host.run("ten run bdyn:a -- cat kept").out, "x\n");
    nothing_left(host);
}
