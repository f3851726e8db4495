//! Secrets: the app has them, and nobody and nothing else.

use std::time::Duration;

use tenement_tests::{Host, until};

/// An app that answers with a file's content: by its whole path, or by name from its credentials.
const APP: &str = r#"
import http.server, os
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        home = os.environ.get("CREDENTIALS_DIRECTORY", "/nonexistent")
        path = self.path if self.path.startswith("/run/") else home + self.path
        try:
            status, body = 200, open(path, "rb").read()
        except OSError as error:
            status, body = 404, str(error).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Answer).serve_forever()
"#;

const CONFIG: &str = r#"
[process.scred]
command = "python3 /srv/apps/cred.py"
listen = "port"
idle_timeout = 0
credentials = { FROM_FILE = "/etc/tenement/secrets/file", SEALED = { encrypted = "/etc/tenement/secrets/sealed" } }

[process.sdyn]
command = "python3 /srv/apps/cred.py"
listen = "port"
user = "dynamic"
idle_timeout = 0

[process.swith]
command = "/srv/apps/hello-static"
idle_timeout = 0

[process.swithout]
command = "/srv/apps/hello-static"
idle_timeout = 0
"#;

fn host() -> &'static Host {
    let host = Host::the();
    if host.try_run("test -e /etc/tenement/conf.d/secrets.toml").code != 0 {
        host.write("/srv/apps/cred.py", APP);
        host.write("/etc/tenement/secrets/file", "of a file");
        host.run("chmod 600 /etc/tenement/secrets/file");
        let seal =
            "systemd-creds encrypt --with-key=host --name=SEALED - /etc/tenement/secrets/sealed";
        assert_eq!(host.feed(seal, "was sealed").code, 0);
        host.configure("secrets.toml", CONFIG);
        host.run("ten spawn scred:a scred:b sdyn:a swith:a swithout:a");
    }
    host
}

fn set(host: &Host, instance: &str, name: &str, value: &str) {
    let ran = host.feed(&format!("ten secret set {instance} {name}"), value);
    assert_eq!(ran.code, 0, "{ran:?}");
}

fn asleep(host: &Host, instance: &str) {
    host.run(&format!("ten sleep --force {instance}"));
}

/// Something that stands nowhere by chance.
fn marker(host: &Host) -> String {
    host.run("head -c 24 /dev/urandom | base64 | tr -d '+/=\\n'").out
}

#[test]
fn an_app_reads_its_secrets_and_a_change_counts_from_the_next_start() {
    let host = host();
    assert_eq!(host.get("a.scred.localhost", "/FROM_FILE").text(), "of a file");
    assert_eq!(host.get("a.scred.localhost", "/SEALED").text(), "was sealed");
    for value in ["first", "second, with \"quotes\" and %n $HOME\n"] {
        set(host, "scred:a", "API_KEY", value);
        asleep(host, "scred:a");
        host.run("systemctl daemon-reload");
        assert_eq!(host.get("a.scred.localhost", "/API_KEY").text(), value);
    }
    // What is set for one instance stands before what the config says for all.
    set(host, "scred:a", "FROM_FILE", "of its own");
    asleep(host, "scred:a");
    assert_eq!(host.get("a.scred.localhost", "/FROM_FILE").text(), "of its own");
    assert_eq!(host.get("b.scred.localhost", "/FROM_FILE").text(), "of a file");
    host.run("ten secret rm scred:a FROM_FILE");
    asleep(host, "scred:a");
    assert_eq!(host.get("a.scred.localhost", "/FROM_FILE").text(), "of a file");
    // A user that systemd makes up has them as well.
    set(host, "sdyn:a", "API_KEY", "dynamic");
    asleep(host, "sdyn:a");
    assert_eq!(host.get("a.sdyn.localhost", "/API_KEY").text(), "dynamic");
}

#[test]
fn another_instance_cannot_read_them() {
    let host = host();
    set(host, "scred:a", "PRIVATE", "mine");
    asleep(host, "scred:a");
    assert_eq!(host.get("a.scred.localhost", "/PRIVATE").text(), "mine");
    let path = "/run/credentials/ten-scred@a.service/PRIVATE";
    assert_eq!(host.get("a.scred.localhost", path).text(), "mine", "its own, by the whole path");
    let refused = host.get("b.scred.localhost", path);
    assert_eq!(refused.status, 404, "{}", refused.text());
    assert_eq!(host.get("b.scred.localhost", "/PRIVATE").status, 404);
    let stored = host
        .run("find /var/lib/tenement/_unitd/secrets -type d ! -perm 700 -o -type f ! -perm 600");
    assert_eq!(stored.out, "");
}

