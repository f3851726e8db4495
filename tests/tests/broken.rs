//! Broken releases under traffic, by each strategy: none of their answers after they are found out, everything back by
//! itself, and a report that says what is wrong and where.

use std::time::Duration;

use tenement_tests::rollout::{deploy, deployed, install};
use tenement_tests::traffic::{Met, Plan, now_ms};
use tenement_tests::{Host, Traffic, until};

/// What the app's health check or its log says, by the kind of release.
const KINDS: [(&str, &str, &str); 2] =
    [("crashes", "exited with status 3", "this release is broken"), ("sick", "503", "")];

fn config(process: &str) -> String {
    format!(
        "[process.{process}]\ncommand = \"{{release}}/server\"\nlisten = \"port\"\nhealth = \"/health\"\n\
         idle_timeout = 0\nstartup_timeout = \"8s\"\nstop_timeout = \"6s\"\n\
         [process.{process}.deploy]\ndrain_timeout = \"6s\"\ncanary_requests = 10\n"
    )
}

/// A name that no release had in an earlier run on this host.
fn named(kind: &str) -> String {
    static RUN: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    format!("{kind}-{}", RUN.get_or_init(|| now_ms() / 1000))
}

/// A process with two instances that run from a good release, and the name of that.
fn prepared(process: &str) -> (&'static Host, String) {
    let host = Host::the();
    install(host);
    host.configure(&format!("{process}.toml"), &config(process));
    let good = named("good");
    deployed(host, process, &good, "");
    for id in ["a", "b"] {
        let name = format!("{process}:{id}");
        if host.try_run(&format!("ten show {name}")).code != 0 {
            host.run(&format!("ten spawn {name}"));
        }
        host.run(&format!("ten restart {name}"));
    }
    (host, good)
}

/// Traffic to both instances and to their group while `work` goes on.
fn under_traffic(host: &Host, process: &str, work: impl FnOnce()) -> Met {
    let name = |id: &str| format!("{id}{process}.localhost");
    let names = vec![name("a."), name(""), name("b."), name("")];
    let plan = Plan { names, rate: 60, streams: 2, sockets: 0, uploads: 1 };
    let traffic = Traffic::start(host, &plan, now_ms() * 1000);
    work();
    // What is served a while after counts too.
    tenement_tests::poll::pace_until(std::time::Instant::now() + Duration::from_secs(2));
    let met = traffic.stop();
    assert!(met.answered.len() > 100 && met.streams > 0, "too little traffic");
    met
}

/// When the event of kind `rollback` about a release was recorded. There is exactly one, in words.
fn told(host: &Host, process: &str, release: &str, why: &str) -> u64 {
    let event = until("the event is recorded", Duration::from_secs(10), || {
        let list = host.ten_json(&format!("events {process} --kind rollback"));
        let all = list["events"].as_array().expect("a list").clone();
        let about = format!("{process} to {release}: rolled-back: ");
        let mut found: Vec<_> = all
            .into_iter()
            .filter(|one| one["message"].as_str().is_some_and(|text| text.starts_with(&about)))
            .collect();
        if found.len() == 1 { found.pop().ok_or(list) } else { Err(list) }
    });
    assert!(event["message"].to_string().contains(why), "{event}");
    event["time_ms"].as_u64().expect("a time")
}

/// What the deployment says in the end, for people and for scripts.
fn reported(host: &Host, process: &str, release: &str, ran: &tenement_tests::host::Ran, why: &str) {
    assert_eq!(ran.code, 1, "{ran:?}");
    let summary = format!("error: {process} to {release}: rolled-back: ");
    let line = ran.err.lines().find(|line| line.starts_with(&summary));
    assert!(line.is_some_and(|line| line.contains(why)), "{ran:?}");
    let list = host.ten_json(&format!("deploys {process}"));
    let last = &list["deploys"][0];
    assert_eq!((&last["release"], &last["state"]), (&release.into(), &"rolled-back".into()));
    assert!(last["reason"].as_str().is_some_and(|reason| reason.contains(why)), "{last}");
    assert!(last["failed"].as_str().is_some_and(|name| name.starts_with(process)), "{last}");
}

/// All is as it was before the broken release.
fn all_as_before(host: &Host, process: &str, release: &str) {
    assert_eq!(host.ten_json(&format!("releases show {process} {release}"))["current"], true);
    for name in ["a.", "b.", ""] {
        let answer = host.get(&format!("{name}{process}.localhost"), "/");
        assert_eq!((answer.status, answer.text().as_str()), (200, release), "{name}{process}");
    }
}

