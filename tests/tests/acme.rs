//! Certificates by ACME, against Pebble and Knot from Debian: issued, renewed, tried again, taken back.

use std::time::Duration;

use serde_json::Value;
use tenement_tests::ca::{CHALLENGES, Ca, DIRECTORY, KNOT};
use tenement_tests::{Host, until};

/// So many of a hundred nonces are refused, all the time.
const BAD_NONCES: u32 = 15;
const PATIENCE: Duration = Duration::from_secs(120);

const DNS: &str = r#"
[acme.dns]
provider = "rfc2136"
server = "KNOT"
key_name = "acme."
key_file = "/etc/tenement/tsig.key"
propagation = 0
"#;

fn config(dns: &str) -> String {
    format!(
        r#"
[settings]
domain = "example.test"

[process.acme]
command = "/srv/apps/hello-static"
idle_timeout = 0

[acme]
agree_to_terms = true
email = "ops@example.test"
directory = "{DIRECTORY}"
ca_file = "/etc/tenement/pebble.pem"
retry = "1s"
orders_per_hour = 1000
{}
"#,
        dns.replace("KNOT", KNOT)
    )
}

/// A CA and its name servers, which end with the test.
fn ca() -> Ca {
    let host = Host::the();
    host.run("rm -f /etc/tenement/conf.d/tls.toml");
    host.run("systemctl enable -q tenement-https.socket tenement-http.socket");
    let mut ca = Ca::new(host);
    ca.start_knot(&["example.test", "customer.test"]);
    ca.start_challenges();
    ca
}

/// The config in force, with nothing left of the tests before.
fn fresh(host: &Host, config: &str) {
    host.run("systemctl stop tenement && rm -rf /var/lib/tenement/_agent/tls");
    host.write("/etc/tenement/conf.d/acme.toml", config);
    host.run("systemctl start tenement");
    until("the agent answers", Duration::from_secs(20), || {
        let ran = host.try_run("ten spawn acme:a");
        // 6: it is registered already.
        if matches!(ran.code, 0 | 6) { Ok(()) } else { Err(ran) }
    });
}

fn shown(host: &Host, name: &str) -> Value {
    let ran = host.try_run(&format!("ten tls show '{name}' --json"));
    serde_json::from_str(&ran.out).unwrap_or(Value::Null)
}

fn until_issued(host: &Host, name: &str, ca: &Ca) -> Value {
    until(&format!("a certificate for {name}"), PATIENCE, || {
        let view = shown(host, name);
        if view["issuer"].is_string() {
            Ok(view)
        } else {
            Err(format!("{view} {}", tail(&ca.pebble_log())))
        }
    })
}

fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().rev().take(8).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

fn serves(host: &Host, ca: &Ca, name: &str) -> String {
    host.write("/tmp/pebble-root.pem", &ca.root());
    let ran = host.try_run(&format!(
        "curl -sS --max-time 30 --cacert /tmp/pebble-root.pem --connect-to ::127.0.0.1: -o /dev/null -w '%{{http_code}}' https://{name}/"
    ));
    format!("{}{}", ran.out, ran.err)
}

#[test]
fn the_domain_and_each_process_get_their_wildcards_by_rfc_2136_and_no_record_is_left() {
    let (host, ca) = (Host::the(), &mut ca());
    ca.start_pebble(KNOT, 86_400, BAD_NONCES);
    fresh(host, &config(DNS));
    let view = until_issued(host, "example.test", ca);
    assert_eq!(view["names"], serde_json::json!(["example.test", "*.example.test"]), "{view}");
    until_issued(host, "*.acme.example.test", ca);
    for name in ["example.test", "a.acme.example.test"] {
        assert_eq!(serves(host, ca, name), "200", "{name}");
    }
    until("no record is left", Duration::from_secs(20), || {
        let texts = ca.texts("_acme-challenge.example.test")
            + &ca.texts("_acme-challenge.acme.example.test");
        if texts.is_empty() { Ok(()) } else { Err(texts) }
    });
    let modes = host.run("find /var/lib/tenement/_agent/tls -type f -perm /077").out;
    assert_eq!(modes, "", "keys are the agent's alone");
    host.run("systemctl restart tenement");
    until("served from its file after a restart", Duration::from_secs(20), || {
        let code = serves(host, ca, "a.acme.example.test");
        if code == "200" { Ok(()) } else { Err(code) }
    });
}

#[test]
fn certificates_are_renewed_before_they_expire() {
    let (host, ca) = (Host::the(), &mut ca());
    ca.start_pebble(KNOT, 60, BAD_NONCES);
    fresh(host, &config(DNS));
    let first = until_issued(host, "example.test", ca);
    until("it is renewed", PATIENCE, || {
        let now = shown(host, "example.test");
        if now["expires_ms"].as_u64() > first["expires_ms"].as_u64() { Ok(()) } else { Err(now) }
    });
    assert_eq!(serves(host, ca, "example.test"), "200");
}

