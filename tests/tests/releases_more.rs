//! Releases of git repositories; builds that fill what they have; what jobs and commands run from; ways back.

use std::time::Duration;

use serde_json::Value;
use tenement_tests::host::Ran;
use tenement_tests::{Host, until};

const CONFIG: &str = r#"
[process.rmore]
command = "{release}/server"
directory = "{release}"
listen = "port"
idle_timeout = 0
startup_timeout = "5s"

[process.rmore.deploy]
build = ["sh", "./build"]
build_timeout = "60s"
build_memory_max = "64M"
build_tmp_max = "8M"
keep = 0
release_command = ["sh", "{release}/migrate"]

[process.rmore.cron.nightly]
schedule = "2099-01-01 03:00:00"
command = ["sh", "{release}/job"]
"#;

const SERVER: &str = r#"#!/usr/bin/python3
import http.server, os
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = os.environ["TENEMENT_RELEASE"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Answer).serve_forever()
"#;

const APP: &str = "/srv/rmore";
const BOUND: Duration = Duration::from_secs(40);

fn host() -> &'static Host {
    let host = Host::the();
    if host.try_run("test -e /etc/tenement/conf.d/rmore.toml").code != 0 {
        host.write(&format!("{APP}/server"), SERVER);
        host.write(&format!("{APP}/build"), "true");
        host.write(&format!("{APP}/migrate"), "echo \"$TENEMENT_RELEASE\" >> $DATA_DIR/migrated\n");
        host.write(&format!("{APP}/job"), "sleep 600\n");
        host.run(&format!("chmod 755 {APP}/server"));
        host.configure("rmore.toml", CONFIG);
    }
    host
}

fn build(host: &Host, script: &str) {
    host.write(&format!("{APP}/build"), script);
}

fn deploy(host: &Host, name: &str, how: &str) -> Ran {
    host.try_run(&format!("ten --timeout 120 deploy rmore {APP} --release {name} {how}"))
}

fn deployed(host: &Host, name: &str, how: &str) {
    let ran = deploy(host, name, how);
    assert_eq!(ran.code, 0, "{ran:?}");
}

fn release(host: &Host, name: &str) -> Value {
    host.ten_json(&format!("releases show rmore {name}"))
}

fn of_git(host: &Host, repository: &str, reference: &str) -> Ran {
    host.try_run(&format!("ten deploy rmore --git {repository} --ref {reference} --upload-only"))
}

#[test]
fn a1_tags_branches_short_commits_and_bare_repositories_become_releases() {
    let host = host();
    build(host, "true");
    assert_eq!(host.try_run("command -v git").code, 0, "packages.list has git");
    let git = "git -c user.name=t -c user.email=t@example.com -C /srv/repo";
    host.run(&format!(
        "rm -rf /srv/repo /srv/bare.git && cp -r {APP} /srv/repo && git init -q -b main /srv/repo && {git} add . && \
         {git} commit -qm one && {git} tag g1 && {git} tag -a g2 -m annotated && {git} branch next && \
         echo more > /srv/repo/more && {git} add . && {git} commit -qm two && \
         git clone -q --bare /srv/repo /srv/bare.git"
    ));
    let commit = |of: &str| host.run(&format!("git -C /srv/repo rev-parse {of}^{{commit}}")).out;
    let (first, second) = (commit("g1").trim().to_owned(), commit("main").trim().to_owned());
    for (repository, reference, name, of) in [
        ("/srv/repo", "g1", "g1", &first),
        ("/srv/repo", "g2", "g2", &first),
        ("/srv/repo", "next", &first[..12], &first),
        ("/srv/bare.git", &second[..7], &second[..12], &second),
    ] {
        let ran = of_git(host, repository, reference);
        assert_eq!(ran.code, 0, "{repository} {reference}: {ran:?}");
        let view = release(host, name);
        assert_eq!(view["source"], format!("git {reference} {of}"), "{view}");
        let files = host.run(&format!("ls -A /var/lib/tenement/releases/rmore/{name}")).out;
        assert!(!files.contains(".git\n"), "{files}");
        assert_eq!(files.contains("more"), of == &second, "{reference}: {files}");
        host.run(&format!("ten releases rm rmore {name}"));
    }
    let ran = of_git(host, "/srv/repo", "none");
    assert!(ran.code == 1 && ran.err.contains("git says"), "{ran:?}");
    let ran = of_git(host, "/srv/rmore", "HEAD");
    assert!(ran.code == 1 && ran.err.contains("not a git repository"), "{ran:?}");
}

