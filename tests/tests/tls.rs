//! HTTPS on the installed package: sockets, certificates of the operator's own and of the host's own CA.

use std::sync::Once;
use std::time::Duration;

use tenement_tests::{Host, until};

const CONFIG: &str = r#"
[tls]
internal = true
internal_names = ["intranet.lan", "*.intranet.lan"]
hsts = "1h"

[process.ptls]
command = "/srv/apps/hello-static"
idle_timeout = 0

[process.pstick]
command = "/srv/apps/hello-static"
route = { sticky = true }
"#;

/// The address of the host by which it is not itself.
const OUTSIDE: &str = "10.99.0.1";

fn host() -> &'static Host {
    static READY: Once = Once::new();
    let host = Host::the();
    READY.call_once(|| {
        // Another test may have put port 80 into the agent's first socket.
        host.run("rm -f /etc/systemd/system/tenement.socket.d/port80.conf && systemctl daemon-reload && \
                  systemctl stop tenement.service && systemctl restart tenement.socket && systemctl start tenement.service");
        host.configure("tls.toml", CONFIG);
        host.run("systemctl enable -q tenement-https.socket tenement-http.socket && systemctl restart tenement");
        host.run(&format!("ip addr show dev lo | grep -q {OUTSIDE} || ip addr add {OUTSIDE}/32 dev lo"));
        host.run("ten tls trust");
        if host.try_run("ten show ptls:a").code != 0 {
            host.run("ten spawn ptls:a pstick:a pstick:b");
        }
    });
    host
}

fn curl(words: &str) -> String {
    format!("curl -sS --max-time 20 --connect-to ::127.0.0.1: {words}")
}

#[test]
fn an_enabled_socket_and_a_restart_serve_https_that_a_trusting_host_believes() {
    let host = host();
    host.run("systemctl is-active tenement-https.socket tenement-http.socket");
    let ran =
        host.run(&curl("-o /dev/null -w '%{http_version} %{http_code}' https://a.ptls.localhost/"));
    assert_eq!(ran.out, "2 200", "HTTP/2 by ALPN");
    let ran = host.run(&curl(
        "--http1.1 -o /dev/null -w '%{http_version} %{http_code}' https://a.ptls.localhost/",
    ));
    assert_eq!(ran.out, "1.1 200");
    let headers = host.run(&curl("https://a.ptls.localhost/headers")).out.to_lowercase();
    assert!(headers.contains("x-forwarded-proto: https"), "{headers}");
    let sticky = host.run(&curl("-D - -o /dev/null https://pstick.localhost/")).out;
    assert!(sticky.contains("ten_pstick=") && sticky.contains("; Secure"), "{sticky}");
    let list = host.ten_json("tls ls");
    assert_eq!((&list["enabled"], &list["listeners"]), (&true.into(), &1.into()), "{list}");
    assert!(host.run("ten tls show intranet.lan").out.contains("tenement CA of"));
}

#[test]
fn a_name_without_a_certificate_gets_no_handshake_and_another_host_gets_421() {
    let host = host();
    assert_eq!(host.try_run(&curl("-k https://shop.customer.com/")).code, 35, "no handshake");
    let ran = host.run(&curl(
        "-o /dev/null -w '%{http_code}' -H 'Host: b.ptls.localhost' https://a.ptls.localhost/",
    ));
    assert_eq!(ran.out, "421");
}

#[test]
fn plain_http_is_sent_to_https_with_its_path_and_hsts_is_said_there_only() {
    let host = host();
    let plain = |more: &str| {
        format!("curl -sS --max-time 20 -D - -o /dev/null -H 'Host: a.ptls.localhost' {more}")
    };
    let ran = host.run(&plain("'http://127.0.0.1/a/b?c=d'")).out.to_lowercase();
    assert!(ran.starts_with("http/1.1 308"), "{ran}");
    assert!(ran.contains("location: https://a.ptls.localhost/a/b?c=d\r"), "{ran}");
    assert!(!ran.contains("strict-transport-security"), "{ran}");
    let ran = host.run(&plain(&format!("http://{OUTSIDE}:8080/"))).out.to_lowercase();
    assert!(ran.starts_with("http/1.1 308"), "on any port, from elsewhere: {ran}");
    let ran = host.run(&plain("http://127.0.0.1:8080/")).out;
    assert!(ran.starts_with("HTTP/1.1 200"), "not from the host itself: {ran}");
    let ran = host.run(&plain("http://127.0.0.1/health")).out;
    assert!(!ran.starts_with("HTTP/1.1 308"), "{ran}");
    let ran = host.run(
        "curl -sS -o /dev/null -w '%{http_code}' -H 'Host: shop.customer.com' http://127.0.0.1/",
    );
    assert_eq!(ran.out, "404", "no certificate, no redirect");
    let ran = host.run(&curl("-D - -o /dev/null https://a.ptls.localhost/")).out.to_lowercase();
    assert!(ran.contains("strict-transport-security: max-age=3600"), "{ran}");
}

