//! Which fields of a body go together: what annotations of single fields can't say. The handlers refuse the rest.

use serde_json::{Value, json};

/// Adds it to the schemas of a document.
pub(super) fn complete(document: &mut Value) {
    let schemas = &mut document["components"]["schemas"];
    let text = json!({"type": "string"});
    // A weight is that of an instance.
    if let Some(change) = schemas.get_mut("RoutingChange") {
        change["allOf"] = json!([either(
            json!({"properties": {"weight": {"type": "null"}}}),
            json!({"properties": {"instance": text}, "required": ["instance"]}),
        )]);
    }
    if let Some(deploy) = schemas.get_mut("StartDeploy") {
        deploy["properties"]["steps"]["items"]["minimum"] = json!(1);
        deploy["properties"]["steps"]["items"]["maximum"] = json!(100);
        let of = |strategies: &[&str]| json!({"properties": {"strategy": {"enum": strategies}}, "required": ["strategy"]});
        deploy["allOf"] = json!([
            either(
                json!({"properties": {"instance": {"type": "null"}}}),
                of(&["blue-green", "canary"])
            ),
            either(
                json!({"properties": {"steps": {"type": "null"}, "step_s": {"type": "null"}}}),
                of(&["canary"])
            ),
            either(
                json!({"properties": {"now": {"const": false}}}),
                json!({"properties": {"strategy": {"enum": ["in-place", null]}}})
            ),
        ]);
    }
}

fn either(one: Value, other: Value) -> Value {
    json!({"anyOf": [one, other]})
}