#[test]
fn a2_a_repository_of_somebody_else_is_refused_with_what_to_do_and_works_then() {
    let host = host();
    host.run("rm -rf /srv/theirs && cp -r /srv/repo /srv/theirs && chown -R nobody /srv/theirs");
    let ran = of_git(host, "/srv/theirs", "g1");
    assert!(ran.code == 1 && ran.err.contains("safe.directory"), "{ran:?}");
    host.run("git config --global --add safe.directory /srv/theirs");
    let ran = of_git(host, "/srv/theirs", "g1");
    assert_eq!(ran.code, 0, "{ran:?}");
    host.run("git config --global --unset-all safe.directory; ten releases rm rmore g1");
}

#[test]
fn b1_a_build_that_fills_its_tmp_fails_and_the_host_has_as_much_room_as_before() {
    let host = host();
    let room = || -> u64 {
        let free = host.run("df --output=avail -k /tmp | tail -n 1").out;
        free.trim().parse().expect("a number")
    };
    build(host, "head -c 300000000 /dev/zero > /tmp/large || { df -k /tmp >&2; exit 9; }");
    let before = room();
    let ran = deploy(host, "full", "--upload-only");
    assert!(ran.code == 1 && ran.err.contains("No space left"), "{ran:?}");
    assert!(ran.err.contains("exit status 9"), "{ran:?}");
    assert!(before.saturating_sub(room()) < 50_000, "{before} kB before, {} after", room());
    build(host, "head -c 300000000 /dev/zero > /var/tmp/large || exit 9");
    assert_eq!(deploy(host, "full", "--upload-only").code, 1);
    build(host, "head -c 3000000 /dev/zero > $HOME/small && test -w /tmp && test -w /dev/shm");
    assert_eq!(deploy(host, "full", "--upload-only").code, 0, "what fits is fine");
    host.run("ten releases rm rmore full");
}

#[test]
fn b2_a_build_that_needs_too_much_memory_is_killed_where_memory_can_be_bounded() {
    let host = host();
    build(host, "python3 -c 'b = bytearray(300 << 20); print(len(b))'");
    let ran = deploy(host, "oom", "--upload-only");
    let bounded = host.try_run("grep -qw memory /sys/fs/cgroup/cgroup.controllers").code == 0;
    if bounded {
        assert!(ran.code == 1 && ran.err.contains("build_memory_max"), "{ran:?}");
    }
    let _ = host.try_run("ten releases rm rmore oom");
}

#[test]
fn b3_what_a_build_leaves_running_is_killed_and_does_not_fail_it() {
    let host = host();
    build(host, "(trap '' TERM; sleep 500) & sleep 0");
    let ran = deploy(host, "left", "--upload-only");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(host.try_run("pgrep -fx 'sleep 500'").code, 1, "it runs on");
    host.run("ten releases rm rmore left");
}

#[test]
fn b4_a_sparse_file_in_pax_format_is_refused_by_name_and_hard_links_are_not() {
    let host = host();
    build(host, "true");
    host.run(&format!(
        "cd {APP} && truncate -s 4M hole && echo x >> hole && ln -f server twin && \
         tar --format=posix -S -cf /tmp/sparse.tar hole && rm hole && tar -cf /tmp/links.tar . && rm twin"
    ));
    let ran = host.try_run("ten deploy rmore /tmp/sparse.tar --release sparse --upload-only");
    assert!(ran.code == 1 && ran.err.contains("--sparse"), "{ran:?}");
    host.run("ten deploy rmore /tmp/links.tar --release links --upload-only");
    let links = host.run("stat -c %h /var/lib/tenement/releases/rmore/links/twin").out;
    assert_eq!(links.trim(), "2");
    host.run("ten releases rm rmore links");
}

