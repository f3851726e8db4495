//! A process, or one instance of it.

use std::str::FromStr;

use tenement_wire::{InstanceId, NameError, ProcessName};

/// What `ten spawn` takes: a process, or one instance of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The process.
    pub process: ProcessName,
    /// The instance, if one was named.
    pub id: Option<InstanceId>,
}

impl FromStr for Target {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Ok(match text.split_once(':') {
            Some((process, id)) => Self { process: process.parse()?, id: Some(id.parse()?) },
            None => Self { process: text.parse()?, id: None },
        })
    }
}
