//! The host's own CA, for `localhost` and an intranet: a root of ten years, and leaves of a week.
//!
//! Its key never leaves the agent's state directory. Who installs the root (`ten tls trust`) believes whatever that
//! key signs, so the root may sign no other CA, and only for servers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};

use super::certificate::{Certificate, Facts};
use super::files;

const DAY: Duration = Duration::from_secs(86_400);
const ROOT_DAYS: u32 = 3_650;
const LEAF_DAYS: u32 = 7;
/// Clocks of clients may be behind.
const BACKDATED: Duration = Duration::from_secs(3_600);

/// The CA, as it lies in `dir`.
#[derive(Debug)]
pub(super) struct OwnCa {
    dir: PathBuf,
    root: String,
}

impl OwnCa {
    /// Reads the CA, or makes it.
    ///
    /// # Errors
    /// A text that names the file.
    pub(super) fn open(dir: &Path, host: &str) -> Result<Self, String> {
        let (root, key) = (dir.join("root.pem"), dir.join("root.key"));
        let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", dir.display());
        let expires = match (files::read(&root), files::read(&key)) {
            (Ok(pem), Ok(_)) => {
                let text = String::from_utf8(pem).map_err(|e| wrong(&e))?;
                let facts =
                    x509_parser::pem::parse_x509_pem(text.as_bytes()).map_err(|e| wrong(&e))?;
                let facts = Facts::of(&facts.1.contents)?;
                (facts.not_after > super::now() + 2 * u64::from(LEAF_DAYS) * DAY.as_secs())
                    .then_some(text)
            }
            // Only what is not there is made anew: clients trust the one that is.
            (Err(e), _) | (_, Err(e)) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(format!("the CA in {} can't be read: {e}", dir.display()));
            }
            _ => None,
        };
        if let Some(text) = expires {
            return Ok(Self { dir: dir.to_owned(), root: text });
        }
        let made = KeyPair::generate().map_err(|e| wrong(&e))?;
        let certificate = root_params(host).self_signed(&made).map_err(|e| wrong(&e))?;
        files::write(&key, made.serialize_pem().as_bytes()).map_err(|e| wrong(&e))?;
        files::write(&root, certificate.pem().as_bytes()).map_err(|e| wrong(&e))?;
        log::info!("made a CA of this host's own; `ten tls trust` installs its root on a client");
        Ok(Self { dir: dir.to_owned(), root: certificate.pem() })
    }

    /// Its root in PEM.
    pub(super) fn root(&self) -> &str {
        &self.root
    }

    /// A new certificate for `names`.
    ///
    /// # Errors
    /// A text that says what went wrong.
    pub(super) fn issue(&self, names: &[String]) -> Result<Certificate, String> {
        let key =
            files::read(&self.dir.join("root.key")).map_err(|e| format!("the CA's key: {e}"))?;
        let key = String::from_utf8(key).map_err(|e| e.to_string())?;
        let wrong = |error: rcgen::Error| format!("the CA can't sign: {error}");
        let key = KeyPair::from_pem(&key).map_err(wrong)?;
        let issuer = Issuer::from_ca_cert_pem(&self.root, key).map_err(wrong)?;
        let mut params = CertificateParams::new(names.to_vec()).map_err(wrong)?;
        set_life(&mut params, LEAF_DAYS);
        params.distinguished_name = DistinguishedName::new();
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = KeyPair::generate().map_err(wrong)?;
        let certificate = params.signed_by(&leaf, &issuer).map_err(wrong)?;
        Certificate::from_pem(certificate.pem().as_bytes(), leaf.serialize_pem().as_bytes())
    }
}

fn root_params(host: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    set_life(&mut params, ROOT_DAYS);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "tenement");
    params.distinguished_name.push(DnType::CommonName, format!("tenement CA of {host}"));
    // It signs leaves, and no CA below it.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn set_life(params: &mut CertificateParams, days: u32) {
    let now = std::time::SystemTime::now();
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + DAY * days).into();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_stays_and_leaves_are_for_the_names_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let first = OwnCa::open(dir.path(), "host").unwrap();
        let again = OwnCa::open(dir.path(), "other").unwrap();
        assert_eq!(first.root(), again.root(), "a root that clients trust must not change");
        let leaf = again.issue(&["localhost".into(), "*.api.localhost".into()]).unwrap();
        assert_eq!(leaf.facts.names, ["localhost", "*.api.localhost"]);
        assert!(leaf.facts.issuer.contains("tenement CA of host"), "{}", leaf.facts.issuer);
        let life = leaf.facts.not_after - leaf.facts.not_before;
        assert!(life < 8 * 86_400, "{life}");
    }

    #[test]
    fn a_root_that_can_not_be_read_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        drop(OwnCa::open(dir.path(), "host").unwrap());
        let (root, key) = (dir.path().join("root.pem"), dir.path().join("root.key"));
        let text = std::fs::read(&root).unwrap();
        std::fs::rename(&key, dir.path().join("away")).unwrap();
        // Reading a directory fails, and not because nothing is there.
        std::fs::create_dir(&key).unwrap();
        let error = OwnCa::open(dir.path(), "host").unwrap_err();
        assert!(error.contains("can't be read"), "{error}");
        assert_eq!(std::fs::read(&root).unwrap(), text);
    }
}
