//! Our account at the CA.

use std::pin::Pin;

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use instant_acme::{
    Account, AccountCredentials, BodyWrapper, BytesResponse, Error, ExternalAccountKey, HttpClient,
    NewAccount,
};

use super::{Acme, words};
use crate::tls::fetch::Fetch;
use crate::tls::files;

/// The file with the account's key and URL.
const FILE: &str = "account.json";

impl Acme {
    /// The account, which is made where there is none.
    pub(super) async fn account(&self) -> Result<Account, String> {
        // Held while it is made: two orders at once must not make two.
        let mut known = self.account.lock().await;
        if let Some(account) = &*known {
            return Ok(account.clone());
        }
        let builder = Account::builder_with_http(Box::new(Client(self.fetch.clone())));
        let path = self.dir.join(FILE);
        let account = match files::read(&path) {
            Ok(text) => {
                let credentials: AccountCredentials =
                    serde_json::from_slice(&text).map_err(|_| {
                        format!("{} is no account; remove it to make another", path.display())
                    })?;
                builder
                    .from_credentials(credentials)
                    .await
                    .map_err(|e| format!("account: {}", words(&e)))?
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let contact = self.settings.email.as_ref().map(|email| format!("mailto:{email}"));
                let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
                let new = NewAccount {
                    contact: &contact,
                    terms_of_service_agreed: true,
                    only_return_existing: false,
                };
                let eab = self.eab()?;
                let directory = self.settings.directory.clone();
                let made = builder.create(&new, directory, eab.as_ref()).await;
                let (account, credentials) = made.map_err(|e| format!("account: {}", words(&e)))?;
                let text = serde_json::to_vec(&credentials).map_err(|e| e.to_string())?;
                files::write(&path, &text).map_err(|e| format!("{}: {e}", path.display()))?;
                log::info!("made an account at {}", self.settings.directory);
                account
            }
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        Ok(known.insert(account).clone())
    }

    /// The CA does not know the account any more: the next order makes another. The file is kept beside.
    pub(super) async fn forget_account(&self) {
        let mut known = self.account.lock().await;
        if known.take().is_some() {
            let path = self.dir.join(FILE);
            log::warn!(file:% = path.display(); "the CA does not know our account any more; another is made");
            if let Err(error) = std::fs::rename(&path, path.with_extension("json.old")) {
                log::warn!(file:% = path.display(), reason:% = error; "the old account can't be put aside");
            }
        }
    }

    /// The key of an account elsewhere (RFC 8555 section 7.3.4).
    fn eab(&self) -> Result<Option<ExternalAccountKey>, String> {
        let Some((kid, path)) = &self.settings.eab else { return Ok(None) };
        let text = files::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let key = super::dns::base64(text.trim_ascii())
            .ok_or_else(|| format!("{} is not base64", path.display()))?;
        Ok(Some(ExternalAccountKey::new(kid.clone(), &key)))
    }
}

/// Carries the requests of the ACME library.
struct Client(Fetch);

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let fetch = self.0.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let answer = fetch(Request::from_parts(parts, body)).await;
            let answer = answer.map_err(|why| Error::Other(why.into()))?;
            let (parts, body) = answer.into_parts();
            Ok(BytesResponse { parts, body: Box::new(body) })
        })
    }
}
