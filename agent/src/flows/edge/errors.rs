//! What systemd and the helper say, as the flows understand it.

use crate::flows::host::HostError;
use crate::systemd::SystemdError;
use crate::units::UnitsError;

pub(super) fn from_systemd(error: SystemdError) -> HostError {
    match error {
        SystemdError::Unreachable(_) | SystemdError::Timeout(_) => {
            HostError::Unreachable(error.to_string())
        }
        _ => HostError::Failed(error.to_string()),
    }
}

pub(super) fn from_units(error: UnitsError) -> HostError {
    match &error {
        UnitsError::NotInConfig(_) | UnitsError::BadConfig(_) => {
            HostError::Config(error.to_string())
        }
        UnitsError::Unreachable(_) | UnitsError::Timeout(_) => {
            HostError::Unreachable(error.to_string())
        }
        _ => HostError::Failed(error.to_string()),
    }
}
