//! Cloudflare's API, version 4.

use bytes::Bytes;
use http::{Method, Request};
use serde_json::{Value, json};

use crate::tls::fetch::Fetch;

/// The zones of an account.
pub(super) struct Zones<'a> {
    pub(super) fetch: &'a Fetch,
    pub(super) api: &'a str,
    pub(super) token: &'a str,
}

impl Zones<'_> {
    /// Adds or removes the one record.
    pub(super) async fn change(&self, add: bool, name: &str, text: &str) -> Result<(), String> {
        let zone = self.zone_of(name).await?;
        let records = format!("/zones/{zone}/dns_records");
        if add {
            let record =
                json!({"type": "TXT", "name": name, "content": format!("\"{text}\""), "ttl": 60});
            return match self.ask(Method::POST, &records, Some(&record)).await {
                // An agent that was killed may have left it there.
                Err(why) if why.contains("81058") || why.contains("identical record") => Ok(()),
                done => done.map(drop),
            };
        }
        let found = self
            .ask(Method::GET, &format!("{records}?type=TXT&name={name}&per_page=100"), None)
            .await?;
        for record in found.as_array().into_iter().flatten() {
            let same =
                record["content"].as_str().is_some_and(|content| content.trim_matches('"') == text);
            if let (true, Some(id)) = (same, record["id"].as_str()) {
                self.ask(Method::DELETE, &format!("{records}/{id}"), None).await?;
            }
        }
        Ok(())
    }

    async fn zone_of(&self, name: &str) -> Result<String, String> {
        for zone in super::above(name) {
            let found = self.ask(Method::GET, &format!("/zones?name={zone}"), None).await?;
            if let Some(id) = found[0]["id"].as_str() {
                return Ok(id.to_owned());
            }
        }
        Err(format!("the token sees no zone for {name}"))
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.api))
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .body(bytes)
            .map_err(|_| "the token holds characters that no header may")?;
        let answer = (self.fetch)(request).await?;
        let said: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        if said["success"].as_bool() == Some(true) {
            return Ok(said["result"].clone());
        }
        let errors: String = said["errors"].to_string().chars().take(300).collect();
        Err(format!("Cloudflare answered {}: {errors}", answer.status()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http::Response;

    use super::*;

    #[tokio::test]
    async fn a_record_is_added_to_the_zone_and_only_the_same_text_is_removed() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        let fetch: Fetch = Arc::new(move |request| {
            let path = request.uri().to_string().replace("https://cf", "");
            let line =
                format!("{} {path} {}", request.method(), String::from_utf8_lossy(request.body()));
            assert_eq!(request.headers()["authorization"], "Bearer secret");
            log.lock().unwrap().push(line);
            let result = match path.as_str() {
                "/zones?name=example.com" => json!([{"id": "z1"}]),
                path if path.starts_with("/zones?") => json!([]),
                path if path.contains("?type=TXT") => json!([
                    {"id": "other", "content": "\"else\""}, {"id": "mine", "content": "\"text\""}]),
                _ => json!({}),
            };
            let body = json!({"success": true, "result": result}).to_string();
            Box::pin(async move { Ok(Response::new(Bytes::from(body))) })
        });
        let zones = Zones { fetch: &fetch, api: "https://cf", token: "secret" };
        zones.change(true, "_acme-challenge.api.example.com", "text").await.unwrap();
        zones.change(false, "_acme-challenge.api.example.com", "text").await.unwrap();
        let seen = seen.lock().unwrap().join("\n");
        assert!(
            seen.contains("POST /zones/z1/dns_records {\"content\":\"\\\"text\\\"\""),
            "{seen}"
        );
        assert!(seen.contains("DELETE /zones/z1/dns_records/mine"), "{seen}");
        assert!(!seen.contains("DELETE /zones/z1/dns_records/other"), "{seen}");
    }
}
