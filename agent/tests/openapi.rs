//! The OpenAPI document that is served is the one that is checked in, and says what it must of each route.

mod api_support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use api_support::Door;
use serde_json::Value;
use tenement_agent::api::{Access, CODES};

fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)
}

async fn served() -> Value {
    let door = Door::open(Access::user());
    let reply = door.ask("GET /api/v1/openapi.json", "").await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(reply.head.contains("content-type: application/json"), "{reply:?}");
    reply.body
}

/// Every operation, with its method and path.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            all.push((format!("{} {path}", method.to_uppercase()), operation));
        }
    }
    all
}

#[tokio::test]
async fn the_served_document_is_the_one_that_is_checked_in() {
    let mut text = serde_json::to_string_pretty(&served().await).unwrap();
    text.push('\n');
    let path = docs("openapi.json");
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let first = kept.lines().zip(text.lines()).find(|(kept, new)| kept != new);
    assert!(
        kept == text,
        "docs/openapi.json is not what the code says (first at {first:?}): UPDATE_OPENAPI=1 cargo test -p tenement-agent --test openapi"
    );
}

#[tokio::test]
async fn every_operation_names_its_scope_its_tag_and_its_errors() {
    let document = served().await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{document}");
    let mut ids = BTreeSet::new();
    for (name, operation) in operations(&document) {
        let security =
            operation["security"].as_array().unwrap_or_else(|| panic!("{name}: no security"));
        let open = security[0].as_object().is_some_and(serde_json::Map::is_empty);
        let scope = security[0]["token"][0].as_str().unwrap_or("");
        assert!(open || ["read", "operator", "admin"].contains(&scope), "{name}: {security:?}");
        assert_eq!(operation["tags"].as_array().map(Vec::len), Some(1), "{name}");
        assert!(operation["summary"].is_string(), "{name}");
        assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{name}");
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with('2')), "{name}");
        for (status, response) in responses.iter().filter(|(status, _)| status.as_str() >= "400") {
            let content = &response["content"]["application/problem+json"];
            assert!(content.is_object(), "{name}: {status}");
        }
        // Who logs in shows a token in the body.
        let login = name == "POST /api/v1/session";
        assert_eq!(responses.contains_key("401"), !open || login, "{name}");
    }
}

#[tokio::test]
async fn every_route_of_the_document_is_there_and_nothing_else_is() {
    let document = served().await;
    let door = Door::open(Access::user());
    for (path, item) in document["paths"].as_object().unwrap() {
        let at = path.replace("{name}", "api:prod").replace("{secret}", "KEY");
        let reply = door.ask(&format!("TRACE {at}"), "").await;
        assert_eq!(reply.status, 405, "{path}: {reply:?}");
        let allow = reply.head.lines().find_map(|line| line.strip_prefix("allow: ")).unwrap();
        let allowed: BTreeSet<String> =
            allow.split(',').filter(|method| *method != "head").map(str::to_owned).collect();
        let documented: BTreeSet<String> = item.as_object().unwrap().keys().cloned().collect();
        assert_eq!(allowed, documented, "{path}");
    }
}

/// Every value of `$ref` in it.
fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn every_reference_of_the_document_leads_somewhere_and_no_parameter_or_body_may_be_null() {
    let document = served().await;
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    for reference in found {
        assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
    }
    for (name, operation) in operations(&document) {
        for at in ["parameters", "requestBody"] {
            assert!(!operation[at].to_string().contains("\"oneOf\""), "{name}: {}", operation[at]);
        }
    }
}

#[test]
fn the_docs_list_every_code_with_its_status() {
    let text = std::fs::read_to_string(docs("API.md")).unwrap();
    let table = text.split("## Errors").nth(1).unwrap();
    let mut listed = BTreeSet::new();
    for row in table.lines().filter(|line| line.starts_with("| ") && line.contains('`')) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let Ok(status) = cells[0].parse::<u16>() else { continue };
        for code in cells[1].split('`').skip(1).step_by(2) {
            listed.insert((code.to_owned(), status));
        }
    }
    let known: BTreeSet<_> =
        CODES.iter().map(|(code, status, _)| ((*code).to_owned(), *status)).collect();
    assert_eq!(listed, known, "docs/API.md and api/codes.rs");
}
