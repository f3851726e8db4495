//! Commands in an instance: `ten run` and `ten shell`.

use std::time::Duration;

use tenement_tests::{Host, until};

const CONFIG: &str = r#"
[process.trun]
command = "/srv/apps/hello-static"
env = { GREETING = "hello there", PATH = "/var/lib/tenement/trun/a/bin:/usr/bin:/bin" }
idle_timeout = 0

[process.tdyn]
command = "/srv/apps/hello-static"
user = "dynamic"

[process.tnet]
command = "python3 -m http.server 3000"
port = 3000
network = "private"
"#;

const BOUND: Duration = Duration::from_secs(20);

fn host() -> &'static Host {
    let host = Host::the();
    if host.try_run("test -e /etc/tenement/conf.d/tasks.toml").code != 0 {
        host.configure("tasks.toml", CONFIG);
        host.run("ten spawn --no-start trun:a trun:b tdyn:a tnet:a");
    }
    host
}

fn commands(host: &Host) -> String {
    host.run("systemctl list-units --all --plain --no-legend 'ten-*@*.run-*.service'").out
}

#[test]
fn output_errors_and_the_exit_status_are_passed_on_and_a_sleeping_instance_sleeps_on() {
    let host = host();
    host.run("ten stop trun:a");
    let ran = host.try_run("ten run trun:a -- sh -c 'echo out; echo err >&2; exit 7'");
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (7, "out\n", "err\n"));
    let ran = host.try_run("ten run trun:a -- sh -c 'kill -9 $$'");
    assert_eq!(ran.code, 128 + 9, "{ran:?}");
    let ran = host.try_run("ten run --timeout 1s trun:a -- sleep 60");
    assert_eq!(ran.code, 124, "{ran:?}");
    let ran = host.try_run("ten run trun:a -- no-such-program");
    assert_eq!(ran.code, 127, "its own PATH is looked through by env(1): {ran:?}");
    assert!(["asleep", "dormant"].contains(&&*host.state("trun:a")));
    assert_eq!(commands(host), "");
    let lines = host.run("ten logs trun:a -n 100").out;
    assert!(!lines.contains("out\n") && !lines.contains("run-"), "{lines}");
}

#[test]
fn input_of_any_size_goes_through_and_so_does_output() {
    let host = host();
    let counted = host.run("head -c 20000000 /dev/zero | ten run trun:a -- wc -c").out;
    assert_eq!(counted.trim(), "20000000");
    let counted = host.run("ten run trun:a -- head -c 20000000 /dev/zero | wc -c").out;
    assert_eq!(counted.trim(), "20000000");
    assert_eq!(host.run("ten run trun:a -- yes | head -n 1").out, "y\n");
    until("the command that nobody reads is ended", BOUND, || match commands(host) {
        none if none.is_empty() => Ok(()),
        some => Err(some),
    });
}

#[test]
fn a_command_is_run_as_the_instance_with_its_data_environment_and_sandbox() {
    let host = host();
    host.run("ten wake trun:a");
    let pid = host.run("systemctl show -P MainPID ten-trun@a.service").out;
    let own = |what: &str| host.run(&format!("grep '^{what}:' /proc/{}/status", pid.trim())).out;
    let in_it =
        |what: &str| host.run(&format!("ten run trun:a -- grep '^{what}:' /proc/self/status")).out;
    for what in ["Uid", "Gid", "Groups", "CapBnd", "CapEff", "NoNewPrivs", "Seccomp"] {
        assert_eq!(own(what), in_it(what), "{what}");
    }
    let script = "echo $GREETING; pwd; echo $TENEMENT_PROCESS:$TENEMENT_INSTANCE; echo $MORE";
    let ran = host.run(&format!("ten run -e MORE=x=y trun:a -- sh -c '{script}'"));
    assert_eq!(ran.out, "hello there\n/var/lib/tenement/trun/a\ntrun:a\nx=y\n");
    host.run("ten run trun:a -- sh -c 'mkdir -p bin; printf \"#!/bin/sh\\necho mine\\n\" > bin/tool; chmod +x bin/tool'");
    assert_eq!(host.run("ten run trun:a -- tool").out, "mine\n");
    for forbidden in
        ["touch /etc/x", "ls /var/lib/tenement/trun/b", "cat /etc/shadow", "touch /usr/x"]
    {
        let ran = host.try_run(&format!("ten run trun:a -- {forbidden}"));
        assert_ne!(ran.code, 0, "{forbidden}: {ran:?}");
    }
    // Lines in an argument arrive as they are.
    assert_eq!(host.run("ten run trun:a -- sh -c 'echo a\n\techo b'").out, "a\nb\n");
    assert_eq!(host.state("trun:a"), "running");
    assert_eq!(host.get("a.trun.localhost", "/").status, 200);
}

