//! `ten` does everything that the API can do: for each operation of the document there is a command that
//! asks for it, or a reason why there is none.

mod support;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use support::{Fake, problem};

const ID: &str = "aaaaaaaaaaaa";

/// Operations without a command, and why.
const NOT_FOR_THE_COMMAND_LINE: [(&str, &str); 12] = [
    ("log_in", "for browsers"),
    ("log_out", "for browsers"),
    ("show_session", "for browsers"),
    ("stream_instances", "`ten ps --watch` asks again, which needs no open stream"),
    ("openapi_json", "a document for programs"),
    ("health", "for load balancers"),
    ("healthz", "for load balancers"),
    ("health_at_root", "for load balancers"),
    ("readyz", "for load balancers"),
    ("readyz_at_root", "for load balancers"),
    ("metrics", "for Prometheus"),
    ("use_release", "`ten rollback --to` and `ten deploy` do the same with a trial"),
];

/// The command that asks for each operation.
const COMMANDS: &[(&str, &str)] = &[
    ("show_alerts", "alerts"),
    ("test_alert", "alerts test"),
    ("list_backups", "backup ls"),
    ("stored_backups", "backup ls api:prod"),
    ("run_backup", "backup api:prod"),
    ("download_backup", "backup api:prod -o -"),
    ("restore_backup", "restore api:prod --from latest --yes"),
    ("config", "config"),
    ("config_reload", "config reload"),
    ("list_jobs", "cron ls"),
    ("jobs_of_instance", "cron ls api:prod"),
    ("run_job", "cron run api:prod nightly"),
    ("list_domains", "domain ls"),
    ("add_domain", "domain add shop.example.org api:prod"),
    ("show_domain", "domain show shop.example.org"),
    ("check_domain", "domain check shop.example.org"),
    ("remove_domain", "domain rm shop.example.org"),
    ("list_events", "events"),
    ("list_instances", "ps"),
    ("spawn", "spawn api:prod"),
    ("show", "show api:prod"),
    ("set", "set api:prod cpu=1"),
    ("remove", "rm api:prod --yes"),
    ("start", "wake api:prod"),
    ("wake", "wake api:prod"),
    ("sleep", "sleep api:prod"),
    ("stop", "stop api:prod"),
    ("restart", "restart api:prod"),
    ("reset", "reset api:prod"),
    ("history", "history api:prod"),
    ("why", "why api:prod"),
    ("pin_instance", "pin api:prod v1"),
    ("unpin_instance", "unpin api:prod"),
    ("secrets", "secret ls api:prod"),
    ("remove_secret", "secret rm api:prod KEY"),
    ("search_logs", "logs api:prod"),
    ("export_logs", "logs export api:prod"),
    ("histogram_logs", "logs histogram api:prod"),
    ("sql", "logs sql SELECT"),
    ("usage", "logs usage"),
    ("metrics_summary", "metrics"),
    ("metrics_history", "metrics history api:prod"),
    ("processes", "processes"),
    ("process", "processes api"),
    ("all_releases", "releases"),
    ("list_releases", "releases api"),
    ("show_release", "releases show api v1"),
    ("release_log", "releases log api v1"),
    ("remove_release", "releases rm api v1"),
    ("upload_release", "deploy api dist"),
    ("list_deploys", "deploys api"),
    ("show_deploy", "deploys api 7"),
    ("abort_deploy", "deploys api 7 --abort"),
    ("start_rollback", "rollback api"),
    ("move_route", "route api --from a --to b"),
    ("show_routing", "weight api"),
    ("change_routing", "maintenance api on"),
    ("list_certificates", "tls ls"),
    ("show_certificate", "tls show example.com"),
    ("renew_certificate", "tls renew example.com"),
    ("show_root", "tls trust"),
    ("list_tokens", "token ls"),
    ("create_token", "token-gen"),
    ("revoke_token", "token revoke aaaaaaaaaaaa"),
    ("rotate_token", "token rotate aaaaaaaaaaaa"),
    ("log_out_everywhere", "token logout"),
    ("begin_factor", "totp enable aaaaaaaaaaaa"),
    ("show_factor", "totp status aaaaaaaaaaaa"),
    ("remove_factor", "totp disable aaaaaaaaaaaa"),
    ("version", "version"),
];