#[test]
fn a_ca_that_is_down_is_told_and_tried_again_while_the_old_certificate_is_served() {
    let (host, ca) = (Host::the(), &mut ca());
    ca.start_pebble(KNOT, 86_400, BAD_NONCES);
    fresh(host, &config(DNS));
    let first = until_issued(host, "example.test", ca);
    let root = ca.root();
    ca.stop_pebble();
    host.run("ten tls renew example.test");
    until("the error is told", PATIENCE, || {
        let now = shown(host, "example.test");
        if now["error"].is_string() { Ok(()) } else { Err(now) }
    });
    let events = host.run("ten events --kind certificate --json").out;
    assert!(events.contains("no certificate for example.test"), "{events}");
    host.write("/tmp/old-root.pem", &root);
    host.run("curl -sS --cacert /tmp/old-root.pem --connect-to ::127.0.0.1: -o /dev/null https://example.test/health");
    // It has forgotten our account, too.
    ca.start_pebble(KNOT, 86_400, BAD_NONCES);
    until("it is had after all", PATIENCE, || {
        let now = shown(host, "example.test");
        let newer = now["from_ms"].as_u64() > first["from_ms"].as_u64();
        if newer && now["error"].is_null() { Ok(()) } else { Err(now) }
    });
}

#[test]
fn an_agent_killed_within_an_order_has_its_certificate_after_the_next_start() {
    let (host, ca) = (Host::the(), &mut ca());
    ca.start_pebble(KNOT, 86_400, BAD_NONCES);
    fresh(host, &config(&DNS.replace("propagation = 0", "propagation = \"20s\"")));
    until("a record is published", PATIENCE, || {
        if ca.texts("_acme-challenge.example.test").is_empty() { Err("none yet") } else { Ok(()) }
    });
    host.run("systemctl kill -s KILL tenement.service");
    host.write("/etc/tenement/conf.d/acme.toml", &config(DNS));
    host.run("systemctl restart tenement");
    until_issued(host, "example.test", ca);
    until("what the first one published is taken back", PATIENCE, || {
        let texts = ca.texts("_acme-challenge.example.test");
        if texts.is_empty() { Ok(()) } else { Err(texts) }
    });
}

#[test]
fn a_program_of_the_operators_publishes_where_nothing_else_does() {
    let (host, ca) = (Host::the(), &mut ca());
    ca.start_pebble(CHALLENGES, 86_400, BAD_NONCES);
    let hook = r#"#!/bin/sh
verb=set-txt; [ "$1" = present ] || verb=clear-txt
exec curl -sSf -o /dev/null -d "{\"host\":\"$2.\",\"value\":\"$3\"}" http://127.0.0.1:8055/$verb
"#;
    host.write("/usr/local/lib/tenement-dns", hook);
    host.run("chmod 755 /usr/local/lib/tenement-dns");
    let dns = "[acme.dns]\nprovider = \"exec\"\npropagation = 0\ncommand = [\"/usr/local/lib/tenement-dns\"]\n";
    fresh(host, &config(dns));
    until_issued(host, "*.acme.example.test", ca);
    assert_eq!(serves(host, ca, "a.acme.example.test"), "200");
}

#[test]
fn without_dns_the_domain_is_had_by_tls_alpn_or_by_http() {
    let (host, ca) = (Host::the(), &mut ca());
    for challenge in ["tls-alpn-01", "http-01"] {
        ca.start_pebble(CHALLENGES, 86_400, BAD_NONCES);
        fresh(host, &config(&format!("challenges = [\"{challenge}\"]\n")));
        let view = until_issued(host, "example.test", ca);
        assert_eq!(view["names"], serde_json::json!(["example.test"]), "{challenge}: {view}");
    }
}

/// Custom domains that the DNS and the CA have, beside the config with RFC 2136.
fn routing() -> String {
    format!("\n[routing]\nresolver = [\"{KNOT}\"]\nchallenge_networks = [\"127.0.0.0/8\"]\n")
}