#[test]
fn ten_reaches_an_agent_over_https_that_it_trusts_and_no_other() {
    let host = host();
    host.run("umask 077; ten -q token-gen --name over-tls --scope admin > /root/tls.token");
    let ten = "ten --url https://localhost --token-file /root/tls.token";
    assert!(host.run(&format!("{ten} ps")).out.contains("ptls:a"));
    host.run(&format!("{ten} restart ptls:a"));
    let ran = host.try_run(&format!("SSL_CERT_FILE=/etc/hostname SSL_CERT_DIR=/nowhere {ten} ps"));
    assert!(ran.code != 0 && ran.err.contains("certificate"), "{ran:?}");
}

#[test]
fn no_handshake_fails_while_the_agent_restarts() {
    let host = host();
    let clients = host.inside(|| ());
    clients.join().expect("the host runs");
    let script = "for i in $(seq 60); do curl -sS --max-time 30 --connect-to ::127.0.0.1: -o /dev/null \
                  https://a.ptls.localhost/ || echo failed; done";
    let restarts = "sleep 0.3; systemctl restart tenement; sleep 0.5; systemctl restart tenement";
    let ran = host.run(&format!("({script}) & ({restarts}); wait"));
    assert!(!ran.out.contains("failed"), "{ran:?}");
}

#[test]
fn keys_are_the_agents_alone_and_in_no_log() {
    let host = host();
    let open = host.run("find /var/lib/tenement/_agent/tls -type f -perm /077; find /var/lib/tenement/_agent/tls -type d -perm /077");
    assert_eq!(open.out, "");
    let key = host.run("sed -n 2p /var/lib/tenement/_agent/tls/ca/root.key").out;
    assert!(key.trim().len() > 20, "{key}");
    let seen = host.try_run(&format!(
        "journalctl -b --no-pager | grep -F -e '{}' -e 'PRIVATE KEY'",
        key.trim()
    ));
    assert_eq!(seen.out, "");
}

#[test]
fn own_files_are_read_again_when_they_change_and_bad_ones_replace_nothing() {
    let host = host();
    let make = |name: &str| {
        let made = host.run_nearby(&format!(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=x \
             -addext subjectAltName=DNS:{name} -keyout - 2>/dev/null"
        ));
        assert_eq!(made.code, 0, "{made:?}");
        made.out
    };
    let put = |text: &str| {
        host.write("/etc/tenement/tls/own.new", text);
        host.run("cd /etc/tenement/tls && chgrp tenement own.new && chmod 640 own.new && mv own.new own.pem");
    };
    put(&make("one.own.test"));
    let pair = r#"{ cert = "/etc/tenement/tls/own.pem", key = "/etc/tenement/tls/own.pem" }"#;
    host.configure(
        "tls.toml",
        &CONFIG.replace("[tls]", &format!("[tls]\ncertificates = [{pair}]")),
    );
    let served =
        |name: &str| host.try_run(&curl(&format!("-k -o /dev/null https://{name}/"))).code == 0;
    let until_served = |name: &str| {
        until(name, Duration::from_secs(15), || {
            if served(name) { Ok(()) } else { Err("no handshake") }
        });
    };
    until_served("one.own.test");
    put("no certificate");
    until("the error is told", Duration::from_secs(15), || {
        let shown = host.ten_json("tls show one.own.test");
        if shown["error"].is_string() { Ok(()) } else { Err(shown) }
    });
    assert!(served("one.own.test"), "the one before stays");
    put(&make("two.own.test"));
    until_served("two.own.test");
    assert!(!served("one.own.test"));
    host.configure("tls.toml", CONFIG);
}

