//! `tenementd --user`: rootless, under a user's own systemd.

use std::time::Duration;

use tenement_tests::{Host, until};

/// A shell command as the user `rootless`, with a login session's environment.
fn as_user(command: &str) -> String {
    format!(
        "runuser -u rootless -- env XDG_RUNTIME_DIR=/run/user/$(id -u rootless) \
         DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/$(id -u rootless)/bus HOME=/home/rootless \
         sh -c '{command}'"
    )
}

#[test]
fn an_agent_of_a_user_wakes_an_instance_without_root() {
    let host = Host::the();
    host.run("id rootless >/dev/null 2>&1 || useradd -m rootless");
    host.run("loginctl enable-linger rootless");
    until("the user's manager runs", Duration::from_secs(20), || {
        let ran = host.try_run(&as_user("systemctl --user is-system-running"));
        if ran.out.contains("running") || ran.out.contains("degraded") { Ok(()) } else { Err(ran) }
    });
    let config = "[settings]\ndomain = \"localhost\"\nport = 8181\n\n[process.mine]\n\
                  command = \"/srv/apps/hello-static\"\n";
    host.write("/home/rootless/.config/tenement/tenement.toml", config);
    host.run("chown -R rootless: /home/rootless/.config");
    host.run(&as_user("systemctl --user start tenement.service"));
    host.run(&as_user("ten --user spawn mine:a --no-start"));
    let mut client = tenement_tests::Client::new(host.connect(8181).expect("it listens"));
    let answer = client.get("a.mine.localhost", "/").expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
    let pid = host.run(&as_user("systemctl --user show -p MainPID --value ten-mine@a.service")).out;
    let user = host.run(&format!("stat -c %U /proc/{}", pid.trim())).out;
    assert_eq!(user.trim(), "rootless");
    host.run(&as_user("ten --user stop mine:a"));
    host.run(&as_user("systemctl --user stop tenement.service"));
}
