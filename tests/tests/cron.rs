//! Scheduled jobs: systemd timers that fire while an instance sleeps.

use std::time::Duration;

use tenement_tests::{Host, until};

const CONFIG: &str = r#"
[process.tcron]
command = "/srv/apps/hello-static"

[process.tcron.cron.tick]
schedule = "*:*:0/2"
command = "sh -c 'echo ticked; date +%s >> ticks; id -u > uid'"

[process.tcron.cron.slow]
schedule = "*:*:*"
command = "sh -c 'echo begin >> slow; sleep 5; echo end >> slow'"
instances = ["a"]

[process.tcron.cron.nightly]
schedule = "daily"
command = "sh -c 'echo {id} >> nights; exit 3'"
instances = ["a"]
"#;

const BOUND: Duration = Duration::from_secs(40);

fn begin(host: &Host) {
    let _ = host.try_run("ten rm --yes --purge tcron:a tcron:b");
    host.configure("cron.toml", CONFIG);
    host.run("ten spawn --no-start tcron:a tcron:b");
    until("timers are loaded", BOUND, || match timers(host).len() {
        4 => Ok(()),
        other => Err(other),
    });
}

/// Takes the config away, so that other tests have the host for themselves.
fn end(host: &Host) {
    // One of them may be gone already.
    let _ = host.try_run("ten rm --yes --purge tcron:b");
    host.run("ten rm --yes --purge tcron:a");
    host.run("rm /etc/tenement/conf.d/cron.toml");
    host.run("ten config reload");
}

fn timers(host: &Host) -> Vec<String> {
    let list = "systemctl list-units --all --plain --no-legend 'ten-tcron@*.timer' | cut -d' ' -f1";
    host.run(list).out.lines().map(str::to_owned).collect()
}

fn file(host: &Host, id: &str, name: &str) -> Vec<String> {
    let path = format!("/var/lib/tenement/tcron/{id}/{name}");
    host.try_run(&format!("cat {path}")).out.lines().map(str::to_owned).collect()
}

#[test]
fn jobs_run_while_the_instance_sleeps_and_follow_the_config() {
    let host = Host::the();
    begin(host);
    until("both have ticked twice", BOUND, || {
        let counts = (file(host, "a", "ticks").len(), file(host, "b", "ticks").len());
        if counts.0 >= 2 && counts.1 >= 2 { Ok(()) } else { Err(counts) }
    });
    for id in ["a", "b"] {
        assert!(["asleep", "dormant"].contains(&&*host.state(&format!("tcron:{id}"))));
        let owner = host.run(&format!("stat -c %u /var/lib/tenement/tcron/{id}")).out;
        assert_eq!(file(host, id, "uid").join("\n"), owner.trim());
    }
    // What it prints is in the instance's log, and says of which job it is.
    until("its line is in the log", BOUND, || {
        let lines = host.run("ten logs tcron:a -n 50").out;
        if lines.contains("ticked") { Ok(()) } else { Err(lines) }
    });
    let lines = host.run("journalctl -o cat --no-pager TENEMENT_CRON=tick TENEMENT_INSTANCE=b").out;
    assert!(lines.contains("ticked"), "{lines}");
    // Runs never overlap: the schedule of each second finds the one before still at work.
    until("two slow runs are over", BOUND, || {
        let lines = file(host, "a", "slow");
        if lines.iter().filter(|line| *line == "end").count() >= 2 { Ok(()) } else { Err(lines) }
    });
    let lines = file(host, "a", "slow");
    assert!(
        lines.chunks(2).all(|run| run[0] == "begin" && run.get(1).is_none_or(|l| l == "end")),
        "{lines:?}"
    );

    let jobs = host.ten_json("cron ls tcron");
    let jobs = jobs.as_array().expect("a list");
    assert_eq!(jobs.len(), 4, "{jobs:?}");
    let tick = jobs.iter().find(|one| one["job"] == "tick").expect("there is one");
    assert!(
        tick["loaded"] == true && tick["next_ms"].is_u64() && tick["last_ms"].is_u64(),
        "{tick}"
    );
    assert_eq!(tick["last_result"], "success");

    // One by hand, which fails: that is said, and an event.
    let events = || host.run("ten events tcron:a --kind job-failed -n 100").out;
    let before = events().lines().count();
    let ran = host.try_run("ten cron run tcron:a nightly");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("exit-code 3"), "{ran:?}");
    assert_eq!(file(host, "a", "nights"), ["a"], "its placeholder was filled");
    let after = events();
    assert_eq!(after.lines().count(), before + 1, "{after}");
    let said = "the scheduled job nightly has failed: exit-code 3";
    assert!(after.contains(said), "{after}");
    assert_eq!(host.try_run("ten cron run tcron:b nightly").code, 3, "it is not b's");

    // Another schedule, and one that is taken away.
    let other = CONFIG.replace("\"*:*:0/2\"", "\"*-*-* 04:05:06\"").replace(
        "[process.tcron.cron.slow]\nschedule = \"*:*:*\"",
        "[process.tcron.cron.rare]\nschedule = \"monthly\"",
    );
    host.configure("cron.toml", &other);
    until("timers are those of the new config", BOUND, || {
        let jobs = host.run("ten cron ls tcron:a").out;
        let timers = timers(host).join(" ");
        let right = jobs.contains("04:05:06")
            && timers.contains("cron-rare")
            && !timers.contains("cron-slow");
        let loaded = host.run("systemctl show -P TimersCalendar ten-tcron@a.cron-tick.timer").out;
        if right && loaded.contains("04:05:06") { Ok(()) } else { Err((jobs, timers, loaded)) }
    });
    // They outlast a restart of the agent and a daemon-reload, and go with their instance.
    host.run("systemctl restart tenement; systemctl daemon-reload");
    assert_eq!(timers(host).len(), 4);
    host.run("ten rm --yes tcron:b");
    assert!(timers(host).iter().all(|timer| timer.contains("@a.")), "{:?}", timers(host));
    let told = events();
    end(host);
    assert_eq!(events(), told, "what ends with its instance has not failed");
    assert_eq!(timers(host), [""; 0]);
    let stamps = host.run("ls /var/lib/systemd/timers").out;
    assert!(!stamps.contains("tcron"), "{stamps}");
}

#[test]
fn a_job_that_was_missed_is_caught_up_once_after_a_boot() {
    let host = Host::the();
    begin(host);
    assert_eq!(file(host, "a", "nights"), [""; 0], "a new timer has missed nothing");
    host.run("touch -d '3 days ago' /var/lib/systemd/timers/stamp-ten-tcron@a.cron-nightly.timer");
    let host = host.reboot();
    until("it was caught up", Duration::from_secs(90), || match file(&host, "a", "nights").len() {
        1 => Ok(()),
        other => Err(other),
    });
    until("timers are loaded again", BOUND, || match timers(&host).len() {
        4 => Ok(()),
        other => Err(other),
    });
    host.run("systemctl restart tenement");
    until("the agent is back", BOUND, || match host.try_run("ten cron ls tcron:a") {
        ran if ran.code == 0 => Ok(()),
        ran => Err(ran),
    });
    assert_eq!(file(&host, "a", "nights").len(), 1, "three were missed, and one is caught up");
    end(&host);
}
