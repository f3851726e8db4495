//! `tenementd --user`: rootless, under a user's own systemd.

use std::time::Duration;

use tenement_tests::host::Ran;
use tenement_tests::{Client, Host, until};

const CONFIG: &str = r#"
[settings]
domain = "localhost"
port = 8181

[process.mine]
command = "/srv/apps/hello-static"

[process.cool]
command = "/srv/apps/hello-static"
health = "/"
idle_timeout = 0
freeze_after = "300ms"

[process.prints]
command = "python3 -c \"import time; print(1234567890, flush=True); time.sleep(1e6)\""
idle_timeout = 0

[process.parks]
command = "/srv/apps/hello-static"
idle_timeout = "300ms"
park = 5

[process.rel]
command = "{release}/hello"

[process.rel.deploy]
build = ["sh", "-c", "cp /srv/apps/hello-static hello && id -un"]
"#;

const BOUND: Duration = Duration::from_secs(20);

/// A shell command as the user `rootless`, with a login session's environment.
fn as_user(command: &str) -> String {
    format!(
        "runuser -u rootless -- env XDG_RUNTIME_DIR=/run/user/$(id -u rootless) \
         DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/$(id -u rootless)/bus HOME=/home/rootless \
         sh -c '{command}'"
    )
}

fn user(command: &str) -> Ran {
    Host::the().run(&as_user(command))
}

/// The host, with an agent of the user's own that runs.
fn host() -> &'static Host {
    let host = Host::the();
    host.run("id rootless >/dev/null 2>&1 || useradd -m rootless");
    host.run("loginctl enable-linger rootless");
    until("the user's manager runs", BOUND, || {
        let ran = host.try_run(&as_user("systemctl --user is-system-running"));
        if ran.out.contains("running") || ran.out.contains("degraded") { Ok(()) } else { Err(ran) }
    });
    host.write("/home/rootless/.config/tenement/tenement.toml", CONFIG);
    host.run("chown -R rootless: /home/rootless/.config");
    user("systemctl --user start tenement.service && ten --user config reload");
    host
}

fn get(host: &Host, domain: &str, path: &str) -> tenement_tests::http::Response {
    let mut client = Client::new(host.connect(8181).expect("it listens"));
    client.get(domain, path).expect("an answer")
}

fn show(name: &str) -> serde_json::Value {
    let ran = user(&format!("ten --user show {name} --json"));
    serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {ran:?}"))
}

fn until_tier(name: &str, tier: &str) {
    until(&format!("{name} is {tier}"), BOUND, || {
        let found = show(name);
        if found["tier"] == tier { Ok(()) } else { Err(found) }
    });
}

#[test]
fn an_agent_of_a_user_wakes_an_instance_without_root() {
    let host = host();
    user("ten --user spawn mine:a --no-start");
    let answer = get(host, "a.mine.localhost", "/");
    assert_eq!(answer.status, 200, "{answer:?}");
    let pid = user("systemctl --user show -p MainPID --value ten-mine@a.service").out;
    let owner = host.run(&format!("stat -c %U /proc/{}", pid.trim())).out;
    assert_eq!(owner.trim(), "rootless");
    user("ten --user rm mine:a; systemctl --user stop tenement.service");
}

#[test]
fn limits_and_secrets_of_a_user_s_instance_come_into_force() {
    let host = host();
    user("ten --user spawn mine:b");
    user("ten --user set mine:b tasks_max=33 files_max=100");
    user("printf %s hush | ten --user secret set mine:b KEY");
    user("ten --user restart mine:b");
    let unit = user("systemctl --user show -p TasksMax -p LimitNOFILE ten-mine@b.service").out;
    assert!(unit.contains("TasksMax=33") && unit.contains("LimitNOFILE=100"), "{unit}");
    let pid = user("systemctl --user show -p MainPID --value ten-mine@b.service").out;
    let cat = format!(
        "cat $(tr \"\\0\" \"\\n\" < /proc/{}/environ | sed -n s/^CREDENTIALS_DIRECTORY=//p)/KEY",
        pid.trim()
    );
    assert_eq!(user(&cat).out, "hush");
    assert_eq!(get(host, "b.mine.localhost", "/").status, 200);
    let refused = host.try_run(&as_user("ten --user set mine:b memory_max=1"));
    assert!(refused.code == 2 && refused.err.contains("memory_max"), "{refused:?}");
    user("ten --user rm mine:b --purge --yes; systemctl --user stop tenement.service");
}

#[test]
fn a_user_s_instance_is_frozen_or_parked_when_idle_and_answers_again() {
    let host = host();
    user("ten --user spawn cool:a parks:a");
    for (name, tier, domain) in
        [("cool:a", "frozen", "a.cool.localhost"), ("parks:a", "parked", "a.parks.localhost")]
    {
        until_tier(name, tier);
        assert_eq!(get(host, domain, "/").status, 200, "{name}");
        until_tier(name, tier);
    }
    assert_eq!(show("cool:a")["health"], "healthy");
    user("ten --user rm cool:a parks:a; systemctl --user stop tenement.service");
}

#[test]
fn a_user_s_instance_runs_from_a_release_that_is_built_as_that_user() {
    let host = host();
    user("mkdir -p ~/app && echo one > ~/app/version");
    let ran = user("ten --user deploy rel ~/app --release v1");
    assert!(ran.err.contains("rootless") && ran.err.contains("v1 of rel is ready"), "{ran:?}");
    user("ten --user spawn rel:a");
    assert_eq!(get(host, "a.rel.localhost", "/").status, 200);
    let dir = "/home/rootless/.local/share/tenement/releases/rel";
    assert_eq!(host.run(&format!("ls -A {dir}; stat -c %U:%a {dir}/v1")).out, "v1\nrootless:755\n");
    assert_eq!(show("rel:a")["service"]["release"], "v1");
    user("ten --user rm rel:a --purge --yes; systemctl --user stop tenement.service");
}

#[test]
fn what_a_user_s_instance_prints_is_found_by_that_user() {
    host();
    user("ten --user spawn prints:a");
    until("the line is found", BOUND, || {
        let ran = Host::the().try_run(&as_user("ten --user logs prints:a --search 1234567890"));
        if ran.out.contains("1234567890") { Ok(()) } else { Err(ran) }
    });
    user("ten --user rm prints:a --purge --yes; systemctl --user stop tenement.service");
}
