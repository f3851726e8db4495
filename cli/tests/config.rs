//! `ten config`, `ten logs` and `ten version`.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::{Fake, problem, run, ten};

fn view() -> Value {
    json!({
        "domain": "example.com", "port": 8080, "data_dir": "/var/lib/tenement",
        "files": ["/etc/tenement/tenement.toml"],
        "processes": [{
            "name": "api", "command": ["node", "server.js"], "listen": "port",
            "idle_timeout_s": 300, "instances": 1, "spawn_on_request": false,
            "health": null, "env": ["KEY"], "startup_timeout_s": 30, "stop_timeout_s": 10,
            "limits": {"memory_max": 268435456}, "max": {}, "total": {},
        }],
    })
}

/// A program that stands for another one.
fn script(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn config_prints_what_the_agent_runs_on() {
    let fake = Fake::start(|_| (200, view()));
    let run = fake.ten(&["config"]).exits(0);
    assert!(run.out.contains("domain  example.com\n"), "{}", run.out);
    assert!(run.out.contains("api      port    5m"), "{}", run.out);
    assert_eq!(fake.ten(&["config", "--json"]).json(), view());
    assert_eq!(fake.ten(&["config", "--quiet"]).out, "api\n");
    assert_eq!(fake.asked()[0], "GET /api/v1/config");
}

#[test]
fn config_warns_when_the_files_on_disk_were_refused() {
    let fake = Fake::start(|_| {
        let mut old = view();
        old["rejected"] = json!([{
            "file": "t.toml", "line": 3, "column": 1, "text": "foo", "message": "unknown key",
            "fix": "remove it",
        }]);
        (200, old)
    });
    let run = fake.ten(&["config"]).exits(0);
    assert!(run.err.contains("t.toml:3:1: unknown key (foo): remove it"), "{}", run.err);
}

#[test]
fn a_refused_reload_names_every_place_and_fails() {
    let fake = Fake::start(|asked| {
        assert_eq!(asked.line, "POST /api/v1/config/reload");
        let (status, mut value) = problem(422, "config_rejected", "the config has 1 error", "fix");
        value["errors"] = json!([{"field": "t.toml:3:1", "message": "unknown key"}]);
        (status, value)
    });
    let run = fake.ten(&["config", "reload"]).exits(1);
    assert!(run.err.contains("  t.toml:3:1: unknown key\n"), "{}", run.err);
    let fake = Fake::start(|_| (200, view()));
    assert_eq!(fake.ten(&["config", "reload"]).exits(0).err, "the config is taken: 1 process\n");
}

#[test]
fn config_check_runs_the_agents_own_parser_without_an_agent() {
    let dir = tempfile::tempdir().unwrap();
    let check = |exit: u8, args: &[&str]| {
        let daemon = script(dir.path(), "tenementd", &format!("echo \"$*\"; exit {exit}"));
        run(ten(dir.path()).env("TENEMENTD", daemon).args(["config", "check"]).args(args))
    };
    fs::write(dir.path().join("x.toml"), "").unwrap();
    assert_eq!(check(0, &[]).exits(0).out, "check\n");
    assert_eq!(check(0, &["x.toml", "--json"]).exits(0).out, "check --json x.toml\n");
    assert_eq!(check(0, &["--user"]).exits(0).out, "--user check\n");
    let bad = check(78, &["x.toml"]).exits(1);
    assert!(bad.err.contains("the config has errors"), "{}", bad.err);
    assert!(check(1, &["x.toml"]).exits(1).err.contains("could not be checked"));
    assert!(check(0, &["none.toml"]).exits(3).err.contains("none.toml"));
    assert!(check(78, &["--quiet"]).exits(1).out.is_empty());
    let missing = run(ten(dir.path()).env("TENEMENTD", "/nonexistent").args(["config", "check"]));
    missing.exits(3);
}

#[test]
fn logs_without_an_agent_becomes_journalctl_for_the_unit() {
    let dir = tempfile::tempdir().unwrap();
    script(dir.path(), "journalctl", "echo \"$*\"; exit 3");
    let logs = |args: &[&str]| {
        run(ten(dir.path())
            .env("PATH", dir.path())
            .env("TENEMENT_SOCKET", "/x")
            .arg("logs")
            .args(args))
    };
    let run = logs(&["api:prod", "-f", "-n", "5", "--since", "1h"]).exits(3);
    assert_eq!(
        run.out,
        "--unit=ten-api@prod.service --no-hostname --output=short-iso --follow --since=-1h --lines=5\n"
    );
    assert!(
        run.err.contains("the agent is not running") && run.err.contains("by journalctl"),
        "{}",
        run.err
    );
    let run = logs(&["api", "--level", "error", "--all"]).exits(3);
    assert_eq!(
        run.out,
        "--unit=ten-api@*.service --no-hostname --output=short-iso --priority=err\n"
    );
    let run = logs(&["--search", "x"]).exits(5);
    assert!(run.err.contains("a search needs the agent"), "{}", run.err);
    fs::remove_file(dir.path().join("journalctl")).unwrap();
    assert!(logs(&["api:prod"]).exits(1).err.contains("journalctl"));
}

#[test]
fn version_works_with_and_without_an_agent() {
    let agent = json!({"version": "9.9.9", "systemd": 252, "mode": "system"});
    let answer = agent.clone();
    let fake = Fake::start(move |_| (200, answer.clone()));
    let own = env!("CARGO_PKG_VERSION");
    assert_eq!(fake.ten(&["version", "--json"]).json(), json!({"ten": own, "agent": agent}));
    assert!(
        fake.ten(&["version"]).exits(0).out.contains("tenementd  9.9.9 (system)\nsystemd    252")
    );
    assert_eq!(fake.ten(&["--version"]).exits(0).out, format!("ten {own}\n"));
    let alone = run(ten(fake.dir.path()).args(["version", "--json", "--socket", "/nonexistent"]));
    assert_eq!(alone.exits(0).json(), json!({"ten": own, "agent": null}));
}

#[test]
fn completions_and_man_pages_cover_every_command() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = run(ten(dir.path()).args(["completions", shell])).exits(0).out;
        for command in ["spawn", "doctor", "restart", "no-start"] {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
    let man = dir.path().join("man/man1");
    run(ten(dir.path()).arg("man").arg("--out").arg(&man)).exits(0);
    for page in ["ten", "ten-spawn", "ten-rm", "ten-config", "ten-config-check", "ten-doctor"] {
        let text = fs::read_to_string(man.join(format!("{page}.1"))).unwrap();
        assert!(text.contains(".TH"), "{page}");
    }
    let top = fs::read_to_string(man.join("ten.1")).unwrap();
    assert!(top.contains("Exit codes"), "{top}");
    assert!(!man.join("ten-man.1").exists(), "a hidden command has a page");
}

#[test]
fn doctor_reports_every_check_with_a_fix_and_fails_when_one_does() {
    let dir = tempfile::tempdir().unwrap();
    script(dir.path(), "systemctl", "echo 'systemd 240 (240-1)'");
    script(dir.path(), "busctl", "echo 'as 1 \"org.tenement.Units1\"'");
    let result = json!({"valid": true, "files": ["a.toml"], "problems": []}).to_string();
    let daemon = script(dir.path(), "tenementd", &format!("echo '{result}'"));
    let data = dir.path().join("data");
    fs::create_dir(&data).unwrap();
    let data = data.to_str().unwrap().to_owned();
    let fake = Fake::start(move |asked| {
        if asked.line.ends_with("/version") {
            return (
                200,
                json!({"version": env!("CARGO_PKG_VERSION"), "systemd": 240, "mode": "system"}),
            );
        }
        let mut config = view();
        config["domain"] = json!("localhost");
        config["port"] = json!(1);
        config["data_dir"] = json!(data);
        (200, config)
    });
    let mut command = ten(dir.path());
    command.env("TENEMENT_SOCKET", &fake.socket).env("TENEMENTD", daemon).env("PATH", dir.path());
    let run = run(command.args(["doctor", "--json"])).exits(1);
    let report = run.json();
    assert_eq!(report["ok"], false);
    let checks = report["checks"].as_array().unwrap();
    let status = |name: &str| {
        let check = checks.iter().find(|check| check["name"] == name);
        check.unwrap_or_else(|| panic!("no check {name}: {report}"))["status"].clone()
    };
    for name in ["dbus", "unit helper", "agent", "config", "running config", "dns"] {
        assert_eq!(status(name), "ok", "{name}: {report}");
    }
    assert_eq!(status("systemd"), "fail");
    assert_eq!(status("port"), "fail");
    for check in checks {
        assert_eq!(check["status"] == "ok", check["fix"].is_null(), "{check}");
    }
}
