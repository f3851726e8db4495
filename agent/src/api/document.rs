//! The OpenAPI 3.1 document: what the annotations of the routes say, completed by what all routes share.
//!
//! A route names its own errors by code (`extensions(("x-problems" = json!(["busy"])))`). Here each becomes
//! an answer of its status, together with those that any route has ([`super::codes`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::response::IntoResponse;
use http::Method;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};
use tenement_wire::ApiError;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::UtoipaMethodRouter;

use super::codes::{OF_ALL, OF_GUARDED, OF_KEYED, OF_NAMED, OF_WRITING, known};
use super::exclusive;
use super::idempotency::{KEY_MAX, is_keyed};
use super::input::Input;
use super::problem::Problem;
use super::routes::collect;

/// The operation whose body, which is no JSON, may be left out: with `from` there is none.
const BODY_OPTIONAL: &str = "restore_backup";
/// The methods that an OpenAPI document tells of.
const METHODS: [&str; 5] = ["get", "put", "post", "patch", "delete"];

#[derive(OpenApi)]
#[openapi(
    info(
        title = "tenement management API",
        description = "Everything that `ten` does. Errors are RFC 9457 problems with a stable `code`. \
            The same routes answer under `/api`. On the admin socket no token is asked for: the peer's \
            credentials count.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(ApiError)),
    modifiers(&Token),
    tags(
        (name = "instances", description = "Instances and what they do"),
        (name = "secrets", description = "Secrets of an instance: names come out, values only go in"),
        (name = "sessions", description = "Browser sessions and second factors of their logins"),
        (name = "domains", description = "Custom domains, weights and maintenance"),
        (name = "releases", description = "What instances run from: upload, list, delete"),
        (name = "tokens", description = "Who may do what; the token itself is shown once"),
        (name = "logs", description = "Search, stream, export and SQL"),
        (name = "events", description = "Who did what, and what happened by itself"),
        (name = "tls", description = "Certificates"),
        (name = "config", description = "Processes and the config they come from"),
        (name = "agent", description = "The agent itself"),
    )
)]
pub(super) struct Head;

struct Token;

impl utoipa::Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = Http::builder()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "A token of `ten token-gen`. A route names the least scope that it needs: read, operator or admin.",
            ))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// The document of the API that is served.
#[derive(Debug, Clone)]
pub struct Document {
    /// The document itself.
    pub value: Arc<Value>,
    operations: Arc<BTreeSet<(String, String)>>,
    text: Bytes,
}

impl Document {
    /// Completes what the routes' annotations say.
    ///
    /// # Panics
    /// If an annotation names an unknown code: every test that makes a router finds it.
    pub(super) fn complete(collected: &utoipa::openapi::OpenApi) -> Self {
        let mut value = serde_json::to_value(collected).unwrap_or_default();
        for (path, item) in value["paths"].as_object_mut().into_iter().flatten() {
            for method in METHODS {
                if let Some(operation) = item.get_mut(method).and_then(Value::as_object_mut) {
                    headers(path, method, operation);
                    body(operation);
                    parameters(operation);
                    problems(path, method, operation);
                }
            }
        }
        exclusive::complete(&mut value);
        let operations = operations(&value);
        let mut text = serde_json::to_string_pretty(&value).unwrap_or_default();
        text.push('\n');
        Self { value: Arc::new(value), operations: Arc::new(operations), text: text.into() }
    }

    /// Whether there is a route at `path`, as the router matched it, that takes `method`.
    pub(super) fn has(&self, method: &Method, path: &str) -> bool {
        let below = path.strip_prefix("/api/").filter(|below| !below.starts_with("v1/"));
        let path = below.map_or(path.to_owned(), |below| format!("/api/v1/{below}"));
        self.operations.contains(&(method.as_str().to_ascii_lowercase(), path))
    }
}

