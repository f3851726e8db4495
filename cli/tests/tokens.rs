//! `ten token-gen` and `ten token`, against a fake agent.

mod support;

use serde_json::{Value, json};
use support::{Fake, problem};

const SECRET: &str =
    "ten_aaaaaaaaaaaa_00000000000000000000000000000000000000000000000000000000000000ff";

fn token(id: &str, name: &str) -> Value {
    json!({
        "id": id, "name": name, "scope": "operator", "process": "api", "instance": "prod",
        "created_ms": 1_700_000_000_000_u64, "created_by": "uid 0", "expires_ms": null,
        "last_used_ms": null,
    })
}

fn agent() -> Fake {
    Fake::start(|asked| match asked.line.as_str() {
        "GET /api/v1/tokens" => {
            let ids = [("aaaaaaaaaaaa", "ci"), ("bbbbbbbbbbbb", "twin"), ("cccccccccccc", "twin")];
            (200, json!({"tokens": ids.map(|(id, name)| token(id, name))}))
        }
        "POST /api/v1/tokens" | "POST /api/v1/tokens/aaaaaaaaaaaa/rotate" => {
            (201, json!({"secret": SECRET, "token": token("aaaaaaaaaaaa", "ci")}))
        }
        "DELETE /api/v1/tokens/aaaaaaaaaaaa" => (200, json!({"id": "aaaaaaaaaaaa"})),
        _ => problem(404, "no_route", "nothing", "here"),
    })
}

#[test]
fn a_new_token_stands_alone_on_standard_output_and_is_asked_for_as_told() {
    let agent = agent();
    let args = "token-gen --name ci --scope operator --process api --instance prod --expires 30d";
    let run = agent.ten(&args.split(' ').collect::<Vec<_>>()).exits(0);
    assert_eq!(run.out, format!("{SECRET}\n"));
    assert!(run.err.contains("ci has scope operator for api:prod, and ends never"), "{}", run.err);
    assert_eq!(
        agent.asked(),
        [
            r#"POST /api/v1/tokens {"name":"ci","scope":"operator","process":"api","instance":"prod","expires_in_s":2592000}"#
        ]
    );
    agent.ten(&["token-gen"]).exits(0);
    assert_eq!(agent.asked()[1], r#"POST /api/v1/tokens {"scope":"admin"}"#);
    assert_eq!(agent.ten(&["token-gen", "--json"]).exits(0).json()["secret"], SECRET);
    agent.ten(&["token-gen", "--instance", "prod"]).exits(2);
    agent.ten(&["token-gen", "--scope", "root"]).exits(2);
    agent.ten(&["token-gen", "--expires", "59s"]).exits(2);
}

#[test]
fn tokens_are_listed_and_found_by_id_or_by_a_name_that_is_theirs_alone() {
    let agent = agent();
    let list = agent.ten(&["token", "ls"]).exits(0).out;
    assert!(list.contains("aaaaaaaaaaaa  ci") && list.contains("api:prod"), "{list}");
    assert_eq!(agent.ten(&["token", "ls", "-q"]).exits(0).out.lines().count(), 3);
    for which in ["ci", "aaaaaaaaaaaa"] {
        assert!(agent.ten(&["token", "show", which]).exits(0).out.contains("operator"));
        let rotated = agent.ten(&["token", "rotate", which]).exits(0);
        assert_eq!(rotated.out, format!("{SECRET}\n"));
        let revoked = agent.ten(&["token", "revoke", which]).exits(0);
        assert!(revoked.err.contains("ci (aaaaaaaaaaaa) is revoked"), "{}", revoked.err);
    }
    let twins = agent.ten(&["token", "revoke", "twin"]).exits(2);
    assert!(twins.err.contains("bbbbbbbbbbbb, cccccccccccc"), "{}", twins.err);
    agent.ten(&["token", "revoke", "nobody"]).exits(3);
    assert!(!agent.asked().iter().any(|line| line.starts_with("DELETE /api/v1/tokens/b")));
}
