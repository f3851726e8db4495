//! `ten`: every verb on a real agent, with its exit code.

use tenement_tests::Host;

const CONFIG: &str = r#"
[process.tcli]
command = "/srv/apps/hello-static"
idle_timeout = "10m"
instances = 2
"#;

fn host() -> &'static Host {
    let host = Host::the();
    if host.try_run("test -e /etc/tenement/conf.d/cli.toml").code != 0 {
        host.configure("cli.toml", CONFIG);
    }
    host
}

#[test]
fn spawn_without_an_id_starts_as_many_as_the_config_says() {
    let host = host();
    host.run("ten spawn tcli");
    assert_eq!(host.state("tcli:1"), "running");
    assert_eq!(host.state("tcli:2"), "running");
}

#[test]
fn the_verbs_do_what_they_say_and_their_exit_codes_are_the_documented_ones() {
    let host = host();
    host.run("ten spawn tcli --id prod");
    assert_eq!(host.try_run("ten spawn tcli:prod").code, 6);
    host.run("ten sleep tcli:prod");
    assert_eq!(host.state("tcli:prod"), "asleep");
    host.run("ten wake tcli:prod");
    assert_eq!(host.state("tcli:prod"), "running");
    let before = host.ten_json("show tcli:prod")["pid"].clone();
    host.run("ten restart tcli:prod");
    assert_ne!(host.ten_json("show tcli:prod")["pid"], before);
    host.run("ten stop tcli:prod");
    assert_eq!(host.try_run("ten show tcli:nobody").code, 3);
    assert_eq!(host.try_run("ten spawn nosuch:a").code, 3);
    assert_eq!(host.try_run("ten frobnicate").code, 2);
    let asked = host.try_run("ten rm tcli:prod --purge");
    assert_eq!(asked.code, 2, "it asks before it deletes data, and here is nobody: {asked:?}");
    host.run("ten rm tcli:prod");
    assert_eq!(host.try_run("ten show tcli:prod").code, 3);
    host.run("test -d /var/lib/tenement/tcli/prod");
}

#[test]
fn purge_deletes_the_data_and_rm_alone_keeps_it() {
    let host = host();
    host.run(
        "ten spawn tcli:keep && ten rm tcli:keep --yes && test -d /var/lib/tenement/tcli/keep",
    );
    host.run("ten spawn tcli:gone && ten rm tcli:gone --yes --purge");
    assert_ne!(host.try_run("test -e /var/lib/tenement/tcli/gone").code, 0);
}

#[test]
fn ps_has_a_table_for_people_and_the_same_as_json() {
    let host = host();
    host.run("ten spawn tcli:shown");
    let table = host.run("ten ps").out;
    assert!(table.contains("tcli:shown"), "{table}");
    assert!(!table.contains('\u{1b}'), "colour off a terminal");
    let json = host.ten_json("ps");
    let names = json["instances"].as_array().expect("a list");
    assert!(names.iter().any(|i| i["name"] == "tcli:shown"), "{json}");
    assert!(host.run("ten ps -q").out.lines().any(|l| l == "tcli:shown"));
}

#[test]
fn a_user_outside_the_group_is_told_what_to_do() {
    let ran = host().try_run("runuser -u nobody -- ten ps");
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.err.contains("tenement"), "{}", ran.err);
}

#[test]
fn a_member_of_the_group_needs_no_token() {
    let host = host();
    host.run("id opsy >/dev/null 2>&1 || useradd -G tenement opsy");
    host.run("runuser -u opsy -- ten ps");
}

#[test]
fn completions_and_man_pages_are_installed() {
    let host = host();
    host.run("test -s /usr/share/bash-completion/completions/ten");
    host.run("test -s /usr/share/zsh/vendor-completions/_ten");
    host.run("test -s /usr/share/fish/vendor_completions.d/ten.fish");
    for page in ["man1/ten.1.gz", "man8/tenementd.8.gz", "man5/tenement.toml.5.gz"] {
        // The test host leaves documentation out of packages, so ask the package itself.
        let list = host.run("dpkg -c /root/pkg/tenement.deb").out;
        assert!(list.contains(page), "{page}");
    }
}

#[test]
fn init_recognises_a_directory_and_its_config_is_valid() {
    let host = host();
    host.write(
        "/root/init/package.json",
        "{\"name\":\"shop\",\"scripts\":{\"start\":\"node server.js\"}}",
    );
    host.run("ten init /root/init --output /root/init.toml");
    host.run("ten config check /root/init.toml");
}

#[test]
fn version_names_the_agent_and_systemd() {
    let json = host().ten_json("version");
    assert!(json.to_string().contains("252") || json.to_string().contains("257"), "{json}");
}

#[test]
fn doctor_and_log_warn_of_what_the_config_asks_and_this_host_cannot_do() {
    let host = Host::the();
    let text = "[process.cliunmet]\ncommand = \"/srv/apps/hello-static\"\nreclaim_after = \"5s\"\n";
    host.configure("cliunmet.toml", text);
    let ran = host.try_run("ten doctor --json");
    let report: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    let checks = report["checks"].as_array().expect("a list");
    let of = |name: &str| checks.iter().find(|c| c["name"] == name).map(ToString::to_string);
    let host_lacks = ["swap", "reclaim"].iter().any(|n| of(n).expect(n).contains("can't be had"));
    let told = of("config and host").unwrap_or_default();
    assert_eq!(told.contains("`reclaim_after` of process `cliunmet`"), host_lacks, "{ran:?}");
    let log = host.try_run("journalctl -u tenement -o cat -g 'of process `cliunmet` is left out'");
    assert_eq!(log.code == 0, host_lacks, "{log:?}");
    host.run("rm /etc/tenement/conf.d/cliunmet.toml; ten config reload");
}
