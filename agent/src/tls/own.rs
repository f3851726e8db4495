//! Certificate files of the operator's own, read again when they change.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use super::certificate::Certificate;
use super::files;
use crate::config::CertificateFiles;

/// What tells a file from what it was before: inode, size, and time of change in seconds and nanoseconds.
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
    Some((meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
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
