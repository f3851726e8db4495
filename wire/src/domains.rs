//! Custom domains, and what requests to a process are shared by.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{InstanceId, InstanceName, NameError, ProcessName};

/// Custom domains of one agent at most.
pub const DOMAINS_MAX: usize = 50_000;
/// The weight of an instance that none was given to.
pub const WEIGHT_DEFAULT: u32 = 100;
/// The most that an instance may weigh.
pub const WEIGHT_MAX: u32 = 10_000;

/// Where a name leads: one instance, or the instances of a process by their weights.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RouteTarget {
    /// The process.
    pub process: ProcessName,
    /// Its instance; none: those that have a weight.
    pub instance: Option<InstanceId>,
}

impl RouteTarget {
    /// The instance, if it is one.
    #[must_use]
    pub fn instance_name(&self) -> Option<InstanceName> {
        self.instance.clone().map(|id| InstanceName::new(self.process.clone(), id))
    }
}

impl fmt::Display for RouteTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.instance {
            Some(id) => write!(f, "{}:{id}", self.process),
            None => self.process.fmt(f),
        }
    }
}

impl FromStr for RouteTarget {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Ok(match text.split_once(':') {
            Some((process, id)) => Self { process: process.parse()?, instance: Some(id.parse()?) },
            None => Self { process: text.parse()?, instance: None },
        })
    }
}

impl TryFrom<String> for RouteTarget {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<RouteTarget> for String {
    fn from(target: RouteTarget) -> Self {
        target.to_string()
    }
}

/// The body of `POST /domains`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AddDomain {
    /// The name, such as `shop.customer.com` or `*.customer.com`; other than ASCII letters are taken too
    #[cfg_attr(
        feature = "schema",
        schema(min_length = 1, max_length = 1000, format = "tenement-domain")
    )]
    pub domain: String,
    /// Where it leads: `api:alice`, or `api` for all instances of `api` by their weights
    pub target: RouteTarget,
}

/// Whether a custom domain routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum DomainState {
    /// It was not proven yet that whoever added it may: it does not route.
    Pending,
    /// It routes.
    Verified,
}

impl DomainState {
    /// As the API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Verified => "verified",
        }
    }
}

/// How a domain was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum DomainProof {
    /// By its TXT record.
    Txt,
    /// By a request to it over HTTP, which came to this agent.
    Http,
}

impl DomainProof {
    /// As the API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Txt => "txt",
            Self::Http => "http",
        }
    }
}

/// Where the name led when it was last looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum DnsState {
    /// It was not looked up since the agent started.
    Unknown,
    /// A request to it came to this agent.
    Here,
    /// It has addresses, and a request to them did not come here.
    Elsewhere,
    /// It has no address.
    Missing,
    /// The DNS could not be asked.
    Failed,
}

impl DnsState {
    /// As the API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Here => "here",
            Self::Elsewhere => "elsewhere",
            Self::Missing => "missing",
            Self::Failed => "failed",
        }
    }
}

/// What the DNS said of a domain when it was last asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DomainDns {
    /// Where it leads.
    pub state: DnsState,
    /// Its addresses, eight at most.
    pub addresses: Vec<String>,
    /// Whether its TXT record holds the proof; none: it was not looked up.
    pub txt: Option<bool>,
}

/// Its certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DomainCertificate {
    /// `none`, `pending`, `valid`, `expiring`, `expired` or `failed`.
    pub state: String,
    /// When it ends, in Unix milliseconds.
    pub expires_ms: Option<u64>,
    /// Who has issued it.
    pub issuer: Option<String>,
    /// Why there is none, or no new one.
    pub problem: Option<String>,
}

/// What proves that a domain may be added: one of the two is enough.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DomainChallenge {
    /// The name of the TXT record.
    pub txt_name: String,
    /// Its value.
    pub txt_value: String,
    /// The URL that this agent answers by itself once the name leads to it. None where a TXT record is
    /// asked for: of wildcards, and of tokens that are restricted, for a name that leads here says nothing of
    /// whose it is.
    pub http_url: Option<String>,
}

/// A custom domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DomainView {
    /// Its name in ASCII (punycode), lower case.
    pub domain: String,
    /// The same in letters, where that differs.
    pub unicode: Option<String>,
    /// Where it leads.
    pub target: RouteTarget,
    /// Whether it routes.
    pub state: DomainState,
    /// How it was verified.
    pub proof: Option<DomainProof>,
    /// When, in Unix milliseconds.
    pub verified_ms: Option<u64>,
    /// What proves it, while it is pending.
    pub challenge: Option<DomainChallenge>,
    /// What the DNS says.
    pub dns: DomainDns,
    /// Its certificate; none: this agent has none for it and knows of none under way.
    pub certificate: Option<DomainCertificate>,
    /// When it was added, in Unix milliseconds.
    pub created_ms: u64,
    /// By whom.
    pub created_by: String,
    /// When it was last checked, in Unix milliseconds.
    pub checked_ms: Option<u64>,
    /// When it is checked again by itself, in Unix milliseconds; none: not any more.
    pub next_check_ms: Option<u64>,
    /// What to do so that it works; empty: nothing.
    pub fix: Vec<String>,
}

/// A page of domains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DomainList {
    /// In order of name.
    pub domains: Vec<DomainView>,
    /// How many there are on all pages.
    pub total: u64,
    /// The `cursor` of the next page.
    pub next: Option<String>,
}

/// What was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DomainRemoved {
    /// Its name.
    pub domain: String,
}

/// The share of one instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct WeightView {
    /// Which instance.
    pub name: InstanceName,
    /// Its weight.
    pub weight: u32,
    /// Whether it was set, and not the default of the process.
    pub set: bool,
    /// Its share of the requests, in percent.
    pub percent: f64,
}

/// How requests to a process are shared, and whether they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ProcessRouting {
    /// Which process.
    pub process: ProcessName,
    /// Whether it is in maintenance: all of its requests are answered with 503.
    pub maintenance: bool,
    /// Since when, in Unix milliseconds.
    pub since_ms: Option<u64>,
    /// Its instances, in order of name.
    pub weights: Vec<WeightView>,
}

/// The body of `PATCH /processes/{process}/routing`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RoutingChange {
    /// The instance whose weight is set
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
    /// Its weight; without it, the default of the process again
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(minimum = 0, maximum = 10000))]
    pub weight: Option<u32>,
    /// Whether the process is in maintenance
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<bool>,
}