#[test]
fn an_instance_that_runs_shares_its_network_and_its_tmp_with_a_command() {
    let host = host();
    assert_eq!(host.get("a.tnet.localhost", "/").status, 200);
    let ran = host.run("ten run tnet:a -- python3 -c 'import urllib.request as u; print(u.urlopen(\"http://127.0.0.1:3000\").status)'");
    assert_eq!(ran.out, "200\n");
    host.run("ten stop tnet:a");
    let ran = host.try_run("ten run tnet:a -- python3 -c 'import urllib.request as u; u.urlopen(\"http://127.0.0.1:3000\")'");
    assert_ne!(ran.code, 0, "nobody listens while it sleeps");
    // A user that systemd makes up is the same beside the instance.
    host.run("ten wake tdyn:a");
    let uid = host.run("stat -c %u /proc/$(systemctl show -P MainPID ten-tdyn@a.service)").out;
    assert_eq!(host.run("ten run tdyn:a -- id -u").out, uid);
    assert_eq!(host.run("ten run tdyn:a -- sh -c 'echo x > kept; cat kept'").out, "x\n");
    assert_eq!(host.get("a.tdyn.localhost", "/").status, 200);
}

#[test]
fn signals_are_passed_on_and_a_client_that_is_gone_ends_its_command() {
    let host = host();
    let ran = host.try_run(
        "ten run trun:a -- sh -c 'trap \"echo got it; exit 3\" TERM; echo ready; sleep 60 & wait' > /tmp/run-out & pid=$!; \
         until grep -q ready /tmp/run-out; do sleep 0.1; done; kill -TERM $pid; wait $pid; echo $?; cat /tmp/run-out",
    );
    assert_eq!(ran.out, "3\nready\ngot it\n", "{ran:?}");
    host.run("ten run trun:a -- sleep 1000 > /dev/null 2>&1 & echo $! > /tmp/run-client");
    until("it runs", BOUND, || match commands(host) {
        some if some.contains("activating") => Ok(()),
        other => Err(other),
    });
    host.run("kill -9 $(cat /tmp/run-client)");
    until("it is ended", BOUND, || match commands(host) {
        none if none.is_empty() => Ok(()),
        some => Err(some),
    });
    // The same when the agent is gone: its next start ends what it finds.
    host.run("ten run trun:a -- sh -c 'trap \"\" HUP PIPE; sleep 1000' > /dev/null 2>&1 & sleep 0");
    until("it runs", BOUND, || match commands(host) {
        some if some.contains("activating") => Ok(()),
        other => Err(other),
    });
    host.run("systemctl kill -s KILL tenement.service; sleep 0");
    until("it is ended", BOUND, || match commands(host) {
        none if none.is_empty() => Ok(()),
        some => Err(some),
    });
}

#[test]
fn a_terminal_has_its_size_job_control_and_its_end() {
    let host = host();
    let keys = "(sleep 2; printf 'tty; stty size\\n'; sleep 1; printf 'sleep 1000\\n'; sleep 2; printf '\\003'; sleep 1; \
                printf 'echo interrupted $?\\n'; sleep 1; printf 'exit 5\\n'; sleep 3)";
    let ran = host.try_run(&format!(
        "{keys} | timeout 60 script -qec 'stty rows 33 cols 99; ten shell trun:a' /dev/null"
    ));
    assert_eq!(ran.code, 5, "{ran:?}");
    assert!(ran.out.contains("/dev/pts/"), "{ran:?}");
    assert!(ran.out.contains("33 99"), "{ran:?}");
    assert!(ran.out.contains("interrupted 130"), "{ran:?}");
    assert!(ran.out.contains("[trun:a]"), "{ran:?}");
    assert_eq!(commands(host), "");
    // Without a terminal a shell reads its commands.
    assert_eq!(host.feed("ten shell trun:a", "echo piped; exit 4").code, 4);
}

#[test]
fn a_token_runs_commands_where_it_reaches_and_only_as_an_admin() {
    let host = host();
    let make = |options: &str| {
        let text = host.run(&format!("ten token-gen --quiet {options}")).out;
        text.trim().to_owned()
    };
    let run = |token: &str, instance: &str| {
        host.try_run(&format!(
            "TENEMENT_TOKEN={token} ten --url http://localhost:8080 run {instance} -- echo over the network"
        ))
    };
    let admin = make("--scope admin --process trun --instance a");
    assert_eq!(run(&admin, "trun:a").out, "over the network\n");
    let other = run(&admin, "trun:b");
    assert!(other.code != 0 && other.err.contains("no instance trun:b"), "{other:?}");
    assert_eq!(run(&make("--scope operator"), "trun:a").code, 4);
    let events = host.run("ten events -n 20 --kind change --json").out;
    assert!(
        events.contains("run a command in trun:a") && events.contains("\"program\""),
        "{events}"
    );
    assert!(!events.contains("over the network"), "only the program is kept");
}
