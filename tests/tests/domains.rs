//! Custom domains on a host with a real DNS server: nothing routes before it is proven, and then at once.

use std::time::Duration;

use serde_json::Value;
use tenement_tests::{Host, until};

/// The test host's own DNS server.
const CONFIG: &str = r#"
[routing]
resolver = ["127.0.0.1:5353"]
challenge_networks = ["127.0.0.0/8"]

[process.dapp]
command = "/srv/apps/hello-static"
idle_timeout = 0
"#;

fn host() -> &'static Host {
    let host = Host::the();
    if host.try_run("test -e /etc/tenement/conf.d/domains.toml").code != 0 {
        // Port 80, for the challenge: the socket unit holds it, as on a real host. Tests of HTTPS may have left theirs.
        host.run("systemctl disable -q --now tenement-https.socket tenement-http.socket 2>/dev/null; true");
        let drop_in = "/etc/systemd/system/tenement.socket.d/port80.conf";
        host.write(drop_in, "[Socket]\nListenStream=80\n");
        host.run("systemctl daemon-reload && systemctl stop tenement.service && systemctl restart tenement.socket && systemctl start tenement.service");
        host.configure("domains.toml", CONFIG);
        host.run("ten spawn dapp:alice dapp:bob");
    }
    host
}

/// Makes the DNS say this, and nothing else.
fn dns(host: &Host, records: &str) {
    host.write("/run/dns.conf", &format!("no-resolv\nno-hosts\nport=5353\nlisten-address=127.0.0.1\nbind-interfaces\nlocal=/#/\n{records}"));
    host.run("systemctl stop testdns.service 2>/dev/null; systemd-run --unit=testdns --collect dnsmasq --keep-in-foreground --conf-file=/run/dns.conf --user=root");
    until("the DNS server listens", Duration::from_secs(10), || {
        let ran = host.try_run("ss -lun | grep -q 127.0.0.1:5353");
        if ran.code == 0 { Ok(()) } else { Err(ran) }
    });
}

fn domain(host: &Host, verb: &str) -> Value {
    host.ten_json(&format!("domain {verb}"))
}

#[test]
fn a_domain_routes_after_its_txt_record_is_there_and_not_before() {
    let host = host();
    dns(host, "");
    let added = domain(host, "add shop.customer.com dapp:alice");
    assert_eq!(
        (&added["state"], host.get("shop.customer.com", "/").status),
        (&"pending".into(), 404)
    );
    let checked = domain(host, "check shop.customer.com");
    assert_eq!(
        (checked["state"].as_str(), checked["dns"]["state"].as_str()),
        (Some("pending"), Some("missing"))
    );
    let fix = checked["fix"].to_string();
    assert!(
        fix.contains("_tenement-challenge.shop.customer.com TXT") && fix.contains("CNAME"),
        "{fix}"
    );

    let challenge = &added["challenge"];
    let (name, value) =
        (challenge["txt_name"].as_str().unwrap(), challenge["txt_value"].as_str().unwrap());
    dns(host, &format!("txt-record={name},tenement=another"));
    let wrong = domain(host, "check shop.customer.com");
    assert_eq!(wrong["state"], "pending");
    assert!(wrong["fix"].to_string().contains("tenement=another"), "{wrong}");
    dns(host, &format!("txt-record={name},{value}\naddress=/shop.customer.com/203.0.113.9"));
    let verified = domain(host, "check shop.customer.com");
    assert_eq!(
        (verified["state"].as_str(), verified["proof"].as_str()),
        (Some("verified"), Some("txt"))
    );
    assert_eq!(verified["dns"]["state"], "elsewhere", "it is told that the name leads elsewhere");
    let answer = host.get("shop.customer.com", "/");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(host.get("Shop.Customer.COM.:8080", "/").status, 200);

    host.run("systemctl restart tenement");
    assert_eq!(host.get("shop.customer.com", "/").status, 200, "it is still there after a restart");
    host.run("ten domain rm shop.customer.com");
    assert_eq!(host.get("shop.customer.com", "/").status, 404, "the next request is not routed");
    assert_eq!(host.try_run("ten domain show shop.customer.com").code, 3);
}