/// Publishes a text below `customer.test`.
fn publish(host: &Host, name: &str, text: &str) {
    let ran = host.run_nearby(&format!(
        "printf 'server 127.0.0.1 5355\\nzone customer.test.\\nupdate add {name}. 1 TXT \"{text}\"\\nsend\\n' | \
         knsupdate -y hmac-sha256:acme.:c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA=="
    ));
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn names_below_a_verified_wildcard_get_certificates_on_demand_and_no_more_than_their_share() {
    let (host, ca) = (Host::the(), &mut ca());
    ca.start_pebble(KNOT, 86_400, BAD_NONCES);
    let text = config(DNS).replace("orders_per_hour = 1000", "orders_per_hour = 12");
    fresh(host, &(text + &routing()));
    until_issued(host, "example.test", ca);
    until_issued(host, "*.acme.example.test", ca);
    let added = host.ten_json("domain add '*.customer.test' acme:a");
    let challenge = &added["challenge"];
    let (name, value) = (challenge["txt_name"].as_str(), challenge["txt_value"].as_str());
    publish(host, name.expect("a name"), value.expect("a text"));
    let checked = host.ten_json("domain check '*.customer.test'");
    assert_eq!(checked["state"], "verified", "{checked}");
    let orders = |ca: &Ca| ca.pebble_log().matches("/order-plz -> calling handler").count();
    let served = |i: u32| serves(host, ca, &format!("s{i}.customer.test")).starts_with("200");
    let count = (1..=10).filter(|i| served(*i)).count();
    assert!((1..=3).contains(&count), "a quarter of 12 at most, retries included: {count}");
    let before = orders(ca);
    assert_eq!((11..=20).filter(|i| served(*i)).count(), 0);
    host.run("systemctl restart tenement");
    until("the agent answers", PATIENCE, || {
        let ran = host.try_run("ten ls");
        if ran.code == 0 { Ok(()) } else { Err(ran) }
    });
    assert_eq!((21..=30).filter(|i| served(*i)).count(), 0, "a restart fills no hour");
    assert_eq!(orders(ca), before, "the CA was asked");
    let shown = host.ten_json("domain show '*.customer.test'");
    assert_eq!(shown["certificate"]["state"], "valid", "{shown}");
    host.run("ten domain rm '*.customer.test'");
    assert_ne!(serves(host, ca, "s1.customer.test"), "200", "removed");
}

#[test]
fn certificates_of_custom_domains_are_renewed_until_the_domain_is_removed() {
    let (host, ca) = (Host::the(), &mut ca());
    ca.start_pebble(KNOT, 60, BAD_NONCES);
    fresh(host, &(config(DNS) + &routing()));
    host.run("ten domain add renew.customer.test acme:a && ten domain check renew.customer.test");
    until("it is served", PATIENCE, || {
        let code = serves(host, ca, "renew.customer.test");
        if code == "200" { Ok(()) } else { Err(code) }
    });
    let first = shown(host, "renew.customer.test");
    until("it is renewed", PATIENCE, || {
        let now = shown(host, "renew.customer.test");
        if now["expires_ms"].as_u64() > first["expires_ms"].as_u64() { Ok(()) } else { Err(now) }
    });
    host.run("ten domain rm renew.customer.test");
    assert_ne!(serves(host, ca, "renew.customer.test"), "200", "removed");
    until("its key is deleted", PATIENCE, || {
        let find = "find /var/lib/tenement/_agent/tls -name 'renew.customer.test*'";
        let left = host.run(find).out;
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}

#[test]
fn fifty_verified_domains_are_served_on_demand_and_a_thousand_others_make_no_call_of_the_ca() {
    let (host, ca) = (Host::the(), &mut ca());
    ca.start_pebble(KNOT, 86_400, BAD_NONCES);
    fresh(host, &(config(DNS) + &routing()));
    until_issued(host, "example.test", ca);
    until_issued(host, "*.acme.example.test", ca);
    host.run(
        "for i in $(seq 50); do ten domain add shop$i.customer.test acme:a >/dev/null; \
         ten domain check shop$i.customer.test >/dev/null; done",
    );
    for i in 1..=50 {
        let name = format!("shop{i}.customer.test");
        until(&format!("{name} is served"), PATIENCE, || {
            let code = serves(host, ca, &name);
            if code == "200" { Ok(()) } else { Err(format!("{code} {}", shown(host, &name))) }
        });
    }
    let calls = |ca: &Ca| ca.pebble_log().matches("calling handler").count();
    let before = calls(ca);
    assert!(before > 50, "{before}");
    let ran = host.run(
        "seq 1000 | xargs -P 8 -I{} sh -c 'curl -ksS --max-time 20 -o /dev/null --connect-to ::127.0.0.1: \
         https://u{}.customer.test/ 2>/dev/null && echo served || true'",
    );
    assert_eq!(ran.out, "", "nobody verified them");
    assert_eq!(calls(ca), before, "the CA was asked");
    host.run("ten domain rm shop1.customer.test --yes || ten domain rm shop1.customer.test");
    assert_ne!(serves(host, ca, "shop1.customer.test"), "200", "removed");
}
