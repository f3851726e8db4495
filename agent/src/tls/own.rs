//! Certificate files of the operator's own, read again when they change.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use super::certificate::Certificate;
use super::files;
use crate::config::CertificateFiles;

/// What tells a file from what it was before: inode, size, and when it or its owner or mode was changed, in seconds and
/// nanoseconds: a key that was refused for its mode is read again after a chmod.
type Stamp = (u64, u64, i64, i64);

/// One pair of files, and what was last read from it.
#[derive(Debug)]
pub(super) struct OwnFile {
    pub(super) files: CertificateFiles,
    stamps: Option<[Option<Stamp>; 2]>,
    /// The last good one: a bad file replaces nothing.
    pub(super) certificate: Option<Arc<Certificate>>,
    /// What is wrong with the files as they are now.
    pub(super) error: Option<String>,
}

impl OwnFile {
    pub(super) fn new(files: CertificateFiles) -> Self {
        Self { files, stamps: None, certificate: None, error: None }
    }

    /// Reads the files if they have changed. Says whether another certificate is to be served.
    pub(super) fn look(&mut self) -> bool {
        let stamps = [stamp(&self.files.certificate), stamp(&self.files.key)];
        if self.stamps.replace(stamps) == Some(stamps) {
            return false;
        }
        let shown = self.files.certificate.display().to_string();
        match load(&self.files) {
            Ok(certificate) => {
                log::info!(file = shown; "certificate for {}", certificate.facts.names.join(", "));
                self.certificate = Some(Arc::new(certificate));
                self.error = None;
                true
            }
            Err(error) => {
                let kept =
                    if self.certificate.is_some() { "; the one before stays in use" } else { "" };
                log::error!(file = shown; "a certificate can't be used: {error}{kept}");
                self.error = Some(error);
                false
            }
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = fs::metadata(path).ok()?;
    Some((meta.ino(), meta.len(), meta.ctime(), meta.ctime_nsec()))
}

fn load(from: &CertificateFiles) -> Result<Certificate, String> {
    let read = |path: &Path| {
        files::read(path).map_err(|error| {
            let hint = match error.kind() {
                std::io::ErrorKind::PermissionDenied => {
                    " (the agent runs as user tenement: chgrp tenement and chmod 640, and its directory likewise)"
                }
                _ => "",
            };
            format!("{}: {error}{hint}", path.display())
        })
    };
    let public = fs::metadata(&from.key).is_ok_and(|meta| meta.mode() & 0o004 != 0);
    if public {
        let key = from.key.display();
        return Err(format!("{key} can be read by every user of this host: chmod 640 {key}"));
    }
    let (chain, key) = (read(&from.certificate)?, read(&from.key)?);
    Certificate::from_pem(&chain, &key)
        .map_err(|error| format!("{}: {error}", from.certificate.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_that_was_refused_for_its_mode_is_read_after_a_chmod_alone() {
        let dir = tempfile::tempdir().unwrap();
        let files = CertificateFiles {
            certificate: dir.path().join("a.pem"),
            key: dir.path().join("a.key"),
        };
        let key = rcgen::KeyPair::generate().unwrap();
        let made = rcgen::CertificateParams::new(vec!["a.example.com".into()]).unwrap();
        fs::write(&files.certificate, made.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        let mode = |mode| fs::set_permissions(&files.key, fs::Permissions::from_mode(mode));
        mode(0o644).unwrap();
        let mut own = OwnFile::new(files.clone());
        assert!(!own.look() && own.error.as_ref().unwrap().contains("chmod 640"));
        mode(0o640).unwrap();
        assert!(own.look(), "{:?}", own.error);
        assert!(!own.look(), "nothing has changed since");
    }

    #[test]
    fn a_pair_that_is_half_written_or_does_not_match_replaces_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let files = CertificateFiles {
            certificate: dir.path().join("a.pem"),
            key: dir.path().join("a.key"),
        };
        let pair = || {
            let key = rcgen::KeyPair::generate().unwrap();
            let made = rcgen::CertificateParams::new(vec!["a.example.com".into()]).unwrap();
            (made.self_signed(&key).unwrap().pem(), key.serialize_pem())
        };
        let write = |chain: &str, key: &str| {
            fs::write(&files.certificate, chain).unwrap();
            fs::write(&files.key, key).unwrap();
            fs::set_permissions(&files.key, fs::Permissions::from_mode(0o600)).unwrap();
        };
        let (first, next) = (pair(), pair());
        write(&first.0, &first.1);
        let mut own = OwnFile::new(files.clone());
        assert!(own.look());
        let before = own.certificate.clone().unwrap();
        for (chain, key) in [
            (next.0.as_str(), first.1.as_str()),
            (&next.0[..next.0.len() / 2], next.1.as_str()),
            (next.0.as_str(), &next.1[..next.1.len() / 2]),
        ] {
            write(chain, key);
            assert!(!own.look() && own.error.is_some());
            assert!(Arc::ptr_eq(own.certificate.as_ref().unwrap(), &before));
        }
        write(&next.0, &next.1);
        assert!(own.look() && own.error.is_none());
    }
}