/// Those that no single command line asks for here, and the tests that see `ten` ask for them.
const SEEN_ELSEWHERE: [(&str, &str); 10] = [
    ("run_command", "`ten run` speaks both ways at once: tests/tests/tasks.rs"),
    ("set_secret", "`ten secret set` reads its value: tests/tests/secrets.rs"),
    ("show_token", "`ten token show` finds it in the list: cli/tests/tokens.rs"),
    ("stream_events", "`ten events -f` goes on for ever: tests/tests/events.rs"),
    ("stream_logs", "`ten logs -f` likewise: cli/tests/logs.rs"),
    ("metrics_live", "`ten top`: tests/tests/top.rs"),
    ("confirm_factor", "`ten totp enable` asks for a code: tests/tests/remote.rs"),
    ("config_check", "with --url: tests/tests/remote.rs"),
    ("state", "`ten doctor`: tests/tests/database.rs"),
    ("start_deploy", "`ten deploy`, once the release is made: tests/tests/deploys.rs"),
];

/// Each operation of the document as `(id, method, path)`.
fn operations() -> Vec<(String, String, String)> {
    let document = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let document: Value =
        serde_json::from_str(&std::fs::read_to_string(document).unwrap()).unwrap();
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            if let Some(id) = operation["operationId"].as_str() {
                all.push((id.to_owned(), method.to_uppercase(), path.clone()));
            }
        }
    }
    all
}

/// Whether a request line is one for `method` and the template `path`.
fn asks_for(line: &str, method: &str, path: &str) -> bool {
    let mut words = line.split(' ');
    let (asked, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let target = target.split('?').next().unwrap_or("");
    let (have, want): (Vec<_>, Vec<_>) = (target.split('/').collect(), path.split('/').collect());
    let same = |(have, want): (&&str, &&str)| want.starts_with('{') || have == want;
    asked == method && have.len() == want.len() && have.iter().zip(&want).all(same)
}

fn agent() -> Fake {
    Fake::start(|asked| {
        // What a command looks up before it does what it is for.
        match asked.line.as_str() {
            "GET /api/v1/tokens" => {
                let token = json!({"id": ID, "name": "ci", "scope": "read", "process": null,
                    "instance": null, "created_ms": 1, "created_by": "uid 0", "expires_ms": null,
                    "last_used_ms": null});
                (200, json!({"tokens": [token]}))
            }
            _ => problem(404, "no_route", "nothing", "here"),
        }
    })
}

#[test]
fn every_operation_of_the_document_has_a_command_or_a_reason() {
    let listed: BTreeSet<&str> = [COMMANDS, &NOT_FOR_THE_COMMAND_LINE, &SEEN_ELSEWHERE]
        .concat()
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    let operations = operations();
    let there: BTreeSet<&str> = operations.iter().map(|(id, _, _)| id.as_str()).collect();
    assert_eq!(there.difference(&listed).collect::<Vec<_>>(), [&""; 0], "without a command");
    assert_eq!(listed.difference(&there).collect::<Vec<_>>(), [&""; 0], "no operation");
}

#[test]
fn each_command_asks_for_its_operation() {
    let operations = operations();
    let mut wrong = Vec::new();
    for (id, command) in COMMANDS {
        let (_, method, path) = operations.iter().find(|(one, _, _)| one == id).unwrap();
        let agent = agent();
        std::fs::create_dir(agent.dir.path().join("dist")).unwrap();
        std::fs::write(agent.dir.path().join("dist/file"), "x").unwrap();
        let run = agent.ten(&command.split(' ').collect::<Vec<_>>());
        let asked = agent.asked();
        // `wake` and `start` are two names of one thing.
        let path = path.replace("/start", "/wake");
        if !asked.iter().any(|line| asks_for(line, method, &path)) {
            wrong.push(format!("ten {command}: {method} {path}: {asked:?}, {}", run.err));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
