//! What both tests of backups share: the config, and looks at what is there.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tenement_tests::{Host, until};

pub const PATIENCE: Duration = Duration::from_secs(30);
const PROCESSES: [&str; 4] = ["bnotes", "bwriter", "bs3", "btimed"];

const CONFIG: &str = r#"
# With this, requests wait some seconds for a stop. For a backup they wait longer.
[process.bnotes]
command = "/usr/bin/python3 notes.py"
directory = "/srv/apps/notes"
idle_timeout = 0
stop_timeout = "1s"

[process.bnotes.backup]
to = "/srv/backups"
keep = { last = 2 }

[process.bwriter]
command = "/usr/bin/python3 /srv/apps/writer/writer.py"
idle_timeout = 0

[process.bs3]
command = "/usr/bin/python3 notes.py"
directory = "/srv/apps/notes"
idle_timeout = 0
disk_max = "300M"

[process.bs3.backup]
to = "s3://tenants/of/host1"
keep = { last = 3 }

[process.btimed]
command = "/srv/apps/hello-static"

[process.btimed.backup]
to = "/srv/backups"
every = "1m"
jitter = 0
keep = { last = 1 }

[backup.s3]
endpoint = "http://127.0.0.1:9123"
region = "eu-test-1"
access_key_file = "/etc/tenement/s3.key"
"#;

/// The host with the config in force and no instance of these processes.
pub fn host() -> &'static Host {
    let host = Host::the();
    if host.try_run("test -e /etc/tenement/conf.d/backup.toml").code != 0 {
        let writer = Path::new(env!("CARGO_MANIFEST_DIR")).join("apps/writer/writer.py");
        host.write("/srv/apps/writer/writer.py", &std::fs::read_to_string(writer).expect("an app"));
        host.write("/etc/tenement/s3.key", "AKIATEST\nsecret/of+test\n");
        host.run("chown root:tenement /etc/tenement/s3.key; chmod 640 /etc/tenement/s3.key");
        host.run(
            "install -d -o tenement -g tenement -m 0700 /srv/backups; systemctl restart tenement",
        );
        until("the agent answers", PATIENCE, || {
            let ran = host.try_run("ten ps");
            if ran.code == 0 { Ok(()) } else { Err(ran) }
        });
        host.configure("backup.toml", CONFIG);
    }
    let list = host.ten_json("ps");
    for one in list["instances"].as_array().expect("a list") {
        let name = one["name"].as_str().expect("a name");
        if PROCESSES.contains(&name.split(':').next().expect("a process")) {
            host.run(&format!("ten rm --purge --yes {name}"));
        }
    }
    host.run("rm -rf /srv/backups/* /root/b; mkdir -p /root/b");
    host
}

pub fn domain(name: &str) -> String {
    let (process, id) = name.split_once(':').expect("a name");
    format!("{id}.{process}.localhost")
}

pub fn note(host: &Host, name: &str, text: &str) {
    let answer = host.client().post(&domain(name), "/", text.as_bytes()).expect("an answer");
    assert_eq!(answer.status, 303, "{}", answer.text());
}

pub fn notes(host: &Host, name: &str) -> String {
    let answer = host.get(&domain(name), "/");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text()
}

pub fn uid_of(host: &Host, path: &str) -> String {
    host.run(&format!("stat -c %u {path}")).out.trim().to_owned()
}

pub fn pid(host: &Host, name: &str) -> Value {
    host.ten_json(&format!("show {name}"))["pid"].clone()
}

/// Nothing of a backup or a restore is left, once one that the schedule has begun meanwhile is through.
pub fn nothing_left(host: &Host) {
    until("nothing of a backup is left", PATIENCE, || {
        let left = host.run(
            "find /var/lib/tenement -maxdepth 2 -name '.restore-*' -o -maxdepth 2 -name '.new-*' -path '*/b*'; \
             ls -d /var/tmp/tenement-* 2>/dev/null; find /srv/backups -name '*.partial'; \
             systemctl list-units --all --no-legend 'ten-*.backup.service' 'ten-*.restore.service'; true",
        );
        if left.out.trim().is_empty() { Ok(()) } else { Err(left) }
    });
}
