//! Releases: made in a sandbox of their own, immutable, kept while they are needed.

use std::time::Duration;

use serde_json::Value;
use tenement_tests::host::Ran;
use tenement_tests::{Host, until};

/// The users that the host's user database has of us.
const USERS: &str = "ls /run/userdb 2>/dev/null | grep '\\.user$' | sort";

const CONFIG: &str = r#"
[process.rel]
command = "{release}/bin/server"
directory = "{release}"
listen = "port"
idle_timeout = 0

[process.rel.deploy]
build = ["sh", "./build"]
build_timeout = "20s"
build_memory_max = "64M"
upload_max = "4M"
keep = 1

[process.relnet]
command = "{release}/bin/server"
listen = "port"
[process.relnet.deploy]
build = ["sh", "./build"]
build_network = false

[process.relnone]
command = "/srv/apps/hello-static"
"#;

/// Answers with what its release holds; `/write` tries to change it.
const SERVER: &str = r#"#!/usr/bin/python3
import http.server, os
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        if self.path == "/write":
            body = ""
            for name in ("new", "version"):
                try:
                    open(home + "/" + name, "a").close()
                    body += "wrote " + name
                except OSError as error:
                    body += error.strerror + ";"
            try:
                os.chmod(home, 0o777)
                body += "changed"
            except OSError as error:
                body += error.strerror
        else:
            body = open(home + "/version").read() + os.environ["TENEMENT_RELEASE"]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Answer).serve_forever()
"#;

const APP: &str = "/srv/rel";

fn host() -> &'static Host {
    let host = Host::the();
    if host.try_run("test -e /etc/tenement/conf.d/releases.toml").code != 0 {
        host.write(&format!("{APP}/bin/server"), SERVER);
        host.write(&format!("{APP}/build"), "true");
        host.write(&format!("{APP}/version"), "first ");
        host.run(&format!("chmod 755 {APP}/bin/server"));
        host.configure("releases.toml", CONFIG);
    }
    host
}

/// An app with this build script and this version.
fn app(host: &Host, build: &str, version: &str) {
    host.write(&format!("{APP}/build"), build);
    host.write(&format!("{APP}/version"), &format!("{version} "));
}

fn deploy(host: &Host, process: &str, name: &str) -> Ran {
    host.try_run(&format!("ten deploy {process} {APP} --release {name}"))
}

fn deployed(host: &Host, process: &str, name: &str) {
    let ran = deploy(host, process, name);
    assert_eq!(ran.code, 0, "{ran:?}");
}

fn releases(host: &Host, process: &str) -> Vec<Value> {
    let list = host.ten_json(&format!("releases {process}"));
    list["releases"].as_array().expect("a list").clone()
}

fn names(host: &Host, process: &str) -> Vec<String> {
    let name = |one: &Value| one["name"].as_str().expect("a name").to_owned();
    releases(host, process).iter().map(name).collect()
}

fn release(host: &Host, process: &str, name: &str) -> Value {
    host.ten_json(&format!("releases show {process} {name}"))
}

#[test]
fn a1_without_a_release_an_instance_says_how_to_make_one() {
    let host = host();
    let ran = host.try_run("ten spawn rel:a");
    assert!(ran.err.contains("ten deploy rel"), "{ran:?}");
    for what in ["wake rel:a", "restart rel:a", "run rel:a -- true"] {
        let ran = host.try_run(&format!("ten {what}"));
        assert_eq!((ran.code, ran.err.contains("ten deploy rel")), (6, true), "{what}: {ran:?}");
    }
    assert_eq!(host.ten_json("show rel:a")["state"], "asleep", "no failure is counted against it");
    assert_eq!(host.get("a.rel.localhost", "/").status, 503);
    host.run("ten reset rel:a");
}

