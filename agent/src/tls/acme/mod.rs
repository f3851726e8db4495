//! Certificates from a CA by ACME (RFC 8555).
//!
//! ```text
//! account (a key of its own, made once) ─► order ─► answers: DNS-01, TLS-ALPN-01 or HTTP-01 ─► CSR ─► chain
//! ```
//!
//! What may be ordered, and how often, is decided elsewhere.

mod account;
pub(super) mod dns;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Identifier, NewOrder, Order, OrderStatus,
    RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use tokio::sync::{Mutex, Semaphore};

use super::challenges::{Answered, Challenges};
use super::fetch::{self, Fetch};
use crate::config::AcmeSettings;
use dns::Publisher;

/// Orders under way at once.
const AT_ONCE: usize = 8;
/// How long an order may take, waiting for DNS included.
const ORDER_MAX: Duration = Duration::from_secs(600);
/// How long records are being taken back of an order that took too long.
const WITHDRAW_MAX: Duration = Duration::from_secs(60);
/// How often an order is begun anew because the CA refused a nonce (RFC 8555 section 6.5).
const NONCES_MAX: u32 = 10;
/// How long the CA is asked whether it has looked at the answers, and then for the certificate.
const POLL: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.6)
    .timeout(Duration::from_secs(90));

/// One CA and our account there.
pub(super) struct Acme {
    pub(super) settings: AcmeSettings,
    /// Files of this CA.
    pub(super) dir: PathBuf,
    challenges: Arc<Challenges>,
    account: Mutex<Option<Account>>,
    publisher: Option<Publisher>,
    room: Semaphore,
    fetch: Fetch,
}

/// How the CA is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// By DNS-01, for names of the domain.
    Dns,
    /// By a connection to this host; the number of failures so far chooses between HTTPS and HTTP.
    Here(u32),
}

impl Acme {
    /// A CA whose files lie in `dir`.
    ///
    /// # Errors
    /// A text that names a file that can't be used.
    pub(super) fn new(
        settings: AcmeSettings,
        dir: PathBuf,
        challenges: Arc<Challenges>,
    ) -> Result<Self, String> {
        let fetch = fetch::by_https(settings.ca_file.as_deref())?;
        let dns = settings.dns.clone();
        let publisher = dns.map(|dns| Publisher::new(dns, &dir, fetch::by_https(None)));
        let (account, room) = (Mutex::new(None), Semaphore::new(AT_ONCE));
        Ok(Self { settings, dir, challenges, account, publisher, room, fetch })
    }

    /// Has a certificate for `names`: the key and the chain in one PEM text.
    ///
    /// # Errors
    /// A text that says what went wrong, in the CA's words where it has spoken.
    pub(super) async fn obtain(&self, names: &[String], way: Way) -> Result<String, String> {
        let _room = self.room.acquire().await.map_err(|e| e.to_string())?;
        let mut left = NONCES_MAX;
        // Out here, so that an order that is broken off takes its records back too.
        let mut answers = Answers::default();
        let work = async {
            loop {
                match self.order(names, way, &mut answers).await {
                    Err(error) if error.contains("badNonce") && left > 0 => left -= 1,
                    done => return done,
                }
            }
        };
        let done = tokio::time::timeout(ORDER_MAX, work).await;
        if let Some(publisher) = &self.publisher {
            // What a server that does not answer leaves there is taken back at the next start.
            let _ = tokio::time::timeout(WITHDRAW_MAX, publisher.withdraw(&answers.records)).await;
        }
        done.unwrap_or_else(|_| Err("the order took too long".into()))
    }

    /// Takes back what an agent that ended halfway had published.
    pub(super) async fn tidy(&self) {
        if let Some(publisher) = &self.publisher {
            publisher.tidy().await;
        }
    }

    async fn order(
        &self,
        names: &[String],
        way: Way,
        answers: &mut Answers,
    ) -> Result<String, String> {
        let account = self.account().await?;
        let identifiers: Vec<_> = names.iter().cloned().map(Identifier::Dns).collect();
        let mut wish = NewOrder::new(&identifiers);
        if let Some(profile) = &self.settings.profile {
            wish = wish.profile(profile);
        }
        let mut order = match account.new_order(&wish).await {
            Ok(order) => order,
            Err(error) => {
                let text = words(&error);
                if text.contains("accountDoesNotExist") {
                    self.forget_account().await;
                }
                return Err(format!("order: {text}"));
            }
        };
        let answered = self.answer(&mut order, way, answers).await;
        let done = match answered {
            Ok(()) => finish(&mut order, names).await,
            Err(error) => Err(error),
        };
        if let Some(publisher) = &self.publisher {
            publisher.withdraw(&answers.records).await;
        }
        *answers = Answers::default();
        done
    }

