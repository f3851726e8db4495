//! Events and alerts on a real host: who did what is told, a crash loop reaches the receiver of alerts, signed.

use std::time::Duration;

use serde_json::Value;
use tenement_tests::{Host, until};

const BOUND: Duration = Duration::from_secs(60);

const CONFIG: &str = r#"
[alerts]
url = "http://127.0.0.1:9911/hook"
secret_file = "/etc/tenement/alerts.secret"
window = "10m"

[process.evt]
command = "/srv/apps/hello-static"

[process.evtq]
command = "/srv/apps/hello-static"
disk_max = "4M"
idle_timeout = 0

[process.evtcrash]
command = "/bin/false"
idle_timeout = 0
"#;

/// Refuses the first post with 503 and checks the signature of each with openssl's words: HMAC-SHA256 over `t.body`.
const RECEIVER: &str = r#"
import hashlib, hmac, http.server, json
SECRET = open("/etc/tenement/alerts.secret", "rb").read().strip()
class Hook(http.server.BaseHTTPRequestHandler):
    count = 0
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        parts = dict(part.split("=", 1) for part in self.headers["Tenement-Signature"].split(","))
        good = hmac.new(SECRET, parts["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
        Hook.count += 1
        status = 503 if Hook.count == 1 else 200
        alert = json.loads(body)
        with open("/root/alerts.got", "a") as got:
            got.write(json.dumps({"status": status, "signed": hmac.compare_digest(good, parts["v1"]),
                                  "id": self.headers["Tenement-Alert-Id"], "alert": alert}) + "\n")
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *args):
        pass
http.server.HTTPServer(("127.0.0.1", 9911), Hook).serve_forever()
"#;

fn host() -> &'static Host {
    let host = Host::the();
    if host.try_run("test -e /etc/tenement/conf.d/events.toml").code != 0 {
        host.run("openssl rand -hex 32 > /etc/tenement/alerts.secret 2>/dev/null || head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \\n' > /etc/tenement/alerts.secret");
        host.run("chown root:tenement /etc/tenement/alerts.secret && chmod 640 /etc/tenement/alerts.secret");
        host.write("/root/receiver.py", RECEIVER);
        host.run("systemd-run --unit=alert-receiver --collect python3 /root/receiver.py");
        host.configure("events.toml", CONFIG);
    }
    host
}

fn events(host: &Host, arguments: &str) -> Vec<Value> {
    host.ten_json(&format!("events {arguments}"))["events"].as_array().cloned().unwrap_or_default()
}

#[test]
fn every_change_says_who_made_it_and_outlives_a_kill_of_the_agent() {
    let host = host();
    host.run("ten spawn evt:a --no-start && ten wake evt:a && ten rm -y evt:a");
    host.run("systemctl kill -s KILL tenement");
    let said = until("the agent is back with its events", BOUND, || {
        let ran = host.try_run("ten --json events evt:a --kind change");
        let page: Value = serde_json::from_str(&ran.out).map_err(|error| error.to_string())?;
        let events = page["events"].as_array().ok_or("no events")?;
        let said: Vec<String> =
            events.iter().map(|event| event["message"].as_str().unwrap_or("").to_owned()).collect();
        for event in events {
            assert_eq!(
                (event["actor"]["type"].as_str(), event["actor"]["id"].as_str()),
                (Some("uid"), Some("0"))
            );
            assert_eq!(event["address"], "local");
        }
        if said.len() >= 3 { Ok(said) } else { Err(format!("{said:?}")) }
    });
    assert_eq!(said[..3], ["remove evt:a: done", "wake evt:a: done", "spawn evt:a: done"]);
    let text = host.run("ten events evt:a -n 1 --kind change").out;
    assert!(text.contains("uid:0") && text.contains("remove evt:a: done"), "{text}");
    assert!(!events(host, "--kind agent").is_empty());
    assert!(!events(host, "evt --kind state --since 1h").is_empty());
}

