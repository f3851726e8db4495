//! What a request asks for, in words.

use std::collections::BTreeMap;

use axum::extract::Query;
use http::{Method, Uri};
use serde_json::{Map, Value};
use tenement_wire::{InstanceId, InstanceName, Limit, ProcessName, RouteTarget};

/// Requests that are sent like changes and change nothing.
const READS: [(&str, &str); 2] = [("POST", "/config/check"), ("POST", "/logs/sql")];

/// Requests whose bodies say what is changed, and the fields of them that do. No other field is looked at: a client
/// may send anything, a secret too.
const OPEN_BODIES: [(&str, &str, &[&str]); 8] = [
    ("POST", "/instances", &["process", "ids", "start"]),
    ("PATCH", "/instances/{name}", &["limits"]),
    ("POST", "/domains", &["domain", "target"]),
    ("PATCH", "/processes/{process}/routing", &["instance", "weight", "maintenance"]),
    (
        "POST",
        "/processes/{process}/deploys",
        &["release", "strategy", "now", "batch", "instance", "steps", "step_s"],
    ),
    ("POST", "/processes/{process}/rollback", &["to", "now", "batch"]),
    ("POST", "/processes/{process}/route", &["from", "to", "force"]),
    ("PUT", "/instances/{name}/pin", &["release"]),
];

/// Parameters of queries that say what is changed.
const OPEN_PARAMETERS: [&str; 9] =
    ["purge", "force", "wait", "name", "source", "method", "from", "of", "keep_old"];

/// Instances named in words at most.
const NAMED: usize = 5;

/// Whether it is sent like a change and is none.
pub(super) fn is_read(method: &Method, path: &str) -> bool {
    READS.contains(&(method.as_str(), path))
}

/// Whether its body may be looked at.
pub(super) fn may_be_read(method: &Method, path: &str) -> bool {
    OPEN_BODIES.iter().any(|(m, p, _)| (*m, *p) == (method.as_str(), path))
}

pub(super) fn below_prefix(path: &str) -> &str {
    path.strip_prefix("/api/v1").or_else(|| path.strip_prefix("/api")).unwrap_or(path)
}

/// A change that somebody asks for.
pub(super) struct Asked {
    /// Such as `wake api:prod`.
    pub words: String,
    /// Method and route.
    pub action: String,
    pub process: Option<ProcessName>,
    pub instance: Option<InstanceId>,
    pub detail: BTreeMap<String, String>,
}

impl Asked {
    pub fn new(method: &Method, path: &str, params: Vec<(String, String)>, query: &str) -> Self {
        let action = format!("{method} {path}");
        let value = |name: &str| params.iter().find(|(key, _)| key == name).map(|(_, value)| value);
        let name = value("name").map(String::as_str).unwrap_or_default();
        let one = |name: &str| value(name).map(String::as_str).unwrap_or_default();
        let words = match action.as_str() {
            "POST /instances" => "spawn".to_owned(),
            "PATCH /instances/{name}" => format!("set limits of {name}"),
            "DELETE /instances/{name}" => format!("remove {name}"),
            "POST /instances/{name}/backups" => format!("back up {name}"),
            "PUT /instances/{name}/secrets/{secret}" => {
                format!("set secret {} of {name}", value("secret").map_or("", String::as_str))
            }
            "DELETE /instances/{name}/secrets/{secret}" => {
                format!("remove secret {} of {name}", value("secret").map_or("", String::as_str))
            }
            "POST /instances/{name}/run" => format!("run a command in {name}"),
            "POST /instances/{name}/cron/{job}/run" => {
                format!("run the job {} of {name}", one("job"))
            }
            "POST /tokens" => "make a token".to_owned(),
            "DELETE /tokens/{id}" => {
                format!("revoke token {}", value("id").map_or("", String::as_str))
            }
            "POST /tokens/{id}/rotate" => {
                format!("rotate token {}", value("id").map_or("", String::as_str))
            }
            "POST /domains" => "add a custom domain".to_owned(),
            "DELETE /domains/{domain}" => format!("remove domain {}", one("domain")),
            "POST /domains/{domain}/check" => format!("check domain {}", one("domain")),
            "PATCH /processes/{process}/routing" => {
                format!("change the routing of {}", one("process"))
            }
            "POST /processes/{process}/releases" => {
                format!("upload a release of {}", one("process"))
            }
            "POST /processes/{process}/releases/{release}/use" => {
                format!("run {} from release {}", one("process"), one("release"))
            }
            "DELETE /processes/{process}/releases/{release}" => {
                format!("remove release {} of {}", one("release"), one("process"))
            }
            "POST /processes/{process}/deploys" => format!("deploy {}", one("process")),
            "POST /processes/{process}/deploys/{id}/abort" => {
                format!("end deployment {} of {}", one("id"), one("process"))
            }
            "POST /processes/{process}/rollback" => format!("roll {} back", one("process")),
            "POST /processes/{process}/route" => format!("move requests of {}", one("process")),
            "PUT /instances/{name}/pin" => format!("pin {name}"),
            "DELETE /instances/{name}/pin" => format!("unpin {name}"),
            "POST /session" => "log in".to_owned(),
            "DELETE /session" => "log out".to_owned(),
            "DELETE /sessions" => "log out everywhere".to_owned(),
            "POST /config/reload" => "reload the config".to_owned(),
            "POST /alerts/test" => "send a test alert".to_owned(),
            _ => match path.strip_prefix("/instances/{name}/") {
                Some(verb) if *method == Method::POST => format!("{verb} {name}"),
                _ => filled(&action, &params),
            },
        };
        let name: Option<InstanceName> = name.parse().ok();
        let process = match &name {
            Some(name) => Some(name.process().clone()),
            None => one("process").parse().ok(),
        };
        let instance = name.as_ref().map(|name| name.id().clone());
        let mut detail = BTreeMap::new();
        for (key, value) in &params {
            if key != "name" || name.is_none() {
                detail.insert(key.clone(), value.clone());
            }
        }
        for (key, value) in pairs(query) {
            if OPEN_PARAMETERS.contains(&key.as_str()) {
                detail.insert(key, value);
            }
        }
        Self { words, action, process, instance, detail }
    }

