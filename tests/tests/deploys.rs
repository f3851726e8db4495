//! Deployments under load: no request fails while releases come and go, and a broken one is taken back.

use std::time::Duration;

use tenement_tests::results::Figure;
use tenement_tests::rollout::{deploy, deployed, install};
use tenement_tests::traffic::{Plan, now_ms};
use tenement_tests::{Host, Load, Traffic};

const CONFIG: &str = r#"
[process.roll]
command = "{release}/server"
listen = "port"
health = "/health"
idle_timeout = 0
startup_timeout = "10s"
stop_timeout = "1s"
[process.roll.deploy]
drain_timeout = "6s"
canary_requests = 20
release_command = ["sh", "{release}/migrate"]

[process.color]
command = "{release}/server"
listen = "port"
health = "/health"
idle_timeout = 0
startup_timeout = "10s"
stop_timeout = "1s"
[process.color.deploy]
drain_timeout = "6s"
"#;

fn host() -> &'static Host {
    let host = Host::the();
    if host.try_run("test -e /etc/tenement/conf.d/deploys.toml").code != 0 {
        install(host);
        host.configure("deploys.toml", CONFIG);
    }
    host
}

fn under_load(host: &Host, domain: &str, rate: u32, work: impl FnOnce()) {
    let names = vec![domain.to_owned()];
    let plan = Plan { names, rate, streams: 2, sockets: 1, uploads: 1 };
    let traffic = Traffic::start(host, &plan, now_ms() * 1000);
    work();
    let met = traffic.stop();
    let (answered, failed, streams) = (met.answered.len(), met.failed.len(), met.streams);
    eprintln!("{domain}: {answered} requests, {failed} failed, {streams} streams");
    Figure {
        name: "deploy.failed",
        value: failed as f64,
        systemd: host.systemd(),
        ..Figure::default()
    }
    .record();
    assert!(met.failed.is_empty(), "{:?}", met.failed);
    assert!(answered > 0 && streams > 0 && met.frames > 0);
}

#[test]
fn a1_in_place_no_request_fails_through_consecutive_deployments() {
    let host = host();
    deployed(host, "roll", "v0", "");
    host.run("ten spawn roll:a roll:b");
    under_load(host, "a.roll.localhost", 40, || {
        (1..=3).for_each(|n| deployed(host, "roll", &format!("v{n}"), "--now"));
    });
    assert_eq!(host.get("a.roll.localhost", "/").text(), "v3");
    // One after the other, and for the name that both share a third waits for nobody.
    under_load(host, "roll.localhost", 40, || deployed(host, "roll", "v4", "--now"));
    let migrated = host.run("cat /var/lib/tenement/roll/a/migrated").out;
    assert_eq!(migrated.split_whitespace().collect::<Vec<_>>(), ["v0", "v1", "v2", "v3", "v4"]);
}

#[test]
fn a2_a_release_that_does_not_start_is_taken_back_and_nobody_notices() {
    let host = host();
    for (name, kind) in [("bad1", "crashes"), ("bad2", "sick")] {
        under_load(host, "a.roll.localhost", 20, || {
            let ran = deploy(host, "roll", name, kind, "--now");
            assert_eq!(ran.code, 1, "{ran:?}");
            assert!(ran.err.contains("rolled-back"), "{ran:?}");
            assert!(kind != "crashes" || ran.err.contains("this release is broken"), "{ran:?}");
        });
        assert_eq!(host.get("a.roll.localhost", "/").text(), "v4", "{kind}");
        assert_eq!(host.get("b.roll.localhost", "/").text(), "v4", "{kind}");
    }
}

#[test]
fn a3_the_request_that_finds_a_lazy_release_broken_is_served_by_the_one_before() {
    let host = host();
    let ran = deploy(host, "roll", "bad3", "crashes", "");
    assert_eq!(ran.code, 0, "{ran:?}");
    host.run("ten stop roll:a");
    let answer = host.get("a.roll.localhost", "/");
    assert_eq!((answer.status, answer.text().as_str()), (200, "v4"));
    let list = host.ten_json("deploys roll");
    assert_eq!(list["deploys"][0]["release"], "bad3");
    assert_eq!(host.ten_json("releases show roll v4")["current"], true);
}

#[test]
fn b1_blue_and_green_swap_under_load() {
    let host = host();
    deployed(host, "color", "g0", "--version g0");
    host.run("ten route color --to g0");
    under_load(host, "color.localhost", 40, || {
        for n in 1..=3 {
            deployed(host, "color", &format!("g{n}"), &format!("--version g{n}"));
            host.run(&format!("ten route color --from g{} --to g{n}", n - 1));
            assert_eq!(host.get("color.localhost", "/").text(), format!("g{n}"));
        }
    });
    let ran = deploy(host, "color", "g9", "sick", "--version g9");
    assert_eq!(ran.code, 1, "{ran:?}");
    let ran = host.try_run("ten route color --from g3 --to g9");
    assert_eq!(ran.code, 6, "{ran:?}");
    assert_eq!(host.get("color.localhost", "/").text(), "g3");
}

#[test]
fn b2_a_canary_goes_all_the_way_or_back_at_once() {
    let host = host();
    under_load(host, "color.localhost", 60, || {
        deployed(host, "color", "c1", "--version c1 --canary 25,50,100 --step 2s");
        assert_eq!(host.get("color.localhost", "/").text(), "c1");
    });
    let load = Load::start(host, &["color.localhost".to_owned()], 60);
    let ran = deploy(host, "color", "c2", "half", "--version c2 --canary 20,100 --step 10m");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("% errors") && ran.err.contains("the others"), "{ran:?}");
    drop(load.stop());
    for _ in 0..20 {
        assert_eq!(host.get("color.localhost", "/").text(), "c1", "it still gets requests");
    }
}

#[test]
fn c1_a_deployment_outlives_an_agent_that_is_killed() {
    let host = host();
    host.run("ten wake roll:a roll:b");
    let ran = deploy(host, "roll", "k1", "good", "--now --detach");
    assert_eq!(ran.code, 0, "{ran:?}");
    host.run("systemctl kill -s KILL tenement.service");
    let over = || -> Result<(), String> {
        let ran = host.try_run("ten --json deploys roll");
        let list: serde_json::Value = serde_json::from_str(&ran.out).map_err(|e| e.to_string())?;
        let last = &list["deploys"][0];
        match last["release"] == "k1" && last["state"] == "succeeded" {
            true => Ok(()),
            false => Err(last["state"].to_string()),
        }
    };
    tenement_tests::until("the new agent is done", Duration::from_secs(60), over);
    assert_eq!(host.get("a.roll.localhost", "/").text(), "k1");
    assert_eq!(host.get("b.roll.localhost", "/").text(), "k1");
}