#[test]
fn a_value_is_nowhere_in_clear() {
    let host = host();
    let marker = marker(host);
    // In a file, or the search would find itself. Nothing looks into /dev/shm.
    host.write("/dev/shm/marker", &format!("{marker}\n"));
    host.run("busctl --system monitor >/dev/shm/bus 2>/dev/null & echo $! >/dev/shm/bus.pid");
    until("the bus is listened to", Duration::from_secs(10), || {
        let _ = host.run("ten secret ls scred:a");
        let heard = host.try_run("grep -q Units1 /dev/shm/bus");
        if heard.code == 0 { Ok(()) } else { Err(heard) }
    });
    set(host, "scred:a", "HIDDEN", &marker);
    asleep(host, "scred:a");
    assert_eq!(host.get("a.scred.localhost", "/HIDDEN").text(), marker);
    until("the bus has told of it", Duration::from_secs(10), || {
        let heard =
            host.try_run("grep -aq set_secret -i /dev/shm/bus || grep -aq SetSecret /dev/shm/bus");
        if heard.code == 0 { Ok(()) } else { Err(heard) }
    });
    host.run("kill $(cat /dev/shm/bus.pid)");
    // The control: where it has to be, the search finds it.
    let found = host.run("grep -rlFf /dev/shm/marker /run/credentials/ten-scred@a.service");
    assert!(found.out.contains("HIDDEN"), "{found:?}");
    for place in [
        "systemctl show 'ten-scred@a.service' 'ten-scred@a.socket'",
        "systemctl cat 'ten-scred@a.service'",
        "cat /run/systemd/transient/ten-scred@a.service",
        "cat /run/systemd/transient/*/* /run/systemd/transient/* 2>/dev/null",
        "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null",
        "journalctl --sync; journalctl --all -o export",
        "cat /dev/shm/bus",
        "find /var/lib/tenement /run/tenement /etc/tenement -type f -exec cat {} +",
        "ten secret ls scred:a --json; ten show scred:a --json; ten config --json",
    ] {
        let found = host.try_run(&format!("{{ {place}; }} | grep -aqFf /dev/shm/marker"));
        assert_eq!(found.code, 1, "the value is in: {place}: {found:?}");
    }
    assert_eq!(host.ten_json("secret ls scred:a")["secrets"][0]["encrypted"], true);
}

#[test]
fn what_is_no_secret_is_refused_with_the_reason() {
    let host = host();
    let tried = |command: &str, input: &str| {
        let ran = host.feed(command, input);
        assert_ne!(ran.code, 0, "{command}: {ran:?}");
        ran.err
    };
    assert!(tried("ten secret set scred:a a/b", "x").contains("not the name of a secret"));
    assert!(tried("ten secret set scred:a K", "").contains("empty"));
    assert!(tried("ten secret set scred:nope K", "x").contains("no instance"));
    assert!(tried("ten secret rm scred:a NOPE", "").contains("NOPE"));
    let long = "head -c 524289 /dev/zero | ten secret set scred:a K";
    let said = tried(long, "");
    assert!(said.contains("524288 bytes (512 KiB)") && said.contains("systemd 252"), "{said}");
    assert!(said.contains("hint: keep large files in the data directory"), "{said}");
    let raw = "curl -sS -o /dev/null -w '%{http_code}' --unix-socket /run/tenement/admin.sock -X PUT --data-binary x http://localhost/api/v1/instances/scred:a/secrets/..%2Fx";
    assert_eq!(host.run(raw).out, "400");
    host.run("head -c 524288 /dev/zero | tr '\\0' x | ten secret set scred:b LONG");
    asleep(host, "scred:b");
    assert_eq!(host.get("b.scred.localhost", "/LONG").body.len(), 524_288);
    let more = "head -c 524288 /dev/zero | ten secret set scred:b MORE";
    let said = tried(more, "");
    assert!(
        said.contains("100 of 1000000 bytes in all") && said.contains("ten secret rm"),
        "{said}"
    );
    host.run("ten secret rm scred:b LONG");
    let text = "[process.x]\ncommand = \"/bin/true\"\ncredentials = { A = \"/etc/tenement/secrets/none\" }\n";
    host.write("/root/none.toml", text);
    let checked = host.try_run("ten config check /root/none.toml");
    assert!(checked.code != 0 && format!("{checked:?}").contains("does not exist"), "{checked:?}");
}

#[test]
fn credentials_beyond_what_systemd_hands_over_are_refused_with_the_limit() {
    let host = host();
    host.run("cd /etc/tenement/secrets && for n in 1 2; do head -c 600000 /dev/zero > $n; done; chmod 600 1 2");
    let text = "[process.sbig]\ncommand = \"/srv/apps/hello-static\"\n\
                [process.sbig.credentials]\nONE = \"/etc/tenement/secrets/1\"\n";
    host.configure("sbig.toml", &format!("{text}TWO = \"/etc/tenement/secrets/2\"\n"));
    let ran = host.try_run("ten spawn sbig:a");
    assert_ne!(ran.code, 0);
    let said = ran.err;
    assert!(said.contains("about 1200000 bytes") && said.contains("1048576 at most"), "{said}");
    host.configure("sbig.toml", text);
    host.run("ten wake sbig:a");
    host.run("ten rm sbig:a; rm /etc/tenement/conf.d/sbig.toml; ten config reload");
}

#[test]
fn removal_keeps_secrets_and_a_purge_deletes_them() {
    let host = host();
    let files = "find /var/lib/tenement/_unitd/secrets/scred/gone -type f 2>/dev/null | wc -l";
    host.run("ten spawn scred:gone --no-start");
    set(host, "scred:gone", "KEY", "kept");
    host.run("ten rm scred:gone");
    assert_eq!(host.run(files).out.trim(), "1");
    host.run("ten spawn scred:gone");
    assert_eq!(host.get("gone.scred.localhost", "/KEY").text(), "kept");
    host.run("ten rm --purge --yes scred:gone");
    assert_eq!(host.run(files).out.trim(), "0");
    assert_eq!(
        host.run("test -e /var/lib/tenement/_unitd/secrets/scred/gone || echo no").out,
        "no\n"
    );
}

#[test]
fn what_a_secret_costs_a_wake_is_measured() {
    let host = host();
    set(host, "swith:a", "KEY", "x");
    let wake = |name: &str| {
        let mut all: Vec<f64> = (0..15)
            .map(|_| {
                asleep(host, &format!("{name}:a"));
                let (status, took) =
                    Host::timed(|| host.get(&format!("a.{name}.localhost"), "/").status);
                assert_eq!(status, 200);
                took.as_secs_f64() * 1_000.0
            })
            .collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let (without, with) = (wake("swithout"), wake("swith"));
    println!("wake: {without:.1} ms without a secret, {with:.1} ms with one (encrypted)");
}
