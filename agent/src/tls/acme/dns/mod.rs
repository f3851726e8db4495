//! Records for DNS-01 (RFC 8555 section 8.4), published and taken back.
//!
//! A domain and its wildcard are asked for under one name, with two texts: records are added to those that are there,
//! never put in their place. What is published stands in a file until it is taken back, so that an agent that was
//! killed halfway cleans up at its next start.

mod cloudflare;
mod exec;
mod rfc2136;
mod route53;

use std::path::{Path, PathBuf};

use crate::config::{DnsProvider, DnsSettings};
use crate::tls::fetch::Fetch;
use crate::tls::files;

/// The file that says what is published now.
const FILE: &str = "dns-records.json";

/// A record: its name, and its text.
pub(super) type Record = (String, String);

/// Publishes records.
pub(in crate::tls) struct Publisher {
    settings: DnsSettings,
    file: PathBuf,
    /// How providers with an API are asked; or why they can't be.
    fetch: Result<Fetch, String>,
    /// One change at a time: some providers know only whole sets.
    turn: tokio::sync::Mutex<Vec<Record>>,
}

impl Publisher {
    pub(in crate::tls) fn new(
        settings: DnsSettings,
        dir: &Path,
        fetch: Result<Fetch, String>,
    ) -> Self {
        Self { settings, file: dir.join(FILE), fetch, turn: Default::default() }
    }

    /// Publishes `records` and waits until all servers may be thought to have them.
    pub(super) async fn publish(&self, records: &[Record]) -> Result<(), String> {
        if records.is_empty() {
            return Ok(());
        }
        {
            let mut turn = self.turn.lock().await;
            turn.extend_from_slice(records);
            self.note(&turn);
            for record in records {
                self.change(true, record)
                    .await
                    .map_err(|why| format!("publishing {}: {why}", record.0))?;
            }
        }
        tokio::time::sleep(self.settings.propagation).await;
        Ok(())
    }

    /// Takes `records` back. What can't be is tried again at the next start.
    pub(super) async fn withdraw(&self, records: &[Record]) {
        if records.is_empty() {
            return;
        }
        let mut turn = self.turn.lock().await;
        for record in records {
            match self.change(false, record).await {
                Ok(()) => turn.retain(|one| one != record),
                Err(why) => log::warn!("the record {} could not be taken back: {why}", record.0),
            }
        }
        self.note(&turn);
    }

    /// Takes back what the file says is still published.
    pub(super) async fn tidy(&self) {
        let left: Vec<Record> = match files::read(&self.file) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_default(),
            Err(_) => return,
        };
        self.turn.lock().await.extend_from_slice(&left);
        self.withdraw(&left).await;
    }

    fn note(&self, records: &[Record]) {
        let text = serde_json::to_vec(records).unwrap_or_default();
        if let Err(error) = files::write(&self.file, &text) {
            log::warn!(file:% = self.file.display(), reason:% = error; "published records can't be noted down");
        }
    }

    async fn change(&self, add: bool, record: &Record) -> Result<(), String> {
        let (name, text) = (record.0.as_str(), record.1.as_str());
        let fetch = || self.fetch.as_ref().map_err(Clone::clone);
        match &self.settings.provider {
            DnsProvider::Rfc2136 { server, key_name, key_file, algorithm, zone } => {
                let key = secret(key_file)?;
                let server = rfc2136::Server { address: *server, key_name, key: &key, algorithm };
                server.change(add, zone.as_deref(), name, text).await
            }
            DnsProvider::Cloudflare { token_file, api } => {
                let token = secret(token_file)?;
                cloudflare::Zones { fetch: fetch()?, api, token: &token }
                    .change(add, name, text)
                    .await
            }
            DnsProvider::Route53 { access_key_file, zone_id, api } => {
                let keys = secret(access_key_file)?;
                let zones = route53::Zones::new(fetch()?, api, &keys)?;
                zones.change(add, zone_id.as_deref(), name, text).await
            }
            DnsProvider::Exec { command } => exec::run(command, add, name, text).await,
        }
    }
}

/// A file with a secret, without the white space around it.
fn secret(path: &Path) -> Result<String, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let bytes = files::read(path).map_err(|e| wrong(&e))?;
    let text = String::from_utf8(bytes).map_err(|_| wrong(&"it is no text"))?;
    if text.trim().is_empty() { Err(wrong(&"it is empty")) } else { Ok(text.trim().to_owned()) }
}

/// The names above `name`, the longest first, down to two labels.
fn above(name: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(name);
    std::iter::from_fn(move || {
        rest = rest?.split_once('.').map(|(_, rest)| rest);
        rest.filter(|rest| rest.contains('.'))
    })
}

/// Base64, in either alphabet, with or without padding.
pub(super) fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut bits, mut count) = (Vec::new(), 0u32, 0);
    for byte in text.iter().filter(|b| **b != b'=' && !b.is_ascii_whitespace()) {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        (bits, count) = (bits << 6 | u32::from(six), count + 6);
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_in_both_alphabets() {
        assert_eq!(base64(b"aGVsbG8=").unwrap(), b"hello");
        assert_eq!(base64(b"-_-_").unwrap(), base64(b"+/+/").unwrap());
        assert!(base64(b"a*b").is_none());
    }

    #[test]
    fn zones_are_looked_for_from_the_longest_name_on() {
        let names: Vec<_> = above("_acme-challenge.api.example.com").collect();
        assert_eq!(names, ["api.example.com", "example.com"]);
    }
}