#[test]
fn a_broken_release_in_place_serves_nobody_and_is_taken_back_at_the_first_instance() {
    let (host, good) = prepared("brk");
    for (kind, why, said) in KINDS {
        let mut ran = None;
        let met = under_traffic(host, "brk", || {
            ran = Some(deploy(host, "brk", &named(kind), kind, "--now"));
        });
        let ran = ran.expect("it ran");
        assert!(met.failed.is_empty(), "{kind}: {:?}", met.failed);
        let releases = met.releases_after(0);
        assert_eq!(releases.keys().collect::<Vec<_>>(), [&good], "{kind}: {releases:?}");
        reported(host, "brk", &named(kind), &ran, why);
        assert!(ran.err.contains("brk:a is not ready") && ran.err.contains(said), "{ran:?}");
        // The second instance was never touched.
        assert!(!ran.err.contains("brk:b"), "{ran:?}");
        let at = told(host, "brk", &named(kind), why);
        let after = met.answered.iter().filter(|one| one.due_ms > at).count();
        eprintln!(
            "in place, {kind}: {} answers, {after} after the event, all by good",
            met.answered.len()
        );
        assert!(after > 0);
        all_as_before(host, "brk", &good);
    }
}

#[test]
fn b_broken_release_that_instances_come_to_at_their_next_start_serves_nobody() {
    let (host, good) = prepared("brklazy");
    for (kind, why, _) in KINDS {
        let met = under_traffic(host, "brklazy", || {
            let ran = deploy(host, "brklazy", &named(kind), kind, "");
            assert_eq!(ran.code, 0, "{ran:?}");
            // Requests are on their way to it all the time, so one of them is its next start.
            host.run("ten stop brklazy:a");
            told(host, "brklazy", &named(kind), why);
        });
        assert!(met.failed.is_empty(), "{kind}: {:?}", met.failed);
        let releases = met.releases_after(0);
        assert_eq!(releases.keys().collect::<Vec<_>>(), [&good], "{kind}: {releases:?}");
        let list = host.ten_json("deploys brklazy");
        assert_eq!(list["deploys"][0]["state"], "rolled-back", "{list}");
        all_as_before(host, "brklazy", &good);
    }
}

#[test]
fn c_broken_release_beside_the_others_never_gets_a_request() {
    let (host, good) = prepared("brkblue");
    for (kind, why, said) in KINDS {
        let mut ran = None;
        let met = under_traffic(host, "brkblue", || {
            ran = Some(deploy(
                host,
                "brkblue",
                &named(kind),
                kind,
                &format!("--version {}", named(kind)),
            ));
            let refused = host.try_run(&format!("ten route brkblue --to {}", named(kind)));
            assert_eq!(refused.code, 6, "{refused:?}");
        });
        let ran = ran.expect("it ran");
        assert!(met.failed.is_empty(), "{kind}: {:?}", met.failed);
        assert_eq!(met.releases_after(0).keys().collect::<Vec<_>>(), [&good], "{kind}");
        reported(host, "brkblue", &named(kind), &ran, why);
        assert!(ran.err.contains(said), "{ran:?}");
        told(host, "brkblue", &named(kind), why);
        all_as_before(host, "brkblue", &good);
    }
}

#[test]
fn d_canary_that_does_not_become_healthy_never_gets_a_request() {
    let (host, good) = prepared("brkgold");
    for (kind, why, said) in KINDS {
        let mut ran = None;
        let how = format!("--version {} --canary 20,100 --step 10m", named(kind));
        let met = under_traffic(host, "brkgold", || {
            ran = Some(deploy(host, "brkgold", &named(kind), kind, &how));
        });
        let ran = ran.expect("it ran");
        assert!(met.failed.is_empty(), "{kind}: {:?}", met.failed);
        assert_eq!(met.releases_after(0).keys().collect::<Vec<_>>(), [&good], "{kind}");
        reported(host, "brkgold", &named(kind), &ran, why);
        assert!(ran.err.contains(said), "{ran:?}");
        told(host, "brkgold", &named(kind), why);
        all_as_before(host, "brkgold", &good);
    }
}

#[test]
fn e_canary_with_half_errors_serves_nobody_after_it_is_found_out() {
    let (host, good) = prepared("brkhalf");
    let mut ran = None;
    let half = named("half");
    let how = format!("--version {half} --canary 25,100 --step 10m");
    let met = under_traffic(host, "brkhalf", || {
        ran = Some(deploy(host, "brkhalf", &half, "half", &how));
    });
    let ran = ran.expect("it ran");
    let at = told(host, "brkhalf", &half, "% errors");
    // A request that was due at the very moment may still have been on its way there.
    let late = met.releases_after(at);
    let late_errors: Vec<_> = met.failed.iter().filter(|one| one.began_ms > at).collect();
    assert_eq!(late.keys().collect::<Vec<_>>(), [&good], "{late:?}");
    assert!(late_errors.is_empty(), "{late_errors:?}");
    let by_it = met.answered.iter().filter(|one| *one.release == half).count();
    eprintln!(
        "canary: it answered {by_it} and failed {}, and 0 of {late:?} after the event",
        met.failed.len()
    );
    // All that failed were its own errors, before.
    assert!(
        met.failed.iter().all(|one| one.why.ends_with(&format!("500 {half}"))),
        "{:?}",
        met.failed
    );
    assert!(by_it > 0 && !met.failed.is_empty());
    reported(host, "brkhalf", &half, &ran, "% errors");
    assert!(ran.err.contains("the others 0.0 %"), "{ran:?}");
    all_as_before(host, "brkhalf", &good);
}
