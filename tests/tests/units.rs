//! Units: systemd's own tools beside us.

use std::time::Duration;

use tenement_tests::{Host, until};

const CONFIG: &str = r#"
[process.ufd]
command = "/srv/apps/hello-static"
idle_timeout = 0

[process.uport]
command = "/srv/apps/hello-static --port {port}"
idle_timeout = 0

[process.uliteral]
command = "/srv/apps/hello-static --label 'a b' $HOME ${PATH} %n %% 100%"
env = { PERCENT = "%n 50%", DOLLAR = "$HOME ${PATH}", QUOTE = "a \" b ' c" }
idle_timeout = 0
"#;

fn host() -> &'static Host {
    let host = Host::the();
    if host.try_run("test -e /etc/tenement/conf.d/units.toml").code != 0 {
        host.configure("units.toml", CONFIG);
        host.run("ten spawn ufd:a && ten spawn uport:a && ten spawn uliteral:a");
    }
    host
}

#[test]
fn an_instance_is_a_transient_socket_and_service_in_its_own_slice() {
    let host = host();
    let units = host.run("systemctl list-units --all --no-legend --plain 'ten-ufd@*'").out;
    assert!(units.contains("ten-ufd@a.service") && units.contains("ten-ufd@a.socket"), "{units}");
    let shown = host.run("systemctl show -p Transient,Slice,Description ten-ufd@a.service").out;
    assert!(shown.contains("Transient=yes"), "{shown}");
    assert!(shown.contains("Slice=tenement-ufd-"), "{shown}");
    host.run("systemctl status ten-ufd@a.service");
    assert!(host.run("systemd-cgls").out.contains("ten-ufd@a.service"));
}

#[test]
fn what_an_app_prints_is_in_the_journal_under_its_unit_and_its_fields() {
    let host = host();
    until("the app's line is in the journal", Duration::from_secs(5), || {
        let by_unit = host.run("journalctl -o cat -u ten-ufd@a.service").out;
        let by_field = host.run("journalctl -o cat TENEMENT_PROCESS=ufd TENEMENT_INSTANCE=a").out;
        if by_unit.contains("listening") && by_field.contains("listening") {
            Ok(())
        } else {
            Err((by_unit, by_field))
        }
    });
    assert!(host.run("ten logs ufd:a -n 50").out.contains("listening"));
}

#[test]
fn stop_and_start_by_hand_are_followed_within_a_second() {
    let host = host();
    for name in ["ufd:a", "uport:a"] {
        let unit = format!("ten-{}.service", name.replace(':', "@"));
        let second = Duration::from_secs(1);
        host.run(&format!("systemctl stop {unit}"));
        host.until_state(name, &["asleep"], second);
        host.run(&format!("systemctl start {unit}"));
        host.until_state(name, &["running"], second);
    }
}

#[test]
fn a_pair_that_was_stopped_by_hand_is_made_again_by_the_next_request() {
    let host = host();
    host.run("systemctl stop ten-ufd@a.socket ten-ufd@a.service");
    assert_eq!(host.get("a.ufd.localhost", "/").status, 200);
}

#[test]
fn percent_dollar_and_quotes_reach_the_app_literally() {
    let host = host();
    let text = host.get("a.uliteral.localhost", "/env").text();
    for want in [
        "a b",
        "$HOME",
        "${PATH}",
        "%n",
        "%%",
        "100%",
        "PERCENT=%n 50%",
        "DOLLAR=$HOME ${PATH}",
        "QUOTE=a \" b ' c",
    ] {
        assert!(text.contains(want), "{want} is not in\n{text}");
    }
}

#[test]
fn an_instance_knows_its_name_and_its_own_data_directory() {
    let host = host();
    let text = host.get("a.ufd.localhost", "/env").text();
    assert!(text.contains("DATA_DIR=/var/lib/tenement/ufd/a"), "{text}");
    assert!(
        text.contains("TENEMENT_PROCESS=ufd") && text.contains("TENEMENT_INSTANCE=a"),
        "{text}"
    );
    let data = host.ten_json("show ufd:a")["data_dir"].clone();
    assert_eq!(data, "/var/lib/tenement/ufd/a");
    let mode = host.run("stat -c %a /var/lib/tenement/ufd/a").out;
    assert_eq!(mode.trim(), "700");
}

#[test]
fn two_instances_run_as_two_users_and_neither_as_root() {
    let host = host();
    if host.try_run("ten show ufd:b").code != 0 {
        host.run("ten spawn ufd:b");
    }
    host.run("ten wake ufd:a");
    let uid = |id: &str| {
        let pid = host.ten_json(&format!("show ufd:{id}"))["pid"].as_u64().expect("it runs");
        host.run(&format!("stat -c %u /proc/{pid}")).out.trim().to_owned()
    };
    let (a, b) = (uid("a"), uid("b"));
    assert_ne!(a, b);
    assert!(a != "0" && b != "0", "{a} {b}");
}

#[test]
fn daemon_reload_changes_no_instance() {
    let host = host();
    host.run("ten wake ufd:a");
    let before = host.ten_json("show ufd:a")["pid"].clone();
    host.run("systemctl daemon-reload");
    assert_eq!(host.get("a.ufd.localhost", "/").status, 200);
    assert_eq!(host.ten_json("show ufd:a")["pid"], before);
}