#[test]
fn a2_an_app_runs_from_its_release_and_moves_at_its_next_start() {
    let host = host();
    app(host, "echo built by $(id -un) in $PWD > built", "first");
    deployed(host, "rel", "v1");
    host.run("ten wake rel:a");
    assert_eq!(host.get("a.rel.localhost", "/").text(), "first v1");
    let built = host.run("cat /var/lib/tenement/releases/rel/v1/built").out;
    assert!(built.starts_with("built by ten-19"), "{built}");
    assert!(built.trim().ends_with("in /var/lib/tenement/releases/rel/v1"), "{built}");
    app(host, "true", "second");
    deployed(host, "rel", "v2");
    assert_eq!(host.get("a.rel.localhost", "/").text(), "first v1", "it still runs");
    assert!(host.run("ten why rel:a").out.contains("v1, then v2"));
    host.run("ten restart rel:a");
    assert_eq!(host.get("a.rel.localhost", "/").text(), "second v2");
    let shown = host.ten_json("show rel:a");
    assert_eq!((&shown["release"], &shown["service"]["release"]), (&"v2".into(), &"v2".into()));
    assert!(host.run("ten why rel:a").out.contains("v2"));
    assert!(host.run("ten ps rel --wide").out.contains(" v2 "));
    let v2 = release(host, "rel", "v2");
    assert_eq!((&v2["current"], &v2["running"][0]), (&true.into(), &"rel:a".into()));
    assert_eq!(release(host, "rel", "v1")["previous"], true);
}

#[test]
fn a3_nobody_but_root_can_change_a_release() {
    let host = host();
    host.run("ten wake rel:a");
    let tried = host.get("a.rel.localhost", "/write").text();
    assert!(!tried.contains("wrote") && !tried.contains("changed"), "{tried}");
    let found = host.run(
        "find /var/lib/tenement/releases ! -user root -o ! -group root -o -perm /022 ! -type l -o -perm /7000",
    );
    assert_eq!(found.out, "");
    assert_eq!(host.run("ls -A /var/lib/tenement/releases/rel | grep '^\\.' || true").out, "");
}

#[test]
fn b1_tar_files_and_git_references_become_releases() {
    let host = host();
    app(host, "true", "tar");
    for (name, flag) in [("t1", ""), ("t2", "-z"), ("t3", "--zstd")] {
        if flag == "--zstd" && host.try_run("command -v zstd").code != 0 {
            continue;
        }
        host.run(&format!(
            "tar -C {APP} {flag} -cf /tmp/rel.tar . && ten deploy rel /tmp/rel.tar --release {name}"
        ));
        assert_eq!(release(host, "rel", name)["state"], "ready");
    }
    host.run(&format!("tar -C {APP} -c . | ten deploy rel - --release t4"));
    if host.try_run("command -v git").code == 0 {
        host.run(&format!(
            "rm -rf /srv/repo && cp -r {APP} /srv/repo && cd /srv/repo && git init -q && git add . && \
             git -c user.name=t -c user.email=t@example.com commit -qm one && git tag g1"
        ));
        host.run("ten deploy rel --git /srv/repo --ref g1");
        let view = release(host, "rel", "g1");
        let commit = host.run("git -C /srv/repo rev-parse HEAD").out;
        assert_eq!(view["source"], format!("git g1 {}", commit.trim()));
        assert_eq!(host.try_run("test -e /var/lib/tenement/releases/rel/g1/.git").code, 1);
        let ran = host.try_run("ten deploy rel --git /srv/repo --ref none");
        assert!(ran.code == 1 && ran.err.contains("git says"), "{ran:?}");
    }
}

#[test]
fn b2_a_name_that_is_taken_and_a_wrong_upload_are_refused() {
    let host = host();
    let ran = deploy(host, "rel", "v2");
    assert_eq!(ran.code, 6, "{ran:?}");
    assert!(ran.err.contains("never changes"), "{ran:?}");
    let ran = host.feed("ten deploy rel - --release w1", &"no tar file ".repeat(100));
    assert!(ran.err.contains("no tar"), "{ran:?}");
    host.run("head -c 6000000 /dev/urandom > /srv/rel/large");
    let ran = deploy(host, "rel", "w2");
    host.run("rm /srv/rel/large");
    assert!(ran.code != 0 && ran.err.contains("upload_max"), "{ran:?}");
    host.run("cd /tmp && ln -sf ../../etc out && tar -cf out.tar out");
    let ran = host.try_run("ten deploy rel /tmp/out.tar --release w3");
    assert!(ran.code == 1 && ran.err.contains("leads out"), "{ran:?}");
    let ran = host.try_run("ten deploy relnone /srv/rel");
    assert!(ran.err.contains("mentions {release}"), "{ran:?}");
    for name in ["../x", ".x", "a b"] {
        assert_eq!(deploy(host, "rel", &format!("'{name}'")).code, 2, "{name}");
    }
    // An upload that breaks off leaves nothing, and the name is free.
    let cut = "(printf 'POST /api/v1/processes/rel/releases?name=w4 HTTP/1.1\\r\\nHost: localhost\\r\\n\
               Content-Length: 100000\\r\\n\\r\\n'; tar -C /srv/rel -c . | head -c 5000) | \
               timeout 20 python3 -c 'import socket,sys; s=socket.socket(socket.AF_UNIX); \
               s.connect(\"/run/tenement/admin.sock\"); s.sendall(sys.stdin.buffer.read()); s.close()'";
    host.run(cut);
    until("the upload is over", Duration::from_secs(10), || {
        let ran = deploy(host, "rel", "w4");
        if ran.code == 0 { Ok(()) } else { Err(ran.err) }
    });
    assert_eq!(host.run("ls /var/lib/tenement/_agent/builds/spool").out, "");
    assert_eq!(host.run("ls -A /var/lib/tenement/releases/rel | grep draft || true").out, "");
}