    /// Takes what the body says.
    pub fn take_body(&mut self, bytes: &[u8]) {
        let Ok(body) = serde_json::from_slice::<Map<String, Value>>(bytes) else { return };
        let action = self.action.as_str();
        let known = OPEN_BODIES.iter().find(|(method, path, _)| {
            action.split_once(' ').is_some_and(|asked| asked == (*method, *path))
        });
        let known = known.map_or(&[][..], |(_, _, fields)| *fields);
        for (key, value) in body {
            if !known.contains(&key.as_str()) {
                continue;
            }
            let text = match value {
                Value::String(text) => text,
                Value::Array(items) => {
                    let texts: Vec<_> = items.iter().map(plain).collect();
                    texts.join(", ")
                }
                Value::Object(fields) => {
                    let texts: Vec<_> = fields
                        .iter()
                        .filter(|(key, _)| key.parse::<Limit>().is_ok())
                        .map(|(key, value)| format!("{key}={}", plain(value)))
                        .collect();
                    texts.join(", ")
                }
                other => other.to_string(),
            };
            self.detail.insert(key, text);
        }
        match self.action.as_str() {
            "POST /instances" => self.name_spawned(),
            "POST /domains" => {
                let target = self.detail.get("target").map(|target| target.parse());
                if let Some(Ok(RouteTarget { process, instance })) = target {
                    (self.process, self.instance) = (Some(process), instance);
                }
            }
            _ => {}
        }
    }

    /// Says which instances are spawned.
    fn name_spawned(&mut self) {
        self.process = self.detail.get("process").and_then(|name| name.parse().ok());
        let process = self.detail.get("process").map_or("", String::as_str);
        let ids: Vec<&str> =
            self.detail.get("ids").map_or_else(Vec::new, |ids| ids.split(", ").collect());
        if let [one] = ids.as_slice() {
            self.instance = one.parse().ok();
        }
        let named: Vec<_> = ids.iter().take(NAMED).map(|id| format!("{process}:{id}")).collect();
        self.words = format!(
            "spawn {}",
            if named.is_empty() { process.to_owned() } else { named.join(", ") }
        );
        if ids.len() > NAMED {
            self.words.push_str(&format!(" and {} more", ids.len() - NAMED));
        }
    }
}