#[test]
fn c1_a_release_that_is_there_is_deployed_by_its_name_and_back_and_forth() {
    let host = host();
    build(host, "true");
    deployed(host, "v1", "");
    host.run("ten spawn rmore:a && ten wake rmore:a");
    deployed(host, "v2", "--upload-only");
    host.run("ten deploy rmore --release v2 --now");
    assert_eq!(host.get("a.rmore.localhost", "/").text(), "v2");
    host.run("ten rollback rmore --now");
    assert_eq!(host.get("a.rmore.localhost", "/").text(), "v1");
    host.run("ten rollback rmore --now && ten pin rmore:a v2");
    assert_eq!(host.get("a.rmore.localhost", "/").text(), "v2");
    host.run("ten unpin rmore:a");
    // Both commands once, however often it went back.
    assert_eq!(host.run("cat /var/lib/tenement/rmore/a/migrated").out, "v1\nv2\n");
    let ran = host.try_run("ten deploy rmore --release v9");
    assert!(ran.code != 0 && ran.err.contains("no release v9"), "{ran:?}");
    let ran = host.try_run("ten deploy rmore --release v2 --upload-only");
    assert!(ran.code == 2, "{ran:?}");
    // Over the API it is a deployment, too.
    let use_v1 = "curl -s -X POST --unix-socket /run/tenement/admin.sock http://localhost/api/v1/processes/rmore/releases/v1/use";
    assert!(host.run(use_v1).out.contains("\"current\":true"));
    let last = host.ten_json("deploys rmore")["deploys"][0].clone();
    assert_eq!((&last["release"], &last["strategy"]), (&"v1".into(), &"in-place".into()), "{last}");
}

#[test]
fn c2_what_a_job_and_a_command_run_from_stays_until_they_have_ended() {
    let host = host();
    build(host, "true");
    deployed(host, "j1", "--now");
    until("its timer is made from it", BOUND, || {
        let unit = host.run("systemctl show -P Environment 'ten-rmore@a.cron-nightly.service'").out;
        if unit.contains("TENEMENT_RELEASE=j1") { Ok(()) } else { Err(unit) }
    });
    host.run("ten cron run rmore:a nightly > /dev/null 2>&1 & sleep 0");
    host.run("ten run rmore:a -- sleep 600 > /dev/null 2>&1 & sleep 0");
    until("both run", BOUND, || {
        let units =
            host.run("systemctl list-units --plain --no-legend 'ten-rmore@a.*.service'").out;
        if units.lines().filter(|l| l.contains("activating")).count() == 2 {
            Ok(())
        } else {
            Err(units)
        }
    });
    for name in ["j2", "j3", "j4"] {
        deployed(host, name, "--now");
    }
    let ran = host.try_run("ten releases rm rmore j1");
    assert!(ran.code == 6 && ran.err.contains("runs from it"), "{ran:?}");
    assert_eq!(host.try_run("test -d /var/lib/tenement/releases/rmore/j1").code, 0);
    // Not while they write to its data, either.
    host.run(
        "systemctl kill -s KILL 'ten-rmore@a.cron-nightly.service'; pkill -fx 'sleep 600' || true",
    );
    until("nothing needs it", BOUND, || {
        let ran = host.try_run("ten releases rm rmore j1");
        if [0, 3].contains(&ran.code) { Ok(()) } else { Err(ran.err) }
    });
}

#[test]
fn c3_a_deployment_that_hangs_in_its_command_can_be_ended() {
    let host = host();
    build(host, "true");
    deployed(host, "h1", "--now");
    host.write(&format!("{APP}/migrate"), "sleep 500\n");
    host.run(&format!("ten deploy rmore {APP} --release h2 --now --detach"));
    let id = host.ten_json("deploys rmore")["deploys"][0]["id"].as_str().expect("an id").to_owned();
    until("its command runs", BOUND, || {
        let units =
            host.run("systemctl list-units --plain --no-legend 'ten-rmore@a.release-*'").out;
        if units.is_empty() { Err("none".to_owned()) } else { Ok(()) }
    });
    host.run(&format!("ten deploys rmore {id} --abort"));
    host.write(&format!("{APP}/migrate"), "echo \"$TENEMENT_RELEASE\" >> $DATA_DIR/migrated\n");
    assert_eq!(host.ten_json(&format!("deploys rmore {id}"))["state"], "aborted");
    assert_eq!(host.get("a.rmore.localhost", "/").text(), "h1");
    assert_eq!(host.try_run("pgrep -fx 'sleep 500'").code, 1, "its command runs on");
}

#[test]
fn d1_releases_of_a_process_that_is_gone_from_the_config_can_be_removed() {
    let host = host();
    host.run("ten rm -y --purge rmore:a; rm /etc/tenement/conf.d/rmore.toml; ten config reload");
    let list = host.ten_json("releases --process rmore");
    for one in list["releases"].as_array().expect("a list") {
        host.run(&format!("ten releases rm rmore {}", one["name"].as_str().expect("a name")));
    }
    assert_eq!(host.run("ls -A /var/lib/tenement/releases/rmore").out, "");
}
