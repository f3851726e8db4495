//! Secrets of instances: passed on to the unit helper, which alone can read and write them.

use std::fmt;

use tenement_wire::{InstanceName, SecretName, SecretView};

use super::host::Host;
use super::manage::Manager;
use super::management::ManageError;

/// What is to be done with the secrets of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretOrder {
    /// Nothing.
    List,
    /// Keep this one.
    Set(SecretName, SecretValue),
    /// Delete this one.
    Remove(SecretName),
}

/// A value that no log can show.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(pub Vec<u8>);

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes)", self.0.len())
    }
}

impl<H: Host> Manager<H> {
    /// See [`super::Management::secrets`].
    pub(super) async fn order_secrets(
        &self,
        name: &InstanceName,
        order: SecretOrder,
    ) -> Result<Vec<SecretView>, ManageError> {
        let instance = self.find(name)?;
        let host = &self.agent.host;
        if let SecretOrder::Remove(secret) = &order {
            let now = host.secrets(name, SecretOrder::List).await.map_err(|e| told(e.into()))?;
            if !now.iter().any(|one| one.name == *secret) {
                return Err(ManageError::UnknownSecret {
                    name: name.clone(),
                    secret: secret.clone(),
                });
            }
        }
        let changes = order != SecretOrder::List;
        let after = host.secrets(name, order).await.map_err(|error| match error {
            super::host::HostError::Unreachable(_) => told(error.into()),
            error => ManageError::Invalid { field: "secret", message: error.to_string() },
        })?;
        if changes {
            // The loaded units name the secrets that there were: the next start makes them anew.
            instance.mark_stale();
        }
        Ok(after)
    }
}

fn told(source: Box<dyn std::error::Error + Send + Sync>) -> ManageError {
    ManageError::Unavailable { what: "the unit helper", source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_not_in_what_is_printed_of_an_order() {
        let name = SecretName::new("KEY").expect("a name");
        let order = SecretOrder::Set(name, SecretValue(b"hunter2".to_vec()));
        let shown = format!("{order:?}");
        assert!(shown.contains("KEY") && shown.contains("7 bytes"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