#[test]
fn ten_events_follows_across_a_restart_of_the_agent_without_loss_or_repeat() {
    let host = host();
    host.run("systemd-run --unit=follower --collect sh -c 'exec ten --json events evt -f -n 1 --kind change > /root/followed 2>&1'");
    host.run("ten spawn evt:f --no-start");
    let lines = |count: usize| {
        until("the follower has got them", BOUND, || {
            let text = host.run("cat /root/followed").out;
            let ids: Vec<u64> = text
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok())
                .filter(|event| {
                    event["message"].as_str().is_some_and(|said| said.contains("evt:f"))
                })
                .filter_map(|event| event["id"].as_u64())
                .collect();
            if ids.len() >= count { Ok(ids) } else { Err(text) }
        })
    };
    lines(1);
    host.run("systemctl restart tenement && ten rm -y evt:f");
    let ids = lines(2);
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
    let _ = host.try_run("systemctl stop follower");
}

#[test]
fn a_crash_loop_reaches_the_receiver_signed_and_once() {
    let host = host();
    let _ = host.try_run("ten spawn evtcrash:a");
    let got = until("an alert of the crash loop is taken", BOUND, || {
        let text = host.try_run("cat /root/alerts.got").out;
        let got: Vec<Value> =
            text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let taken = got.iter().any(|one| {
            one["status"] == 200
                && ["wake-failed", "restart-loop", "failed"]
                    .contains(&one["alert"]["type"].as_str().unwrap_or(""))
        });
        if taken { Ok(got) } else { Err(text) }
    });
    assert!(got.iter().all(|one| one["signed"] == true), "{got:?}");
    assert!(got.iter().all(|one| one["id"] == one["alert"]["id"]), "{got:?}");
    let first = &got[0];
    assert_eq!(first["status"], 503);
    until("what was refused is sent again", BOUND, || {
        let text = host.run("cat /root/alerts.got").out;
        let id = first["id"].as_str().unwrap_or("?");
        if text.matches(&format!("\"id\": \"{id}\", \"alert\"")).count() >= 2 {
            Ok(())
        } else {
            Err(text)
        }
    });
    let told = host.run("ten alerts test");
    assert_eq!(told.code, 0);
    let view = host.ten_json("alerts");
    assert_eq!(view["configured"], true);
    assert!(view["sent"].as_u64().is_some_and(|sent| sent >= 1), "{view}");
    assert!(
        !events(host, "--kind wake-failed --kind restart-loop --kind failed").is_empty()
            || !events(host, "evtcrash").is_empty()
    );
    let _ = host.try_run("ten rm -y evtcrash:a");
}

#[test]
fn reloads_long_operations_and_quotas_are_events() {
    let host = host();
    let told = |what: &str, of: &str, words: &str, bound: Duration| {
        until(what, bound, || {
            let events = events(host, of);
            let said = events.iter().any(|event| {
                event["message"].as_str().is_some_and(|message| message.contains(words))
            });
            if said { Ok(()) } else { Err(format!("{events:?}")) }
        });
    };
    host.run("ten config reload");
    told("a reload is told", "--kind config -n 5", "the config was reloaded", BOUND);
    host.write("/etc/tenement/conf.d/wrong.toml", "[process.wrong]\n");
    assert_ne!(host.try_run("ten config reload").code, 0);
    told("a refusal is told", "--kind config -n 5", "a config was refused", BOUND);
    host.run("rm /etc/tenement/conf.d/wrong.toml && ten config reload");

    host.run("ten spawn evt:o && ten restart evt:o && ten rm -y evt:o");
    told("the steps are told", "evt:o --kind operation", "restarted evt:o (2 of 2)", BOUND);

    host.run("ten spawn evtq:a");
    let data = host.ten_json("show evtq:a")["data_dir"].as_str().unwrap().to_owned();
    host.run(&format!("head -c 6000000 /dev/zero > {data}/much"));
    // It is measured once a minute.
    told("the quota is told", "evtq:a --kind quota", "disk_max", Duration::from_secs(150));
    host.run("ten rm -y --purge evtq:a");
}
