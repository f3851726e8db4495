//! Certificates from the CA, a file each: the key, then the chain.
//!
//! One file holds both, so that no crash leaves a key beside another key's certificate.

use std::path::{Path, PathBuf};

use super::certificate::{Certificate, Facts};
use super::files;

/// The directory of one CA: `{host}-{hash of its URL}`, so that a test CA's certificates are never served in place of
/// a real one's.
pub(super) fn dir_of(top: &Path, directory: &str) -> PathBuf {
    use sha2::Digest as _;
    let host = directory.trim_start_matches("https://").split(['/', ':']).next().unwrap_or("ca");
    let hash = sha2::Sha256::digest(directory);
    let hash: String = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    top.join("acme").join(format!("{host}-{hash}"))
}

/// The file of the certificate called `name`. `@` stands for the star of a wildcard, and in no host name.
pub(super) fn path_of(dir: &Path, name: &str) -> PathBuf {
    dir.join("certificates").join(format!("{}.pem", name.replacen('*', "@", 1)))
}

/// Keeps a certificate.
///
/// # Errors
/// A text that names the file.
pub(super) fn keep(dir: &Path, name: &str, pem: &str) -> Result<(), String> {
    let path = path_of(dir, name);
    files::write(&path, pem.as_bytes()).map_err(|error| format!("{}: {error}", path.display()))
}

/// The certificate called `name`; none if there is no file.
///
/// # Errors
/// A text that names the file.
pub(super) fn load(dir: &Path, name: &str) -> Result<Option<Certificate>, String> {
    let path = path_of(dir, name);
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    match files::read(&path) {
        Ok(pem) => Certificate::from_pem(&pem, &pem).map(Some).map_err(|e| wrong(&e)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(wrong(&error)),
    }
}

/// What is kept, by name.
pub(super) fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir.join("certificates")) else { return Vec::new() };
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        Some(name.strip_suffix(".pem")?.replacen('@', "*", 1))
    };
    entries.filter_map(name).collect()
}

/// What the certificate called `name` says of itself.
pub(super) fn facts(dir: &Path, name: &str) -> Option<Facts> {
    use tokio_rustls::rustls::pki_types::CertificateDer;
    use tokio_rustls::rustls::pki_types::pem::PemObject as _;
    let pem = files::read(&path_of(dir, name)).ok()?;
    Facts::of(&CertificateDer::from_pem_slice(&pem).ok()?).ok()
}

/// Removes a certificate with its key.
pub(super) fn remove(dir: &Path, name: &str) {
    let path = path_of(dir, name);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            log::warn!(file:% = path.display(), reason:% = error; "a certificate can't be removed");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_kept_under_its_name_and_apart_for_each_ca() {
        let top = tempfile::tempdir().unwrap();
        let (one, other) =
            (dir_of(top.path(), "https://a.example/x"), dir_of(top.path(), "https://a.example/y"));
        assert_ne!(one, other);
        let key = rcgen::KeyPair::generate().unwrap();
        let made = rcgen::CertificateParams::new(vec!["*.a.example".to_owned()]).unwrap();
        let pem = format!("{}{}", key.serialize_pem(), made.self_signed(&key).unwrap().pem());
        keep(&one, "*.a.example", &pem).unwrap();
        assert_eq!(names(&one), ["*.a.example"]);
        assert_eq!(load(&one, "*.a.example").unwrap().unwrap().facts.names, ["*.a.example"]);
        assert_eq!(facts(&one, "*.a.example").unwrap().names, ["*.a.example"]);
        assert!(load(&other, "*.a.example").unwrap().is_none());
        remove(&one, "*.a.example");
        assert!(names(&one).is_empty());
    }
}
