//! How errors of what the verbs rest on become errors of the verbs.

use super::WakeError;
use super::host::HostError;
use super::instance::Instance;
use super::management::ManageError;
use crate::store::StoreError;

/// What is told when an instance could not be stopped.
pub(super) fn not_stopped(instance: &Instance, error: HostError) -> ManageError {
    match error {
        HostError::Unreachable(_) => {
            ManageError::Unavailable { what: "the unit helper or systemd", source: error.into() }
        }
        HostError::Config(reason) | HostError::Failed(reason) => {
            ManageError::StopFailed { name: instance.name.clone(), reason }
        }
    }
}

impl From<WakeError> for ManageError {
    fn from(error: WakeError) -> Self {
        match error {
            WakeError::Failed { name, reason, retry_after } => {
                Self::StartFailed { name, reason, retry_after: Some(retry_after) }
            }
            WakeError::TimedOut { name, after, last } => {
                Self::TimedOut { name, wanted: "ready", after, last }
            }
            WakeError::GaveUp { name, reason }
            | WakeError::NotStarted { name, reason }
            | WakeError::DiskFull { name, reason } => {
                Self::StartFailed { name, reason, retry_after: None }
            }
            WakeError::Gone { name } => Self::NotFound { name, similar: Vec::new() },
        }
    }
}

impl From<StoreError> for ManageError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full(_) => Self::StoreFull,
            StoreError::ReadOnly(_) => Self::StoreReadOnly,
            StoreError::NoFreePort(first, last) => Self::NoFreePort { first, last },
            other => Self::Internal(other.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_without_a_free_port_is_no_failure_of_the_agent() {
        let error = ManageError::from(StoreError::NoFreePort(20_000, 20_001));
        let text = "every port of port_range 20000-20001 is taken: nothing was changed";
        assert_eq!(error.to_string(), text);
    }
}