    /// Answers all that the CA asks, and tells it so.
    async fn answer(
        &self,
        order: &mut Order,
        way: Way,
        answers: &mut Answers,
    ) -> Result<(), String> {
        let mut open = order.authorizations();
        while let Some(one) = open.next().await {
            let mut one = one.map_err(|e| words(&e))?;
            if one.status != AuthorizationStatus::Pending {
                continue;
            }
            let kind = self.kind(way)?;
            let challenge = one.challenge(kind.clone());
            let challenge =
                challenge.ok_or_else(|| format!("the CA does not offer {}", name_of(&kind)))?;
            let name = challenge.identifier().identifier.clone();
            let Identifier::Dns(name) = name else {
                return Err("the CA asks for no host name".into());
            };
            let key = challenge.key_authorization();
            match kind {
                ChallengeType::Dns01 => {
                    answers.records.push((format!("_acme-challenge.{name}"), key.dns_value()))
                }
                ChallengeType::TlsAlpn01 => {
                    answers.here.push(self.challenges.answer_tls(&name, key.digest().as_ref())?);
                }
                _ => answers.here.push(self.challenges.answer_http(&challenge.token, key.as_str())),
            }
        }
        if let Some(publisher) = &self.publisher {
            publisher.publish(&answers.records).await?;
        }
        let mut open = order.authorizations();
        while let Some(one) = open.next().await {
            let mut one = one.map_err(|e| words(&e))?;
            if one.status == AuthorizationStatus::Pending
                && let Some(mut challenge) = one.challenge(self.kind(way)?)
            {
                challenge.set_ready().await.map_err(|e| words(&e))?;
            }
        }
        Ok(())
    }

    fn kind(&self, way: Way) -> Result<ChallengeType, String> {
        let (tls, http) = (self.settings.tls_alpn, self.settings.http);
        match way {
            Way::Dns if self.publisher.is_some() => Ok(ChallengeType::Dns01),
            Way::Here(failures) if tls && (!http || failures % 2 == 0) => {
                Ok(ChallengeType::TlsAlpn01)
            }
            Way::Here(_) if http => Ok(ChallengeType::Http01),
            _ => Err("the config leaves no challenge to answer".into()),
        }
    }
}

/// What is being answered; dropping it ends the answers of this host.
#[derive(Default)]
struct Answers {
    here: Vec<Answered>,
    /// Names and texts in the DNS.
    records: Vec<(String, String)>,
}

/// Waits for the CA's judgement and fetches the certificate.
async fn finish(order: &mut Order, names: &[String]) -> Result<String, String> {
    let status = order.poll_ready(&POLL).await.map_err(|e| words(&e))?;
    if status != OrderStatus::Ready {
        return Err(why_invalid(order).await);
    }
    let wrong = |error: rcgen::Error| error.to_string();
    let key = KeyPair::generate().map_err(wrong)?;
    let mut params = CertificateParams::new(names.to_vec()).map_err(wrong)?;
    params.distinguished_name = DistinguishedName::new();
    let csr = params.serialize_request(&key).map_err(wrong)?;
    order.finalize_csr(csr.der()).await.map_err(|e| words(&e))?;
    let chain = order.poll_certificate(&POLL).await.map_err(|e| words(&e))?;
    Ok(format!("{}{chain}", key.serialize_pem()))
}

/// What the CA did not like.
async fn why_invalid(order: &mut Order) -> String {
    let mut open = order.authorizations();
    while let Some(Ok(mut one)) = open.next().await {
        let _ = one.refresh().await;
        for challenge in &one.challenges {
            if let Some(problem) = &challenge.error {
                return format!(
                    "the CA's check ({}) failed: {problem}",
                    name_of(&challenge.r#type)
                );
            }
        }
    }
    "the CA refused the order".to_owned()
}

fn name_of(kind: &ChallengeType) -> &'static str {
    match kind {
        ChallengeType::Dns01 => "dns-01",
        ChallengeType::Http01 => "http-01",
        ChallengeType::TlsAlpn01 => "tls-alpn-01",
        _ => "another challenge",
    }
}

/// An error with its kind, in one line.
pub(super) fn words(error: &instant_acme::Error) -> String {
    let kind = match error {
        instant_acme::Error::Api(problem) => problem.r#type.as_deref(),
        _ => None,
    };
    let kind = kind
        .and_then(|kind| kind.rsplit(':').next())
        .map(|kind| format!("{kind}: "))
        .unwrap_or_default();
    let text: String =
        format!("{kind}{error}").chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.chars().take(500).collect()
}
