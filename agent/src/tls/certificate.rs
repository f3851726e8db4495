//! One certificate with its key, read and judged.

use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Host names that it is for, in lower case; a wildcard begins with `*.`.
    pub names: Vec<String>,
    /// Who signed it.
    pub issuer: String,
    /// Valid from, in Unix seconds.
    pub not_before: u64,
    /// Valid to, in Unix seconds.
    pub not_after: u64,
}

impl Facts {
    /// Reads them from a certificate in DER.
    ///
    /// # Errors
    /// A text that says what is wrong with it.
    pub fn of(der: &[u8]) -> Result<Self, String> {
        let (_, parsed) = X509Certificate::from_der(der)
            .map_err(|error| format!("the certificate can't be read: {error}"))?;
        let names = parsed.subject_alternative_name().ok().flatten();
        let names = names.map(|names| names.value.general_names.clone()).unwrap_or_default();
        let name = |name: &GeneralName| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        };
        let time = |t: i64| u64::try_from(t).unwrap_or(0);
        Ok(Self {
            names: names.iter().filter_map(name).collect(),
            issuer: parsed.issuer().to_string(),
            not_before: time(parsed.validity().not_before.timestamp()),
            not_after: time(parsed.validity().not_after.timestamp()),
        })
    }

    /// When it is to be renewed: with a third of its life left, or up to a tenth of its life earlier. `chance` is
    /// from 0 to 1, and keeps certificates that were issued together from being renewed together.
    #[must_use]
    pub fn due(&self, chance: f64) -> u64 {
        let life = self.not_after.saturating_sub(self.not_before);
        let early = (life as f64 * 0.1 * chance.clamp(0.0, 1.0)) as u64;
        self.not_after.saturating_sub(life / 3).saturating_sub(early)
    }
}

/// A certificate that can be served.
#[derive(Debug)]
pub struct Certificate {
    /// The chain and the key.
    pub key: Arc<CertifiedKey>,
    /// What it says of itself.
    pub facts: Facts,
}

impl Certificate {
    /// Reads a chain and its key from PEM; both may stand in one text.
    ///
    /// # Errors
    /// A text that says what is wrong, and shows nothing of the key.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, String> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|error| format!("the certificate is not PEM: {error}"))?;
        let first = chain.first().ok_or("there is no certificate in it")?;
        let facts = Facts::of(first)?;
        if facts.names.is_empty() {
            return Err("the certificate has no host names (subjectAltName)".into());
        }
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| "there is no private key in PEM, without a password, in it")?;
        let key = CertifiedKey::from_der(chain, key, &ring::default_provider())
            .map_err(|error| format!("the key can't be used with the certificate: {error}"))?;
        Ok(Self { key: Arc::new(key), facts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(names: &[&str]) -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    #[test]
    fn a_pair_is_read_with_its_names_and_a_foreign_key_is_refused() {
        let (chain, key) = made(&["A.example.com", "*.example.com"]);
        let read = Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        assert_eq!(read.facts.names, ["a.example.com", "*.example.com"]);
        let (_, other) = made(&["b.example.com"]);
        let refused = Certificate::from_pem(chain.as_bytes(), other.as_bytes()).unwrap_err();
        assert!(refused.contains("can't be used with the certificate"), "{refused}");
        let secret = key.lines().nth(1).unwrap();
        for (chain, key) in [("", key.as_str()), (chain.as_str(), ""), ("junk", "junk")] {
            let error = Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap_err();
            assert!(!error.contains(secret), "the key is shown: {error}");
        }
    }

    #[test]
    fn it_is_renewed_with_a_third_of_its_life_left_or_a_little_earlier() {
        let facts =
            Facts { names: Vec::new(), issuer: String::new(), not_before: 0, not_after: 900 };
        assert_eq!(facts.due(0.0), 600);
        assert_eq!(facts.due(1.0), 510);
    }
}