#[test]
fn c1_a_build_sees_nothing_of_tenants_and_reaches_no_socket_of_the_host() {
    let host = host();
    host.run("ten spawn relnone:t && echo secret > /var/lib/tenement/relnone/t/data");
    host.write("/srv/rel/look.py", LOOK);
    app(host, "python3 look.py", "look");
    deployed(host, "rel", "look");
    let log = host.run("ten releases log rel look").out;
    let seen = log.lines().find_map(|line| line.strip_prefix("SEEN ")).unwrap_or("nothing printed");
    assert_eq!(seen, "[]", "{log}");
    host.run("rm /srv/rel/look.py; ten rm -y --purge relnone:t");
}

/// Tries to see and to reach what a build must not.
const LOOK: &str = r#"
import os, socket
seen = []
def tries(what, attempt):
    try:
        attempt()
        seen.append(what)
    except OSError:
        pass
for path in ("/var/lib/tenement/relnone", "/var/lib/tenement/releases/rel/v1", "/var/lib/tenement/_agent",
             "/var/lib/tenement/_unitd", "/etc/tenement", "/run/tenement", "/root", "/var/log/journal"):
    tries("list " + path, lambda: os.listdir(path))
for path in ("/etc/shadow", "/etc/tenement/tenement.toml"):
    tries("read " + path, lambda: open(path).read(1))
for path in ("/etc/x", "/usr/x", "/var/lib/tenement/x", "/var/lib/tenement/releases/x", "/dev/shm/../x"):
    tries("write " + path, lambda: open(path, "w"))
def unix(path):
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
for path in ("/run/tenement/admin.sock", "/run/dbus/system_bus_socket", "/run/systemd/private"):
    tries("connect " + path, lambda: unix(path))
tries("connect the proxy", lambda: socket.create_connection(("127.0.0.1", 8080), 2))
tries("become root", lambda: os.setuid(0))
tries("signal", lambda: os.kill(1, 0))
print("SEEN", seen, flush=True)
"#;

#[test]
fn c2_a_build_without_network_has_none() {
    let host = host();
    app(
        host,
        "ip -o link 2>/dev/null | wc -l; cat /proc/net/route | wc -l; echo lo: $(ls /sys/class/net)",
        "net",
    );
    deployed(host, "relnet", "n1");
    let log = host.run("ten releases log relnet n1").out;
    assert!(log.contains("\n1\n"), "there is a route: {log}");
}

#[test]
fn c3_a_build_that_fails_or_takes_too_long_or_too_much_leaves_its_log_alone() {
    let host = host();
    host.run(&format!("{USERS} > /root/users"));
    app(host, "echo some words; exit 7", "bad");
    let ran = deploy(host, "rel", "bad");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("some words") && ran.err.contains("exit status 7"), "{ran:?}");
    assert_eq!(release(host, "rel", "bad")["state"], "failed");
    assert_eq!(host.try_run("test -e /var/lib/tenement/releases/rel/bad").code, 1);
    assert!(host.run("ten releases log rel bad").out.contains("some words"));
    let journal = host.run("journalctl -u ten-build-rel --no-pager -o cat").out;
    assert!(journal.contains("some words"), "{journal}");
    app(host, "sleep 60 & sleep 60", "slow");
    let ran = deploy(host, "rel", "slow");
    assert!(ran.code == 1 && ran.err.contains("build_timeout"), "{ran:?}");
    assert_eq!(
        host.try_run("pgrep -x sleep -u $(id -u ten-none 2>/dev/null || echo 1900000009)").code,
        1
    );
    // The name of one that failed is free.
    app(host, "true", "good");
    deployed(host, "rel", "bad");
    if host.try_run("grep -qw memory /sys/fs/cgroup/cgroup.controllers").code == 0 {
        app(host, "python3 -c 'b = bytearray(200 << 20)'", "large");
        let ran = deploy(host, "rel", "oom");
        assert_eq!(ran.code, 1, "{ran:?}");
    }
    let left = host.run(&format!("{USERS} | comm -13 /root/users - ; rm /root/users")).out;
    assert_eq!(left.trim(), "", "records of users of builds");
}