#[test]
fn a_name_that_leads_to_this_host_is_verified_over_http_by_itself() {
    let host = host();
    dns(host, "address=/www.customer.net/127.0.0.1");
    domain(host, "add www.customer.net dapp");
    until("it is verified by itself", Duration::from_secs(60), || {
        let view = domain(host, "show www.customer.net");
        if view["state"] == "verified" { Ok(()) } else { Err(view) }
    });
    let view = domain(host, "show www.customer.net");
    assert_eq!(
        (view["proof"].as_str(), view["dns"]["state"].as_str()),
        (Some("http"), Some("here"))
    );
    assert_eq!(host.get("www.customer.net", "/").status, 200);
    let listed = host.run("ten domain ls").out;
    assert!(
        listed.contains("www.customer.net")
            && listed.contains("verified")
            && listed.contains("CERTIFICATE"),
        "{listed}"
    );
    host.run("ten domain rm www.customer.net");
}

#[test]
fn no_address_of_this_hosts_network_is_asked_unless_the_config_says_so() {
    let host = host();
    dns(host, "address=/inner.customer.net/10.0.0.1");
    domain(host, "add inner.customer.net dapp");
    let view = domain(host, "check inner.customer.net");
    assert_eq!(
        (view["state"].as_str(), view["dns"]["state"].as_str()),
        (Some("pending"), Some("elsewhere"))
    );
    assert!(view["fix"].to_string().contains("challenge_networks"), "{view}");
    host.run("ten domain rm inner.customer.net");
}

#[test]
fn a_wildcard_needs_the_txt_record_and_covers_one_label() {
    let host = host();
    dns(host, "address=/wild.example/127.0.0.1");
    let added = domain(host, "add '*.wild.example' dapp:bob");
    assert!(added["challenge"]["http_url"].is_null(), "{added}");
    assert_eq!(domain(host, "check '*.wild.example'")["state"], "pending");
    let challenge = &added["challenge"];
    let (name, value) =
        (challenge["txt_name"].as_str().unwrap(), challenge["txt_value"].as_str().unwrap());
    assert_eq!(name, "_tenement-challenge.wild.example");
    dns(host, &format!("address=/wild.example/127.0.0.1\ntxt-record={name},{value}"));
    let verified = domain(host, "check '*.wild.example'");
    assert_eq!(
        (verified["state"].as_str(), verified["dns"]["state"].as_str()),
        (Some("verified"), Some("here"))
    );
    assert_eq!(host.get("any.wild.example", "/").status, 200);
    assert_eq!(host.get("wild.example", "/").status, 404);
    assert_eq!(host.get("a.b.wild.example", "/").status, 404);
    // Who claims a name below it without a proof takes nothing off the wildcard.
    domain(host, "add shop.wild.example dapp:alice");
    assert_eq!(
        domain(host, "check shop.wild.example")["state"],
        "pending",
        "leading here proves nothing"
    );
    assert_eq!(host.get("shop.wild.example", "/").status, 200);
    host.run("ten domain rm shop.wild.example && ten domain rm '*.wild.example'");
}

#[test]
fn letters_are_kept_as_punycode_and_nonsense_is_refused_with_the_reason() {
    let host = host();
    let added = domain(host, "add bücher.customer.org dapp");
    assert_eq!(
        (added["domain"].as_str(), added["unicode"].as_str()),
        (Some("xn--bcher-kva.customer.org"), Some("bücher.customer.org"))
    );
    assert_eq!(domain(host, "show bücher.customer.org")["domain"], "xn--bcher-kva.customer.org");
    host.run("ten domain rm bücher.customer.org");
    for (name, why) in [
        ("shop", "one label"),
        ("10.0.0.1", "address"),
        ("co.uk", "registry"),
        ("a.localhost", "reserved"),
        ("https://a.b", "scheme"),
    ] {
        let ran = host.try_run(&format!("ten domain add {name} dapp"));
        assert!(ran.code != 0 && ran.err.contains(why), "{name}: {ran:?}");
    }
    assert_eq!(host.try_run("ten domain add a.customer.org nosuch").code, 3);
    assert_eq!(host.try_run("ten domain add a.customer.org dapp:nobody").code, 3);
}

