//! What is remembered of orders over restarts of the agent: that it ends must not make it ask the CA more often.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files;
use super::limits::Allowance;

/// Names whose failures are remembered; those that wait longest go first. Their text stays below what is read of a file.
const FAILURES_MAX: usize = 1_000;

/// All of it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memory {
    pub(super) allowance: Allowance,
    pub(super) failed: BTreeMap<String, Failed>,
}

/// How often a custom domain's order has failed in a row, and when the next may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failed {
    pub(super) failures: u32,
    /// In Unix seconds.
    pub(super) due: u64,
}

fn path_of(dir: &Path) -> PathBuf {
    dir.join("orders.json")
}

impl Memory {
    /// Reads it. What can't be read is nothing.
    pub(super) fn load(dir: &Path) -> Self {
        let path = path_of(dir);
        let read = match files::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| error.to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error.to_string()),
        };
        read.unwrap_or_else(|error| {
            log::warn!(file:% = path.display(); "what was ordered before can't be read: {error}");
            Self::default()
        })
    }

    /// Writes it.
    pub(super) fn save(mut self, dir: &Path) {
        while self.failed.len() > FAILURES_MAX {
            let first = self.failed.iter().min_by_key(|(_, one)| one.due);
            let Some(name) = first.map(|(name, _)| name.clone()) else { break };
            self.failed.remove(&name);
        }
        let path = path_of(dir);
        let text = serde_json::to_vec(&self).unwrap_or_default();
        if let Err(error) = files::write(&path, &text) {
            log::warn!(file:% = path.display(); "what was ordered can't be written: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_outlive_the_agent_and_their_number_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Memory::load(dir.path()).failed.is_empty());
        let mut memory = Memory::default();
        for due in 0..1_500 {
            memory.failed.insert(format!("n{due}.example.com"), Failed { failures: 2, due });
        }
        memory.save(dir.path());
        let read = Memory::load(dir.path());
        assert_eq!(read.failed.len(), FAILURES_MAX);
        assert_eq!(read.failed["n1499.example.com"], Failed { failures: 2, due: 1_499 });
        std::fs::write(path_of(dir.path()), "junk").unwrap();
        assert!(Memory::load(dir.path()).failed.is_empty(), "no agent stays away for that");
    }
}