/// The parameters of a query, decoded. One without a value counts as `true`.
fn pairs(query: &str) -> Vec<(String, String)> {
    let Ok(uri) = format!("/?{query}").parse::<Uri>() else { return Vec::new() };
    let decoded = Query::<Vec<(String, String)>>::try_from_uri(&uri).map(|Query(pairs)| pairs);
    let mut pairs = decoded.unwrap_or_default();
    pairs.iter_mut().filter(|(_, value)| value.is_empty()).for_each(|(_, v)| v.push_str("true"));
    pairs
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Method and route with the values of its parameters.
fn filled(action: &str, params: &[(String, String)]) -> String {
    params
        .iter()
        .fold(action.to_owned(), |text, (key, value)| text.replace(&format!("{{{key}}}"), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, path: &str, name: &str, query: &str) -> Asked {
        let mut params = vec![];
        if !name.is_empty() {
            params.push(("name".to_owned(), name.to_owned()));
        }
        if path.contains("{secret}") {
            params.push(("secret".to_owned(), "KEY".to_owned()));
        }
        Asked::new(&method.parse().unwrap(), path, params, query)
    }

    #[test]
    fn changes_are_said_in_words() {
        let wake = asked("POST", "/instances/{name}/wake", "api:prod", "");
        assert_eq!(wake.words, "wake api:prod");
        assert_eq!(wake.instance.unwrap().as_str(), "prod");
        let remove = asked("DELETE", "/instances/{name}", "api:prod", "purge=true&token=ten_x");
        assert_eq!(remove.words, "remove api:prod");
        assert_eq!(remove.detail, BTreeMap::from([("purge".into(), "true".into())]));
        let secret = asked("PUT", "/instances/{name}/secrets/{secret}", "api:prod", "");
        assert_eq!(secret.words, "set secret KEY of api:prod");
        assert!(!may_be_read(&Method::PUT, "/instances/{name}/secrets/{secret}"));
        let id = || vec![("id".into(), "abc".into())];
        let revoke = Asked::new(&Method::DELETE, "/tokens/{id}", id(), "");
        assert_eq!(revoke.words, "revoke token abc");
        assert_eq!(revoke.detail["id"], "abc");
        let other = Asked::new(&Method::DELETE, "/others/{id}", id(), "");
        assert_eq!(other.words, "DELETE /others/abc");
        assert_eq!(
            asked("POST", "/instances/{name}/wake", "no name", "").detail["name"],
            "no name"
        );
    }

    #[test]
    fn a_spawn_says_which_instances_and_a_patch_which_limits() {
        let mut spawn = asked("POST", "/instances", "", "");
        spawn.take_body(br#"{"process": "api", "ids": ["a"], "start": false}"#);
        assert_eq!(spawn.words, "spawn api:a");
        assert_eq!(spawn.instance.as_ref().unwrap().as_str(), "a");
        assert_eq!(spawn.detail["start"], "false");
        let mut spawn = asked("POST", "/instances", "", "");
        spawn.take_body(br#"{"process": "api", "ids": ["a", "b", "c", "d", "e", "f", "g"]}"#);
        assert_eq!(spawn.words, "spawn api:a, api:b, api:c, api:d, api:e and 2 more");
        assert_eq!(spawn.instance, None);
        let mut set = asked("PATCH", "/instances/{name}", "api:a", "");
        set.take_body(br#"{"limits": {"memory_max": "256M", "tasks_max": null}}"#);
        assert_eq!(set.detail["limits"], "memory_max=256M, tasks_max=null");
    }

    #[test]
    fn a_change_of_a_process_or_a_domain_says_whose_it_is() {
        let of = |method: &str, path: &str| {
            let mut params = vec![("process".to_owned(), "api".to_owned())];
            params.push(("release".to_owned(), "v2".to_owned()));
            Asked::new(&method.parse().unwrap(), path, params, "").process.map(|p| p.to_string())
        };
        for (method, path) in [
            ("POST", "/processes/{process}/deploys"),
            ("POST", "/processes/{process}/rollback"),
            ("POST", "/processes/{process}/route"),
            ("PATCH", "/processes/{process}/routing"),
            ("POST", "/processes/{process}/releases"),
            ("DELETE", "/processes/{process}/releases/{release}"),
        ] {
            assert_eq!(of(method, path).as_deref(), Some("api"), "{method} {path}");
        }
        let mut add = asked("POST", "/domains", "", "");
        add.take_body(br#"{"domain": "a.example", "target": "api:alice"}"#);
        assert_eq!(add.process.unwrap().as_str(), "api");
        assert_eq!(add.instance.unwrap().as_str(), "alice");
        assert_eq!(add.detail["domain"], "a.example");
    }

    #[test]
    fn only_known_fields_of_a_body_are_kept_and_parameters_are_decoded() {
        let mut spawn = asked("POST", "/instances", "", "");
        spawn.take_body(br#"{"process": "api", "token": "ten_secret"}"#);
        assert_eq!(spawn.detail.keys().collect::<Vec<_>>(), ["process"]);
        let mut set = asked("PATCH", "/instances/{name}", "api:a", "");
        set.take_body(br#"{"limits": {"cpu": 1, "ten_secret": "x"}, "name": "web:b"}"#);
        assert_eq!(set.detail, BTreeMap::from([("limits".into(), "cpu=1".into())]));
        let query = "source=a%20b%3Ac+d&force&token=ten_x";
        let upload = asked("POST", "/processes/{process}/releases", "", query);
        assert_eq!(upload.detail["source"], "a b:c d");
        assert_eq!(upload.detail["force"], "true");
        assert_eq!(upload.detail.len(), 2);
    }
}
