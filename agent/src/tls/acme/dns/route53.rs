//! Amazon Route 53, whose records change as whole sets: read, changed, written.

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{Method, Request};
use sha2::{Digest as _, Sha256};

use crate::tls::fetch::Fetch;

const VERSION: &str = "2013-04-01";
/// Route 53 is signed for as if it stood there (AWS's list of endpoints).
const REGION: &str = "us-east-1";

/// The hosted zones of an account.
pub(super) struct Zones<'a> {
    fetch: &'a Fetch,
    api: &'a str,
    id: String,
    secret: String,
}

impl<'a> Zones<'a> {
    /// `keys` is the text of the file: the id of the key, and the secret on the next line.
    pub(super) fn new(fetch: &'a Fetch, api: &'a str, keys: &str) -> Result<Self, String> {
        let mut words = keys.split_whitespace();
        let (Some(id), Some(secret)) = (words.next(), words.next()) else {
            return Err(
                "access_key_file must hold the key's id and, on the next line, its secret".into()
            );
        };
        Ok(Self { fetch, api, id: id.to_owned(), secret: secret.to_owned() })
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
        let call =
            Call { method: method.as_str(), host, path, query, body, at: &at, service: "route53" };
        let mark = if query.is_empty() { "" } else { "?" };
        let request = Request::builder()
            .method(method.clone())
            .uri(format!("{}{path}{mark}{query}", self.api))
            .header("x-amz-date", &at)
            .header("content-type", "application/xml")
            .header("authorization", call.authorization(&self.id, &self.secret))
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

/// One call, as it is signed (AWS Signature Version 4).
struct Call<'a> {
    method: &'a str,
    host: &'a str,
    path: &'a str,
    query: &'a str,
    body: &'a str,
    /// `YYYYMMDDTHHMMSSZ`.
    at: &'a str,
    service: &'a str,
}

impl Call<'_> {
    fn authorization(&self, id: &str, secret: &str) -> String {
        let Self { method, host, path, query, body, at, service } = self;
        let signed = "host;x-amz-date";
        let hash = hex(&Sha256::digest(body));
        let call =
            format!("{method}\n{path}\n{query}\nhost:{host}\nx-amz-date:{at}\n\n{signed}\n{hash}");
        let day = at.get(..8).unwrap_or_default();
        let scope = format!("{day}/{REGION}/{service}/aws4_request");
        let text = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{}", hex(&Sha256::digest(call)));
        let key = mac(format!("AWS4{secret}").as_bytes(), day);
        let key = mac(&mac(&mac(&key, REGION), service), "aws4_request");
        let signature = hex(&mac(&key, &text));
        format!(
            "AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={signed}, Signature={signature}"
        )
    }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn unescaped(text: &str) -> String {
    text.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

/// The texts of all elements `name`; Route 53's have no attributes there.
fn tag<'x>(xml: &'x str, name: &str) -> impl Iterator<Item = &'x str> + use<'x> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = xml;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once(&open)?;
        let (text, after) = after.split_once(&close)?;
        rest = after;
        Some(text)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http::Response;

    use super::*;

    /// `get-vanilla` of AWS's own test suite for Signature Version 4.
    #[test]
    fn calls_are_signed_as_amazon_says() {
        let call = Call {
            method: "GET",
            host: "example.amazonaws.com",
            path: "/",
            query: "",
            body: "",
            at: "20150830T123600Z",
            service: "service",
        };
        let signed = call.authorization("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        assert!(
            signed.ends_with(
                "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
            ),
            "{signed}"
        );
    }

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
