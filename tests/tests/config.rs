//! Config: the example of the README loads, bad ones are refused whole, and the last good one stays.

use std::path::Path;

use tenement_tests::Host;

const VERBATIM: &str = r#"[settings]
domain = "example.com"
port = 8080
data_dir = "/var/lib/tenement"

[process.api]
command = "node server.js"
directory = "/app/api"
socket = "{data_dir}/{process}-{id}.sock"
env = { NODE_ENV = "production" }
health = "http://localhost:{port}/health"
instances = 1                      # how many `ten spawn api` without --id starts (ids 1..n)

[process.web]
command = "python3 -m http.server --bind 127.0.0.1 {port}"
directory = "/app/web"
"#;

/// The config as it was, put back whatever happens.
struct Restore<'a>(&'a Host);

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        let _ = self
            .0
            .try_run("cp /root/tenement.toml.bak /etc/tenement/tenement.toml && ten config reload");
    }
}

fn keep(host: &Host) -> Restore<'_> {
    host.run("cp /etc/tenement/tenement.toml /root/tenement.toml.bak");
    Restore(host)
}

#[test]
fn the_example_config_loads_verbatim_and_does_what_it_says() {
    let host = Host::the();
    let _restore = keep(host);
    host.run("mkdir -p /app/api /app/web && cp /srv/apps/node-hello/server.js /app/api/ && echo hello-web > /app/web/index.html");
    host.write("/etc/tenement/tenement.toml", VERBATIM);
    host.run("ten config reload");
    host.run("ten spawn api");
    host.run("ten spawn web:prod");
    assert_eq!(host.get("1.api.example.com", "/").status, 200);
    assert!(host.get("prod.web.example.com", "/").text().contains("hello-web"));
    assert_eq!(host.get("example.com", "/health").status, 200);
    host.run("ten rm api:1 --yes && ten rm web:prod --yes");
}

#[test]
fn the_running_agent_keeps_the_last_good_config_and_says_so() {
    let host = Host::the();
    let _restore = keep(host);
    host.write("/etc/tenement/conf.d/bad.toml", "[process.bad]\ncomand = \"true\"\n");
    let ran = host.try_run("ten config reload");
    assert_ne!(ran.code, 0);
    assert!(ran.err.contains("bad.toml:2:1") && ran.err.contains("command"), "{}", ran.err);
    assert_eq!(host.get("localhost", "/health").status, 200);
    let rejected = host.ten_json("config")["rejected"].clone();
    assert!(!rejected.as_array().expect("a list").is_empty(), "{rejected}");
    host.run("rm /etc/tenement/conf.d/bad.toml && ten config reload");
}

#[test]
fn the_agent_never_starts_half_configured() {
    let host = Host::the();
    host.write("/etc/tenement/conf.d/bad.toml", "[process.bad]\ncomand = \"true\"\n");
    let ran = host.try_run("runuser -u tenement -- /usr/sbin/tenementd 2>&1");
    assert_eq!(ran.code, 78, "{ran:?}");
    assert!(ran.out.contains("bad.toml:2:1"), "{ran:?}");
    host.run("rm /etc/tenement/conf.d/bad.toml");
}

#[test]
fn each_of_the_bad_configs_names_file_line_and_fix_and_none_crashes() {
    let host = Host::the();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let mut count = 0;
    for entry in std::fs::read_dir(golden).expect("golden cases") {
        let dir = entry.expect("readable").path();
        if !dir.join("expected.err").exists() || dir.join("conf.d").exists() {
            continue;
        }
        let bytes = std::fs::read(dir.join("tenement.toml")).expect("a config");
        host.write("/root/check/tenement.toml", &String::from_utf8_lossy(&bytes));
        let ran = host.try_run("ten config check /root/check/tenement.toml");
        let text = format!("{}{}", ran.out, ran.err);
        let dir = dir.display();
        assert_eq!(ran.code, 1, "{dir}: {text}");
        assert!(text.contains("/root/check/tenement.toml:"), "{dir}: {text}");
        assert!(text.contains("fix"), "{dir}: {text}");
        count += 1;
    }
    assert!(count >= 40, "only {count} bad configs");
}

#[test]
fn instances_named_in_the_config_exist_after_a_reload_and_cannot_be_removed_beside_it() {
    let host = Host::the();
    host.configure(
        "named.toml",
        "[process.cnamed]\ncommand = \"/srv/apps/hello-static\"\n[instances]\ncnamed = [\"prod\", \"staging\"]\n",
    );
    assert_eq!(host.get("prod.cnamed.localhost", "/").status, 200);
    assert_eq!(host.get("staging.cnamed.localhost", "/").status, 200);
    assert_eq!(host.try_run("ten rm cnamed:prod --yes").code, 6);
}

#[test]
fn a_changed_definition_is_used_from_the_next_start_on() {
    let host = Host::the();
    let with = |value: &str| {
        format!(
            "[process.cchange]\ncommand = \"/srv/apps/hello-static\"\nenv = {{ STAGE = \"{value}\" }}\n"
        )
    };
    host.configure("change.toml", &with("one"));
    host.run("ten spawn cchange:a");
    assert!(host.get("a.cchange.localhost", "/env").text().contains("STAGE=one"));
    host.configure("change.toml", &with("two"));
    assert!(host.get("a.cchange.localhost", "/env").text().contains("STAGE=one"));
    host.run("ten stop cchange:a");
    assert!(host.get("a.cchange.localhost", "/env").text().contains("STAGE=two"));
}

#[test]
fn env_files_are_read_from_root_owned_places_only_and_reach_the_app() {
    let host = Host::the();
    host.write("/etc/tenement/env/app.env", "FROM_FILE=yes it's $literal\n");
    host.run("chmod 600 /etc/tenement/env/app.env");
    let config = "[process.cenv]\ncommand = \"/srv/apps/hello-static\"\nenv_file = \"/etc/tenement/env/app.env\"\n";
    host.configure("env.toml", config);
    host.run("ten spawn cenv:a");
    let text = host.get("a.cenv.localhost", "/env").text();
    assert!(text.contains("FROM_FILE=yes it's $literal"), "{text}");
    host.run("ten stop cenv:a && chown nobody /etc/tenement/env/app.env && touch /etc/tenement/env/app.env");
    let ran = host.try_run("ten restart cenv:a");
    assert_ne!(ran.code, 0, "an env file of another user was read");
    host.run("chown root /etc/tenement/env/app.env");
}
