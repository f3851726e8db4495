//! The package: a fresh install answers at once.

use std::time::Duration;

use tenement_tests::{Host, until};

#[test]
fn a_fresh_install_creates_the_user_starts_the_service_and_answers_on_its_port() {
    let host = Host::the();
    host.run("apt-get install -y --no-install-recommends /root/pkg/tenement.deb");
    // At once: no waiting in between.
    let answer = host.get("localhost", "/health");
    assert_eq!(answer.status, 200, "{answer:?}");
    host.run("systemctl is-active tenement.service tenement.socket tenement-admin.socket");
    host.run("getent passwd tenement");
    let ids = host.run("ps -o user= -C tenementd").out;
    assert_eq!(ids.trim(), "tenement");
    assert_eq!(
        host.run("stat -c %a:%U:%G /run/tenement/admin.sock").out.trim(),
        "660:root:tenement"
    );
}

#[test]
fn installing_enables_the_agent_for_the_next_boot() {
    let host = Host::the();
    for unit in ["tenement.socket", "tenement-admin.socket", "tenement.service"] {
        host.run(&format!("systemctl is-enabled {unit}"));
    }
}

#[test]
fn nothing_on_the_host_is_failed_after_the_install() {
    let host = Host::the();
    until("no failed unit", Duration::from_secs(10), || {
        let out = host.run("systemctl --failed --no-legend --plain").out;
        if out.trim().is_empty() { Ok(()) } else { Err(out) }
    });
}

#[test]
fn both_daemons_are_hardened_as_the_docs_say() {
    let host = Host::the();
    for (unit, threshold) in [("tenement.service", 12), ("tenement-unitd.service", 10)] {
        let score = format!("systemd-analyze security --threshold={threshold} {unit}");
        let ran = host.try_run(&score);
        assert_eq!(ran.code, 0, "{unit}: {}", ran.out.lines().last().unwrap_or_default());
    }
}

#[test]
fn an_unknown_host_gets_404_and_the_id_of_its_request() {
    let host = Host::the();
    let answer = host.get("nobody.nothing.localhost", "/");
    assert_eq!(answer.status, 404, "{answer:?}");
    let id = answer.header("x-request-id").expect("a request id").to_owned();
    assert!(answer.text().contains(&id), "{}", answer.text());
}

#[test]
fn doctor_finds_nothing_wrong_with_a_fresh_install() {
    let ran = Host::the().try_run("ten doctor");
    assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
}
