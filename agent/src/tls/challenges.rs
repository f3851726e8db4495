//! What a CA that asks is answered: the tokens of HTTP-01 and the certificates of TLS-ALPN-01.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

use super::names::normal;

/// The path under which a CA asks for a token (RFC 8555 section 8.3).
pub const PATH: &str = "/.well-known/acme-challenge/";

/// What is being asked for now.
#[derive(Debug, Default)]
pub(super) struct Challenges(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    tokens: HashMap<String, String>,
    certificates: HashMap<String, Arc<CertifiedKey>>,
}

/// Takes an answer back when dropped.
#[derive(Debug)]
pub(super) struct Answered {
    challenges: Arc<Challenges>,
    key: String,
    tls: bool,
}

impl Challenges {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers `token` with `text` by HTTP.
    pub(super) fn answer_http(self: &Arc<Self>, token: &str, text: &str) -> Answered {
        self.open().tokens.insert(token.to_owned(), text.to_owned());
        Answered { challenges: self.clone(), key: token.to_owned(), tls: false }
    }

    /// Answers for `name` by TLS with the digest of a key authorization.
    pub(super) fn answer_tls(
        self: &Arc<Self>,
        name: &str,
        digest: &[u8],
    ) -> Result<Answered, String> {
        let wrong = |error: rcgen::Error| error.to_string();
        let key = KeyPair::generate().map_err(wrong)?;
        let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(wrong)?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let made = params.self_signed(&key).map_err(wrong)?;
        // Not by way of [`super::certificate`]: its critical extension is unknown to whoever else would judge it.
        let secret = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let secret = ring::default_provider().key_provider.load_private_key(secret);
        let secret = secret.map_err(|error| error.to_string())?;
        let made = Arc::new(CertifiedKey::new(vec![made.der().clone()], secret));
        self.open().certificates.insert(name.to_owned(), made);
        Ok(Answered { challenges: self.clone(), key: name.to_owned(), tls: true })
    }

    /// The text for a token, if it is being asked for.
    pub(super) fn text(&self, token: &str) -> Option<String> {
        self.open().tokens.get(token).cloned()
    }

    /// Whether a CA may ask for `name` by TLS.
    pub(super) fn has(&self, name: &str) -> bool {
        self.open().certificates.contains_key(name)
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        let mut open = self.challenges.open();
        if self.tls {
            open.certificates.remove(&self.key);
        } else {
            open.tokens.remove(&self.key);
        }
    }
}

impl ResolvesServerCert for Challenges {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.open().certificates.get(&normal(hello.server_name()?)?).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_is_answered_until_the_order_ends() {
        let challenges = Arc::new(Challenges::default());
        let http = challenges.answer_http("token", "token.thumb");
        let tls = challenges.answer_tls("a.example.com", &[7; 32]).unwrap();
        assert_eq!(challenges.text("token").as_deref(), Some("token.thumb"));
        assert!(challenges.has("a.example.com"));
        drop((http, tls));
        assert!(challenges.text("token").is_none() && !challenges.has("a.example.com"));
    }
}