/// What all operations of a method take and answer beside their own.
fn headers(path: &str, method: &str, operation: &mut Map<String, Value>) {
    let mut add = |name: &str, what: &str, schema: Value| {
        let parameter = json!({"name": name, "in": "header", "required": false, "description": what, "schema": schema});
        let list = operation.entry("parameters").or_insert_with(|| json!([]));
        list.as_array_mut().into_iter().for_each(|list| list.push(parameter.clone()));
    };
    if is_keyed(method, path) {
        let what = "A key of the client's own: the same request under the same key is carried out once, and \
            answered the same for 24 hours";
        let schema =
            json!({"type": "string", "pattern": "^[!-~]+$", "minLength": 1, "maxLength": KEY_MAX});
        add("Idempotency-Key", what, schema);
    }
    let json = operation["responses"]["200"]["content"]["application/json"].is_object();
    if method == "get" && json {
        operation["responses"]["304"] = json!({"description": "Nothing has changed since the answer with the ETag of If-None-Match"});
    }
}

/// Method and path of every operation.
fn operations(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let of = |(path, item): (&String, &Value)| {
        let methods: Vec<String> =
            item.as_object().into_iter().flat_map(Map::keys).cloned().collect();
        methods.into_iter().map(|method| (method, path.clone())).collect::<Vec<_>>()
    };
    paths.flat_map(of).collect()
}

/// A body that may be left out is not one that may be null.
fn body(operation: &mut Map<String, Value>) {
    let optional = operation["operationId"] == BODY_OPTIONAL;
    let Some(body) = operation.get_mut("requestBody") else { return };
    if optional {
        body["required"] = json!(false);
    }
    let any = body.pointer("/content/application~1json/schema/oneOf").and_then(Value::as_array);
    if let Some(one) = any.and_then(|any| any.iter().find(|one| one["type"] != "null")).cloned() {
        body["content"]["application/json"]["schema"] = one;
        body["required"] = json!(false);
    }
}

/// A parameter that may be left out is not one that may be null.
fn parameters(operation: &mut Map<String, Value>) {
    for parameter in
        operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten()
    {
        let schema = &mut parameter["schema"];
        if let Some(kinds) = schema["type"].as_array() {
            schema["type"] =
                kinds.iter().find(|kind| **kind != "null").cloned().unwrap_or_default();
        }
        let one =
            schema["oneOf"].as_array().and_then(|any| any.iter().find(|s| s["type"] != "null"));
        if let Some(one) = one.cloned() {
            *schema = one;
        }
    }
}

/// The error answers of an operation, one for each status.
fn problems(path: &str, method: &str, operation: &mut Map<String, Value>) {
    let own = operation.remove("x-problems").unwrap_or_default();
    let own: Vec<&str> = own.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let open = operation.get("security").is_some_and(|security| *security == json!([{}]));
    let mut codes: BTreeSet<&str> = OF_ALL.iter().copied().chain(own).collect();
    if !open {
        codes.extend(OF_GUARDED);
    }
    if path.contains("{name}") || path.contains("{process}") {
        codes.extend(OF_NAMED);
    }
    if path.contains("/instances/{name}") {
        codes.insert("unknown_instance");
    }
    if method != "get" {
        codes.extend(OF_WRITING);
    }
    if is_keyed(method, path) {
        codes.extend(OF_KEYED);
    }
    let mut statuses: BTreeMap<u16, Vec<(&str, &str)>> = BTreeMap::new();
    for code in codes {
        let Some((status, title)) = known(code) else {
            panic!("{method} {path} has an unknown code: {code}")
        };
        statuses.entry(status).or_default().push((code, title));
    }
    for (status, problems) in statuses {
        let names: Vec<&str> = problems.iter().map(|(code, _)| *code).collect();
        let lines: Vec<String> =
            problems.iter().map(|(code, title)| format!("`{code}`: {title}.")).collect();
        operation["responses"][status.to_string()] = json!({
            "description": lines.join("\n"),
            "content": {"application/problem+json": {"schema": {"allOf": [
                {"$ref": "#/components/schemas/ApiError"},
                {"type": "object", "properties": {"code": {"enum": names}}, "required": ["code"]},
            ]}}},
        });
    }
}

/// The route of the document.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> UtoipaMethodRouter<S> {
    collect!(openapi_json)
}

/// This document
#[utoipa::path(get, path = "/openapi.json", tag = "agent", security(()),
    responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
async fn openapi_json(
    Extension(document): Extension<Document>,
    input: Input,
) -> Result<impl IntoResponse, Problem> {
    input.finish(Some(()))?;
    Ok(([(CONTENT_TYPE, "application/json")], document.text))
}