#[test]
fn a_tenants_token_sees_and_changes_its_own_domains_alone() {
    let host = host();
    dns(host, "address=/mine.customer.org/127.0.0.1");
    domain(host, "add others.customer.org dapp:bob");
    let token = host.run("ten token-gen --scope operator --process dapp --instance alice").out;
    let curl = |args: &str| {
        let ran = host.run(&format!(
            "curl -sS -H 'Authorization: Bearer {}' -H 'Content-Type: application/json' {args}",
            token.trim()
        ));
        serde_json::from_str::<Value>(&ran.out).unwrap_or_else(|e| panic!("{e}: {ran:?}"))
    };
    const API: &str = "http://localhost:8080/api/v1/domains";
    let mine = curl(&format!(
        "{API} -d '{{\"domain\": \"mine.customer.org\", \"target\": \"dapp:alice\"}}'"
    ));
    assert!(
        mine["challenge"]["http_url"].is_null(),
        "that a name leads here proves nothing for a tenant: {mine}"
    );
    assert_eq!(curl(&format!("-X POST {API}/mine.customer.org/check"))["state"], "pending");
    let listed = curl(API);
    assert_eq!(
        (listed["total"].as_u64(), listed["domains"][0]["domain"].as_str()),
        (Some(1), Some("mine.customer.org"))
    );
    for (args, code) in [
        (format!("{API}/others.customer.org"), "unknown_domain"),
        (format!("-X DELETE {API}/others.customer.org"), "unknown_domain"),
        (
            format!("{API} -d '{{\"domain\": \"x.customer.org\", \"target\": \"dapp:bob\"}}'"),
            "unknown_instance",
        ),
        (
            format!("{API} -d '{{\"domain\": \"x.customer.org\", \"target\": \"dapp\"}}'"),
            "unknown_process",
        ),
        (
            format!(
                "{API} -d '{{\"domain\": \"others.customer.org\", \"target\": \"dapp:alice\"}}'"
            ),
            "domain_taken",
        ),
    ] {
        let problem = curl(&args);
        assert_eq!(problem["code"], code, "{args}: {problem}");
        assert!(!problem.to_string().contains("bob") || args.contains("dapp:bob"), "{problem}");
    }
    let events = host.ten_json("events --kind change -n 50").to_string();
    assert!(events.contains("mine.customer.org"), "who added what is among the events");
    host.run("ten domain rm mine.customer.org && ten domain rm others.customer.org");
}

#[test]
fn the_owner_takes_a_name_from_whoever_claims_it_and_a_namesake_gets_no_domain_of_a_purged_instance()
 {
    let host = host();
    dns(host, "");
    domain(host, "add wanted.customer.dev dapp:bob");
    host.run("ten spawn dapp:carol");
    let refused = host.try_run("ten domain add wanted.customer.dev dapp:carol");
    assert_ne!(refused.code, 0, "{refused:?}");
    let value = refused.err.split('"').find(|part| part.starts_with("tenement="));
    let value = value.unwrap_or_else(|| panic!("no record is named: {refused:?}"));
    dns(host, &format!("txt-record=_tenement-challenge.wanted.customer.dev,{value}"));
    let given = domain(host, "add wanted.customer.dev dapp:carol");
    assert_eq!((&given["state"], &given["target"]), (&"verified".into(), &"dapp:carol".into()));
    assert_eq!(host.get("wanted.customer.dev", "/").status, 200);

    let kept = host.run("ten rm dapp:carol").err;
    assert!(kept.contains("wanted.customer.dev"), "{kept}");
    assert_eq!(host.get("wanted.customer.dev", "/").status, 404);
    host.run("ten spawn dapp:carol");
    assert_eq!(host.get("wanted.customer.dev", "/").status, 200, "it stays with the data");
    let purged = host.run("ten rm dapp:carol --purge --yes").err;
    assert!(purged.contains("wanted.customer.dev"), "{purged}");
    host.run("ten spawn dapp:carol");
    assert_eq!(host.get("wanted.customer.dev", "/").status, 404, "somebody else's instance");
    assert_eq!(host.try_run("ten domain show wanted.customer.dev").code, 3);
    let events = host.ten_json("events --kind change -n 50").to_string();
    assert!(events.contains("dapp:carol was deleted, and with it its custom domain"), "{events}");
    host.run("ten rm dapp:carol --purge --yes");
}
