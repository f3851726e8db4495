//! Amazon Route 53, whose records change as whole sets: read, changed, written.

use bytes::Bytes;
use http::{Method, Request};

use crate::sigv4::xml::{escaped, tag, unescaped};
use crate::sigv4::{Call, Keys, sha256};
use crate::tls::fetch::Fetch;

const VERSION: &str = "2013-04-01";
/// Route 53 is signed for as if it stood there (AWS's list of endpoints).
const REGION: &str = "us-east-1";

/// The hosted zones of an account.
pub(super) struct Zones<'a> {
    fetch: &'a Fetch,
    api: &'a str,
    keys: Keys,
}

impl<'a> Zones<'a> {
    /// `keys` is the text of the file: the id of the key, and the secret on the next line.
    pub(super) fn new(fetch: &'a Fetch, api: &'a str, keys: &str) -> Result<Self, String> {
        Ok(Self { fetch, api, keys: Keys::read(keys)? })
    }

    /// Adds or removes the one text, and keeps the others of the set.
    pub(super) async fn change(
        &self,
        add: bool,
        zone: Option<&str>,
        name: &str,
        text: &str,
    ) -> Result<(), String> {
        let zone = match zone {
            Some(zone) => zone.to_owned(),
            None => self.zone_of(name).await?,
        };
        let quoted = format!("\"{text}\"");
        let path = format!("/{VERSION}/hostedzone/{zone}/rrset");
        let found =
            self.ask(Method::GET, &path, &format!("maxitems=1&name={name}&type=TXT"), "").await?;
        let is_it = tag(&found, "Name").next().is_some_and(|n| n.trim_end_matches('.') == name);
        let before: Vec<String> = match is_it {
            true => tag(&found, "Value").map(unescaped).collect(),
            false => Vec::new(),
        };
        let mut after = before.clone();
        after.retain(|one| *one != quoted);
        if add {
            after.push(quoted);
        }
        // An empty set can't be written; deleting wants the set as it is.
        let (verb, values) =
            if after.is_empty() { ("DELETE", &before) } else { ("UPSERT", &after) };
        if values.is_empty() {
            return Ok(());
        }
        self.ask(Method::POST, &format!("{path}/"), "", &change_set(verb, name, values))
            .await
            .map(drop)
    }

    async fn zone_of(&self, name: &str) -> Result<String, String> {
        for zone in super::above(name) {
            let path = format!("/{VERSION}/hostedzonesbyname");
            let found =
                self.ask(Method::GET, &path, &format!("dnsname={zone}&maxitems=1"), "").await?;
            let same = tag(&found, "Name").next().is_some_and(|n| n.trim_end_matches('.') == zone);
            if let (true, Some(id)) = (same, tag(&found, "Id").next()) {
                return Ok(id.trim_start_matches("/hostedzone/").to_owned());
            }
        }
        Err(format!("the key sees no hosted zone for {name}"))
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        query: &str,
        body: &str,
    ) -> Result<String, String> {
        let host = self.api.trim_start_matches("https://");
        let at = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let call = Call {
            method: method.as_str(),
            path,
            query,
            headers: &[("host", host), ("x-amz-date", &at)],
            payload: &sha256(body.as_bytes()),
            at: &at,
            region: REGION,
            service: "route53",
        };
        let mark = if query.is_empty() { "" } else { "?" };
        let request = Request::builder()
            .method(method.clone())
            .uri(format!("{}{path}{mark}{query}", self.api))
            .header("x-amz-date", &at)
            .header("content-type", "application/xml")
            .header("authorization", call.authorization(&self.keys))
            .body(Bytes::from(body.to_owned()))
            .map_err(|e| e.to_string())?;
        let answer = (self.fetch)(request).await?;
        let said = String::from_utf8_lossy(answer.body()).into_owned();
        if answer.status().is_success() {
            return Ok(said);
        }
        let why = tag(&said, "Message").next().unwrap_or_default();
        let why: String = why.chars().take(300).collect();
        Err(format!("Route 53 answered {}: {why}", answer.status()))
    }
}

fn change_set(verb: &str, name: &str, values: &[String]) -> String {
    let records: String = values
        .iter()
        .map(|value| format!("<ResourceRecord><Value>{}</Value></ResourceRecord>", escaped(value)))
        .collect();
    format!(
        "<ChangeResourceRecordSetsRequest xmlns=\"https://route53.amazonaws.com/doc/{VERSION}/\"><ChangeBatch><Changes><Change>\
         <Action>{verb}</Action><ResourceRecordSet><Name>{}.</Name><Type>TXT</Type><TTL>60</TTL>\
         <ResourceRecords>{records}</ResourceRecords></ResourceRecordSet></Change></Changes></ChangeBatch>\
         </ChangeResourceRecordSetsRequest>",
        escaped(name)
    )
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http::Response;

    use super::*;

    #[tokio::test]
    async fn other_texts_of_the_set_are_kept() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        let fetch: Fetch = Arc::new(move |request| {
            let path = request.uri().path().to_owned();
            log.lock().unwrap().push(String::from_utf8_lossy(request.body()).into_owned());
            let query = request.uri().query().unwrap_or_default().to_owned();
            let body = match path.as_str() {
                path if path.ends_with("byname") && query.starts_with("dnsname=example.com") => {
                    "<HostedZone><Id>/hostedzone/Z1</Id><Name>example.com.</Name></HostedZone>"
                }
                path if path.ends_with("byname") => {
                    "<HostedZone><Id>/hostedzone/Z9</Id><Name>other.org.</Name></HostedZone>"
                }
                "/2013-04-01/hostedzone/Z1/rrset" => {
                    "<ResourceRecordSet><Name>_acme-challenge.example.com.</Name><ResourceRecords><ResourceRecord><Value>&quot;one&quot;</Value></ResourceRecord></ResourceRecords></ResourceRecordSet>"
                }
                "/2013-04-01/hostedzone/Z1/rrset/" => "<ok/>",
                other => panic!("{other}"),
            };
            Box::pin(async move { Ok(Response::new(Bytes::from(body))) })
        });
        let zones = Zones::new(&fetch, "https://aws", "ID\nSECRET\n").unwrap();
        let name = "_acme-challenge.example.com";
        zones.change(true, None, name, "two").await.unwrap();
        zones.change(false, None, name, "one").await.unwrap();
        let seen = seen.lock().unwrap().clone();
        let sent: Vec<_> = seen.iter().filter(|body| !body.is_empty()).collect();
        assert!(
            sent[0].contains("UPSERT")
                && sent[0].contains("&quot;one&quot;")
                && sent[0].contains("&quot;two&quot;"),
            "{sent:?}"
        );
        assert!(sent[1].contains("DELETE") && sent[1].contains("&quot;one&quot;"), "{sent:?}");
    }
}