#[test]
fn d1_old_releases_go_and_those_that_are_needed_stay() {
    let host = host();
    app(host, "true", "d");
    deployed(host, "rel", "d1");
    host.run("ten restart rel:a");
    for name in ["d2", "d3", "d4", "d5"] {
        deployed(host, "rel", name);
    }
    // d1 is running, d5 current, d4 previous, d3 is the one that `keep` leaves.
    until("old releases are gone", Duration::from_secs(20), || {
        let ready: Vec<_> = releases(host, "rel")
            .iter()
            .filter(|r| r["state"] == "ready")
            .map(|r| r["name"].as_str().unwrap().to_owned())
            .collect();
        if ready == ["d5", "d4", "d3", "d1"] { Ok(()) } else { Err(format!("{ready:?}")) }
    });
    assert!(host.get("a.rel.localhost", "/").text().ends_with("d1"));
    let dirs = host.run("ls /var/lib/tenement/releases/rel").out;
    assert_eq!(dirs.split_whitespace().collect::<Vec<_>>(), ["d1", "d3", "d4", "d5"]);
    for (name, why) in [("d5", "runs from it"), ("d4", "rollback"), ("d1", "was started from it")] {
        let ran = host.try_run(&format!("ten releases rm rel {name}"));
        assert!(ran.code == 6 && ran.err.contains(why), "{name}: {ran:?}");
    }
    host.run("ten releases rm rel d3");
    assert!(!names(host, "rel").contains(&"d3".to_owned()));
    assert_eq!(host.try_run("ten releases rm rel d3").code, 3);
}

#[test]
fn d2_a_restart_of_the_agent_finds_what_is_there_and_what_is_not() {
    let host = host();
    app(host, "sleep 15", "cut");
    host.run(&format!("(ten deploy rel {APP} --release cut >/dev/null 2>&1 &)"));
    until("it is built", Duration::from_secs(10), || {
        if host.try_run("systemctl is-active ten-build-rel | grep -q activating").code == 0 {
            Ok(())
        } else {
            Err("no unit".to_owned())
        }
    });
    host.run("systemctl kill -s KILL tenement; mkdir -p /var/lib/tenement/releases/rel/stray");
    until("the cut release has failed", Duration::from_secs(30), || {
        let ran = host.try_run("ten releases show rel cut --json");
        let view: Value = serde_json::from_str(&ran.out).unwrap_or_default();
        if view["state"] == "failed" { Ok(()) } else { Err(ran.out + &ran.err) }
    });
    assert_eq!(host.try_run("ls -d /var/lib/tenement/releases/rel/*cut").code, 2);
    until("the stray one is told of", Duration::from_secs(10), || {
        let said = host.run("journalctl -u tenement --no-pager -o cat").out;
        if said.contains("stray of rel that nobody knows of") {
            Ok(())
        } else {
            Err("not yet".to_owned())
        }
    });
    host.run("rmdir /var/lib/tenement/releases/rel/stray");
    let current =
        releases(host, "rel").iter().find(|r| r["current"] == true).expect("one")["name"].clone();
    assert_eq!(current, "d5");
}

#[test]
fn d3_a_token_of_the_process_deploys_and_one_of_another_sees_nothing() {
    let host = host();
    let token = |of: &str| {
        host.run(&format!("ten token-gen --scope operator --process {of}")).out.trim().to_owned()
    };
    let (own, other) = (token("rel"), token("relnet"));
    let list = |token: &str| {
        host.run(&format!(
            "curl -s -o /tmp/answer -w '%{{http_code}}' -H 'Authorization: Bearer {token}' http://localhost:8080/api/v1/processes/rel/releases"
        )).out
    };
    assert_eq!((list(&own).as_str(), list(&other).as_str()), ("200", "403"));
    app(host, "true", "by token");
    host.write("/tmp/token", &own);
    host.run(&format!("chmod 600 /tmp/token; ten --url http://localhost:8080 --token-file /tmp/token deploy rel {APP} --release tok"));
    let by = release(host, "rel", "tok")["by"].clone();
    assert!(by.as_str().unwrap().starts_with("token"), "{by}");
}
