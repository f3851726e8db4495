//! `ten` against the agent of another host: over its domain, with a token, and with errors that say what is wrong; alerts
//! over HTTPS; and an agent that is not ready.

use std::time::Duration;

use tenement_tests::host::Ran;
use tenement_tests::{Host, until};

const BOUND: Duration = Duration::from_secs(60);
const URL: &str = "--url http://localhost:8080 --token-file /root/remote.token";

fn host() -> &'static Host {
    let host = Host::the();
    if host.try_run("test -e /etc/tenement/conf.d/remote.toml").code != 0 {
        host.configure("remote.toml", "[process.rem]\ncommand = \"/srv/apps/hello-static\"\n");
        host.run("umask 077; ten -q token-gen --name remote --scope admin > /root/remote.token");
        host.run("umask 077; ten -q token-gen --name reader --scope read > /root/reader.token");
    }
    host
}

/// Runs `ten` without the admin socket being of any use.
fn ten(host: &Host, options: &str, command: &str) -> Ran {
    host.try_run(&format!("ten {options} {command}"))
}

fn refused(ran: &Ran, code: i32, word: &str) {
    assert_eq!(ran.code, code, "{ran:?}");
    assert!(ran.err.contains(word) && ran.err.contains("hint"), "`{word}`: {ran:?}");
}

#[test]
fn every_command_works_over_the_domain_with_a_token() {
    let host = host();
    let ok = |command: &str| {
        let ran = ten(host, URL, command);
        assert_eq!(ran.code, 0, "{command}: {ran:?}");
        ran.out
    };
    ok("spawn rem:a");
    assert!(ok("ps").contains("rem:a"));
    assert!(ok("--json show rem:a").contains("\"rem:a\""));
    assert!(ok("why rem:a").contains("rem:a is"));
    ok("sleep rem:a --force");
    ok("wake rem:a --wait healthy");
    ok("restart rem:a");
    ok("stop rem:a");
    ok("reset rem:a");
    ok("set rem:a requests_max=10");
    assert!(ok("history rem:a").contains("request") || !ok("history rem:a").is_empty());
    let set = host.feed(&format!("ten {URL} secret set rem:a KEY"), "value");
    assert_eq!(set.code, 0, "{set:?}");
    assert!(ok("secret ls rem:a").contains("KEY"));
    ok("secret rm rem:a KEY");
    ok("logs rem:a");
    ok("logs usage");
    assert!(ok("events -n 5").contains("rem:a"));
    for plain in [
        "config",
        "config reload",
        "processes",
        "processes rem",
        "metrics",
        "metrics history",
        "metrics history rem:a --since 10m",
        "logs histogram rem:a --buckets 5",
        "config check",
        "token ls",
        "token logout",
        "alerts",
        "top --once",
    ] {
        ok(plain);
    }
    host.run("mkdir -p /root/wrong && echo 'port = \"x\"' > /root/wrong/tenement.toml");
    refused(&ten(host, URL, "config check /root/wrong"), 1, "config has errors");
    assert!(ok("version").contains("(system)"));
    let by = host.ten_json("events rem:a --kind change -n 1");
    assert_eq!(by["events"][0]["actor"]["type"], "token", "{by}");
    ok("rm -y rem:a");
    // The environment says the same.
    let ran = host.run("TENEMENT_URL=http://localhost:8080 TENEMENT_TOKEN=$(cat /root/remote.token) ten -q ps; ten -q ps");
    assert_eq!(ran.code, 0);
}

#[test]
fn what_is_wrong_with_a_remote_agent_is_said() {
    let host = host();
    refused(&ten(host, "--url http://localhost:8080", "ps"), 2, "token");
    let with = |url: &str| format!("--url {url} --token-file /root/remote.token");
    refused(&ten(host, &with("http://localhost:8081"), "ps"), 5, "can't be reached");
    refused(&ten(host, &with("http://no-such-host.invalid"), "ps"), 5, "can't be reached");
    refused(&ten(host, &with("https://localhost:8080"), "ps"), 5, "can't be reached");
    refused(&ten(host, &with("localhost:8080"), "ps"), 2, "--url");
    refused(&ten(host, &with("http://localhost:8080/api"), "ps"), 2, "path");
    refused(&ten(host, &with("http://nobody.rem.localhost:8080"), "ps"), 5, "--url is the domain");
    host.run(
        "ip address show dev lo | grep -q 203.0.113.9 || ip address add 203.0.113.9/32 dev lo",
    );
    refused(&ten(host, &with("http://203.0.113.9:8080"), "ps"), 4, "in the clear");
    refused(&ten(host, &format!("{URL} --socket /run/tenement/admin.sock"), "ps"), 2, "--socket");
    refused(&ten(host, URL, "doctor"), 2, "this host");
    refused(&ten(host, URL, "show --security rem:a"), 2, "this host");
    let reader = "--url http://localhost:8080 --token-file /root/reader.token";
    assert_eq!(ten(host, reader, "ps").code, 0);
    refused(&ten(host, reader, "config reload"), 4, "scope");
    host.run("umask 077; echo ten_wrong_token > /root/wrong.token; cp /root/remote.token /root/open.token; chmod 644 /root/open.token");
    refused(
        &ten(host, "--url http://localhost:8080 --token-file /root/wrong.token", "ps"),
        4,
        "token",
    );
    refused(
        &ten(host, "--url http://localhost:8080 --token-file /root/open.token", "ps"),
        2,
        "chmod 600",
    );
    let told = ten(host, "--url http://localhost:8080 --token-file /root/wrong.token --json", "ps");
    assert!(!told.err.contains("ten_wrong_token"), "a token is never shown: {told:?}");
    let logs = ten(host, &with("http://localhost:8081"), "logs rem:a");
    assert_eq!(logs.code, 5, "no journal of this host is shown for another one: {logs:?}");
}

