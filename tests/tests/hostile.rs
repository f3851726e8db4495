//! An instance that attacks its neighbour and its host: nothing comes of it under `strict`.

use std::collections::BTreeMap;

use tenement_tests::Host;

const APP: &str = include_str!("../apps/hostile/hostile.py");

/// The victim of the loopback attempt is in `standard`, since strict would protect it from its own side.
const CONFIG: &str = r#"
[process.victim]
command = "/usr/bin/python3 /srv/apps/hostile/hostile.py victim-argv"
listen = "fd"
idle_timeout = 0
isolation = "standard"
env = { SECRET = "victim-secret-7c1f" }

[process.shut]
command = "/usr/bin/python3 /srv/apps/hostile/hostile.py"
listen = "fd"
idle_timeout = 0

[process.bare]
command = "/usr/bin/python3 /srv/apps/hostile/hostile.py"
listen = "fd"
idle_timeout = 0
isolation = "none"
"#;

type Results = BTreeMap<String, (bool, String)>;

fn attack(host: &Host, name: &str, pid: &str) -> Results {
    let text = host.get(name, &format!("/attack?pid={pid}")).text();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn successes(results: &Results) -> Vec<String> {
    let good = results.iter().filter(|(_, (succeeded, _))| *succeeded);
    good.map(|(name, (_, evidence))| format!("{name}: {evidence}")).collect()
}

fn host() -> (&'static Host, String) {
    let host = Host::the();
    host.write("/srv/apps/hostile/hostile.py", APP);
    host.run("touch /tmp/of-the-host");
    host.configure("hostile.toml", CONFIG);
    if host.try_run("ten show victim:v").code != 0 {
        host.run("ten spawn victim:v shut:s bare:b");
    }
    host.run("ten restart victim:v");
    assert_eq!(host.get("v.victim.localhost", "/listen").status, 200);
    let pid = host.get("v.victim.localhost", "/pid").text();
    (host, pid)
}

#[test]
fn nothing_that_a_strict_instance_tries_on_its_neighbour_or_host_succeeds() {
    let (host, pid) = host();
    let shut = attack(host, "s.shut.localhost", &pid);
    let bare = attack(host, "b.bare.localhost", &pid);
    let (got, control) = (successes(&shut), successes(&bare));
    println!("strict: {} of {} attempts; none: {}", got.len(), shut.len(), control.len());
    assert!(shut.len() >= 40, "only {} attempts", shut.len());
    assert!(got.is_empty(), "{got:#?}");
    assert!(control.len() >= 10, "the attempts prove nothing: {control:#?}");
    for name in ["see_processes", "read_command_line", "loopback_port_of_other", "system_bus"] {
        assert!(bare[name].0, "{name} fails without a sandbox too: {:?}", bare[name]);
    }
    host.run("systemctl daemon-reload");
    host.run("ten restart shut:s");
    let again = successes(&attack(host, "s.shut.localhost", &pid));
    assert!(again.is_empty(), "after a daemon-reload: {again:#?}");
}

#[test]
fn a_symlink_in_a_data_directory_leads_neither_purge_nor_spawn_astray() {
    let (host, _) = host();
    host.run("ten spawn shut:links && ten stop shut:links");
    let data = "/var/lib/tenement/shut/links";
    host.run("mkdir -p /srv/precious/deep && touch /srv/precious/deep/file");
    host.run(&format!("ln -s /srv/precious {data}/dir; ln -s /etc/shadow {data}/file; mkdir -m 000 {data}/closed; chown --reference={data} -h {data}/*"));
    host.run("ten restart shut:links && ten rm --purge --yes shut:links");
    assert_ne!(host.try_run(&format!("test -e {data}")).code, 0, "it is gone");
    host.run("test -e /srv/precious/deep/file && test -s /etc/shadow");
    host.run("ln -s /srv/precious /var/lib/tenement/shut/planted");
    let ran = host.try_run("ten spawn shut:planted");
    assert_ne!(ran.code, 0, "{ran:?}");
    host.run("rm /var/lib/tenement/shut/planted; ten rm --yes shut:planted || true");
}

#[test]
fn names_and_texts_that_would_change_a_unit_are_refused_at_the_border() {
    let (host, _) = host();
    for bad in ["shut:..", "shut:a@b", "shut:%i", "shut:a/b", "shut:$(id)", "../x:a", "shut:a b"] {
        let ran = host.try_run(&format!("ten spawn '{bad}'"));
        assert_ne!(ran.code, 0, "{bad}: {ran:?}");
        let call = format!(
            "curl -s -o /dev/null -w '%{{http_code}}' --unix-socket /run/tenement/admin.sock --json \
             '{{\"process\":\"shut\",\"ids\":[\"{}\"]}}' http://x/v1/instances",
            bad.rsplit(':').next().unwrap_or_default().replace('\'', "")
        );
        let code = host.try_run(&call).out;
        assert!(code.starts_with('4'), "{bad}: {code}");
    }
    for line in [
        "command = \"/srv/apps/hello-static '\\n[Service]\\nExecStartPre=+/bin/id'\"",
        "command = \"/srv/apps/hello-static\"\nenv = { A = \"x\\n[Service]\" }",
        "command = \"/srv/apps/hello-static\"\nenv = { A = \"x\\u0000y\" }",
        "command = \"/srv/apps/hello-static\"\nsystemd = { ProtectHome = \"yes\\nUser=root\" }",
        "command = \"/srv/apps/hello-static\"\nsystemd = { User = \"root\" }",
        "command = \"/srv/apps/hello-static\"\nsystemd = { ExecStartPre = \"+/bin/id\" }",
    ] {
        host.write("/root/inject.toml", &format!("[process.inject]\n{line}\n"));
        let ran = host.try_run("ten config check /root/inject.toml");
        assert_ne!(ran.code, 0, "{line}: {ran:?}");
    }
    host.configure(
        "inject.toml",
        "[process.inject]\ncommand = \"/srv/apps/hello-static --label '[Service] %i %n ; $HOME \\\\n'\"\n\
         env = { A = \"[Service] ExecStartPre=+/usr/bin/touch /run/owned %i\" }\nidle_timeout = 0\n",
    );
    host.run("ten spawn inject:a");
    let show = || {
        host.run("systemctl show -p User,ExecStartPre,ExecStopPost,Environment,NoNewPrivileges ten-inject@a.service").out
    };
    let before = show();
    host.run("systemctl daemon-reload && ten restart inject:a");
    assert_eq!(before, show(), "the unit is another one after a daemon-reload");
    assert_ne!(host.try_run("test -e /run/owned").code, 0);
}
