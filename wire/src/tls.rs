//! Certificates, as the API tells of them.

use serde::{Deserialize, Serialize};

/// Where a certificate comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum CertificateSource {
    /// Files of the operator's own.
    File,
    /// A CA, by ACME.
    Acme,
    /// The host's own CA.
    Internal,
}

impl CertificateSource {
    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Acme => "acme",
            Self::Internal => "internal",
        }
    }
}

/// One certificate, or one that should be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CertificateView {
    /// The name under which it is asked for: the first of its names.
    pub name: String,
    /// Host names that it is for; a wildcard begins with `*.`.
    pub names: Vec<String>,
    /// Where it comes from.
    pub source: CertificateSource,
    /// Who signed it; none: there is no certificate yet.
    pub issuer: Option<String>,
    /// Valid from, in Unix milliseconds.
    pub from_ms: Option<u64>,
    /// Valid to, in Unix milliseconds.
    pub expires_ms: Option<u64>,
    /// When it will be renewed, or tried to be had again, in Unix milliseconds.
    pub renew_ms: Option<u64>,
    /// Its file, if it is one of the operator's own.
    pub file: Option<String>,
    /// What went wrong last, if nothing has gone right since.
    pub error: Option<String>,
}

/// Answer of `GET /api/v1/tls/certificates`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CertificateList {
    /// Whether the config names any source of certificates.
    pub enabled: bool,
    /// How many sockets HTTPS is served on.
    pub listeners: u32,
    /// The certificates, by name.
    pub certificates: Vec<CertificateView>,
}

/// Answer of `GET /api/v1/tls/root`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RootCertificate {
    /// The root of the host's own CA, in PEM.
    pub pem: String,
}