#[test]
fn an_agent_without_the_bus_is_not_ready_and_says_so_and_is_ready_again() {
    let host = host();
    let ready = || host.get("localhost", "/readyz");
    assert_eq!(ready().status, 200);
    let hurt = "systemctl mask --runtime --now tenement-unitd.service; systemctl stop dbus.socket dbus.service";
    let _ = host.try_run(hurt);
    let unready = until("it is not ready", BOUND, || {
        let answer = ready();
        if answer.status == 503 { Ok(answer.text()) } else { Err(answer.text()) }
    });
    assert!(unready.contains("not_ready"), "{unready}");
    assert_eq!(host.get("localhost", "/healthz").status, 200, "it still answers");
    host.run("systemctl unmask --runtime tenement-unitd.service; systemctl start dbus.socket dbus.service; systemctl restart tenement");
    until("it is ready again", BOUND, || {
        let answer = ready();
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    });
}

/// Answers over TLS, and notes the type of what came.
const RECEIVER: &str = r#"
import http.server, json, ssl
class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with open("/root/https.got", "a") as got:
            got.write("%s %s\n" % (body["type"], "signed" if self.headers["Tenement-Signature"] else "bare"))
        self.send_response(204)
        self.end_headers()
    def log_message(self, *args):
        pass
server = http.server.HTTPServer(("127.0.0.1", 9943), Hook)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/root/hook.crt", "/root/hook.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"#;

#[test]
fn alerts_reach_a_receiver_over_https_whose_certificate_the_host_trusts_and_no_other() {
    let host = host();
    host.run(
        "cd /root && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -keyout ca.key -out ca.crt -subj /CN=test-ca \
         && openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout hook.key -out hook.csr -subj /CN=localhost \
         && printf 'subjectAltName=DNS:localhost' > hook.ext \
         && openssl x509 -req -in hook.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile hook.ext -out hook.crt",
    );
    host.write("/root/receiver-tls.py", RECEIVER);
    host.run("rm -f /root/https.got");
    host.run("systemd-run --unit=https-receiver --collect python3 /root/receiver-tls.py");
    host.run("test -e /etc/tenement/alerts.secret || head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \\n' > /etc/tenement/alerts.secret");
    host.run(
        "chown root:tenement /etc/tenement/alerts.secret && chmod 640 /etc/tenement/alerts.secret",
    );
    host.run(
        "test ! -e /etc/tenement/conf.d/events.toml || mv /etc/tenement/conf.d/events.toml /root/",
    );
    let config = "[alerts]\nurl = \"https://localhost:9943/hook\"\nsecret_file = \"/etc/tenement/alerts.secret\"\n";
    host.configure("https.toml", config);
    let stranger = until("the receiver listens", BOUND, || {
        let told = host.try_run("ten alerts test");
        if told.err.contains("can't connect") { Err(told.err) } else { Ok(told) }
    });
    assert_ne!(stranger.code, 0, "{stranger:?}");
    assert!(stranger.err.to_lowercase().contains("certificate"), "{stranger:?}");
    host.run("cp /root/ca.crt /usr/local/share/ca-certificates/test-ca.crt && update-ca-certificates && systemctl restart tenement");
    let told = host.try_run("ten alerts test");
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(host.run("cat /root/https.got").out.trim(), "test signed");
    host.run("rm /etc/tenement/conf.d/https.toml /usr/local/share/ca-certificates/test-ca.crt; update-ca-certificates --fresh");
    host.run("systemctl stop https-receiver; test ! -e /root/events.toml || mv /root/events.toml /etc/tenement/conf.d/; ten config reload");
}

#[test]
fn a_secret_file_that_is_not_there_or_open_to_all_is_found_by_the_config_check() {
    let host = host();
    let config = "[alerts]\nurl = \"https://localhost/\"\nsecret_file = \"/etc/tenement/x.secret\"\n[process.a]\ncommand = \"/bin/true\"\n";
    host.write("/root/check.toml", config);
    host.run("rm -f /etc/tenement/x.secret");
    let missing = host.try_run("ten config check /root/check.toml");
    assert_ne!(missing.code, 0, "{missing:?}");
    assert!(format!("{}{}", missing.out, missing.err).contains("does not exist"), "{missing:?}");
    host.run("echo 0123456789abcdef > /etc/tenement/x.secret; chmod 644 /etc/tenement/x.secret");
    let open = host.try_run("ten config check /root/check.toml");
    assert!(format!("{}{}", open.out, open.err).contains("everybody"), "{open:?}");
    host.run("chmod 640 /etc/tenement/x.secret; ten config check /root/check.toml; rm /etc/tenement/x.secret");
}

#[test]
fn a_stranger_at_the_admin_socket_is_an_event() {
    let host = host();
    host.run("chmod 666 /run/tenement/admin.sock");
    let ran = host.try_run("setpriv --reuid 65534 --regid 65534 --clear-groups ten ps");
    host.run("chmod 660 /run/tenement/admin.sock");
    assert_eq!(ran.code, 4, "{ran:?}");
    let told = host.ten_json("events --kind refused --actor uid:65534 -n 1");
    let event = &told["events"][0];
    assert_eq!(
        (event["status"].as_u64(), event["address"].as_str()),
        (Some(403), Some("local")),
        "{told}"
    );
}
