//! Secrets, handed over by systemd: `LoadCredential=` and `LoadCredentialEncrypted=` (systemd.exec(5)).
//!
//! The unit holds names and paths. systemd reads the files as root at each start, decrypts them, and
//! puts them where only the instance's user can read them; the app finds them in
//! `$CREDENTIALS_DIRECTORY`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::error::PlanError;
use super::value::{Property, Value};
use super::{Job, text};

/// A secret that was set for one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// Its name.
    pub name: String,
    /// The file that holds it.
    pub path: PathBuf,
    /// Whether systemd-creds has encrypted the file.
    pub encrypted: bool,
    /// Another number each time that it is set, which makes it another revision of the units. It says
    /// nothing about the value.
    pub stamp: u64,
}

/// Adds the credentials. What was set for the instance stands before what the config says for all.
pub(super) fn properties(job: &Job, list: &mut Vec<Property>) -> Result<(), PlanError> {
    let mut all = BTreeMap::new();
    for (name, credential) in &job.def.credentials {
        all.insert(name.as_str(), (text(&credential.path), credential.encrypted));
    }
    for secret in &job.ctx.secrets {
        all.insert(secret.name.as_str(), (text(&secret.path), secret.encrypted));
    }
    if !job.system() && all.values().any(|(_, encrypted)| *encrypted) {
        return Err(PlanError::EncryptedInUserMode);
    }
    for (name, encrypted) in [("LoadCredential", false), ("LoadCredentialEncrypted", true)] {
        let pairs: Vec<_> = all
            .iter()
            .filter(|(_, (_, is))| *is == encrypted)
            .map(|(name, (path, _))| ((*name).to_owned(), path.clone()))
            .collect();
        if !pairs.is_empty() {
            list.push(Property { name, value: Value::Pairs(pairs) });
        }
    }
    Ok(())
}