/// What a private CA has not: revocation lists, stapling, records that name it, logs of what it signed; and a life of a
/// week is meant.
const OF_PUBLIC_CAS: [&str; 8] = [
    "cert_revocation",
    "cert_crlDistributionPoints",
    "cert_ocspURL",
    "OCSP_stapling",
    "DNS_CAArecord",
    "certificate_transparency",
    "cert_expirationStatus",
    "cert_notAfter",
];

/// testssl.sh 3.2 gives the grade itself; 3.0 of Debian 12 only finds what would lower it.
#[test]
fn testssl_finds_nothing_that_would_cost_grade_a() {
    let host = host();
    let root = std::env::temp_dir().join(format!("tls-root-{}", std::process::id()));
    std::fs::write(&root, host.run("ten tls trust --out /tmp/r.crt && cat /tmp/r.crt").out)
        .expect("a file");
    let json = root.with_extension("json");
    let _ = std::fs::remove_file(&json);
    let ran = host.run_nearby(&format!(
        "testssl --quiet --color 0 --warnings off --nodns none --ip 127.0.0.1 --add-ca {} --jsonfile {} \
         -p -s -f -P -S -U a.ptls.localhost:443",
        root.display(),
        json.display()
    ));
    let text = std::fs::read_to_string(&json).unwrap_or_else(|e| panic!("{e}: {ran:?}"));
    let found: serde_json::Value =
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    let found: Vec<_> = found.as_array().expect("a list").iter().collect();
    let finding = |id: &str| {
        let one = found.iter().find(|one| one["id"] == id);
        one.and_then(|one| one["finding"].as_str()).unwrap_or("").to_owned()
    };
    let bad = ["LOW", "MEDIUM", "HIGH", "CRITICAL", "FATAL"];
    let id = |one: &serde_json::Value| one["id"].as_str().unwrap_or("").to_owned();
    let severe: Vec<_> = found
        .iter()
        .filter(|one| bad.contains(&one["severity"].as_str().unwrap_or("")))
        .filter(|one| !OF_PUBLIC_CAS.iter().any(|known| id(one).starts_with(known)))
        .collect();
    assert!(severe.is_empty(), "{severe:#?}");
    for old in ["SSLv2", "SSLv3", "TLS1", "TLS1_1"] {
        assert!(finding(old).contains("not offered"), "{old}: {}", finding(old));
    }
    for new in ["TLS1_2", "TLS1_3"] {
        assert!(finding(new).starts_with("offered"), "{new}: {}", finding(new));
    }
    let grade = finding("overall_grade");
    assert!(grade.is_empty() || grade.starts_with('A'), "{grade}");
}

#[test]
fn h2load_finds_no_failed_request_over_tls() {
    let ran = host().run_nearby(
        "h2load -n 5000 -c 20 -m 50 --connect-to 127.0.0.1:443 https://a.ptls.localhost/",
    );
    assert!(ran.out.contains("5000 succeeded, 0 failed, 0 errored"), "{ran:?}");
    assert!(ran.out.contains("Application protocol: h2"), "{ran:?}");
}

#[test]
fn floods_of_http2_frames_leave_memory_bounded_and_other_clients_alone() {
    let host = host();
    host.write("/root/h2flood.py", include_str!("../host/lib/h2flood.py"));
    let agent = host.run("systemctl show -p MainPID --value tenement").out;
    let ran = host.run(&format!("python3 /root/h2flood.py a.ptls.localhost {}", agent.trim()));
    let seen: serde_json::Value = serde_json::from_str(&ran.out).expect("an object");
    let through: Vec<_> = seen["ends"].as_array().expect("a list").iter().collect();
    assert!(through.iter().all(|end| end[1] != "let through"), "{seen}");
    assert_eq!((&seen["count"], &seen["failed"]), (&80.into(), &serde_json::json!([])), "{seen}");
    let of = |key: &str| seen[key].as_f64().expect("a number");
    assert!(of("requests") > 20.0 && of("p99_ms") < 1_000.0, "{seen}");
    assert!(of("peak_kb") - of("before_kb") < 64.0 * 1024.0, "{seen}");
    println!("{seen}");
}
