//! Secrets that instances of a process get as systemd credentials.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tenement_wire::SecretName;

use super::node::{Fields, Node};
use super::problems::Problems;
use super::settings::path;
use super::types::{Origin, PathRole};

/// The keys of a process.
pub(super) const KEYS: [&str; 1] = ["credentials"];

/// The most in one process.
const CREDENTIALS_MAX: usize = 100;

/// A file that holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Where it lies: read by systemd as root, at each start.
    pub path: PathBuf,
    /// Whether systemd-creds has encrypted it for this host (`LoadCredentialEncrypted=`).
    pub encrypted: bool,
}

/// `[process.X.credentials]`: name to the root-owned file that holds it.
pub type Credentials = BTreeMap<SecretName, Credential>;

/// Reads what `fields` says.
pub(super) fn read(
    fields: &Fields,
    origins: &mut Vec<Origin>,
    problems: &mut Problems,
) -> Credentials {
    let mut credentials = Credentials::new();
    let Some(table) = fields.get("credentials") else { return credentials };
    for (name, node) in Fields::of(table, problems).0 {
        let name = match SecretName::new(&name) {
            Ok(name) => name,
            Err(error) => {
                problems.add(&node.key, error.to_string(), "such as API_KEY or tls.key");
                continue;
            }
        };
        if let Some(credential) = one(&node, origins, problems) {
            credentials.insert(name, credential);
        }
    }
    if credentials.len() > CREDENTIALS_MAX {
        let message = format!("a process can't have more than {CREDENTIALS_MAX} credentials");
        problems.add(&table.key, message, "put several into one file");
    }
    credentials
}

/// A path, or `{ encrypted = path }`.
fn one(node: &Node, origins: &mut Vec<Origin>, problems: &mut Problems) -> Option<Credential> {
    let encrypted = matches!(node.value, toml::de::DeValue::Table(_));
    let text = if encrypted {
        let fields = Fields::of(node, problems);
        fields.refuse_unknown("a credential", &["encrypted"], problems);
        let Some(file) = fields.get("encrypted") else {
            let fix = "write { encrypted = \"/etc/tenement/secrets/api.key.cred\" }";
            problems.add(&node.at, "this credential names no file", fix);
            return None;
        };
        file.string("\"/etc/tenement/secrets/api.key.cred\"", problems)?
    } else {
        node.string("\"/etc/tenement/secrets/api.key\"", problems)?
    };
    let path = path(&text, "credentials", problems)?;
    let at = problems.blank(&text.at);
    origins.push(Origin { role: PathRole::Credential { encrypted }, path: path.clone(), at });
    Some(Credential { path, encrypted })
}
