//! What can go wrong in the verbs, and how it crosses the bus.

use tenement_wire::InstanceName;

use crate::systemd::SystemdError;

const PREFIX: &str = "org.tenement.Units1.Error.";

/// An error of a verb.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitsError {
    /// The config has no such process.
    #[error("{0}")]
    NotInConfig(String),
    /// The config can't be used: its problems as text.
    #[error("{0}")]
    BadConfig(String),
    /// The instance's service runs, but not from a pair that we loaded.
    #[error("{0}")]
    AlreadyRunningElsewhere(String),
    /// The helper, the bus or systemd can't be reached now.
    #[error("{0}")]
    Unreachable(String),
    /// We won't: a bad name, a port out of range, a directory that isn't ours, no permission.
    #[error("{0}")]
    Refused(String),
    /// It did not happen within the bound.
    #[error("{0}")]
    Timeout(String),
    /// systemd said no, or the unit failed.
    #[error("{0}")]
    Systemd(String),
}

impl UnitsError {
    /// No such process.
    pub(crate) fn unknown_process(name: &InstanceName) -> Self {
        Self::NotInConfig(format!("the config has no process `{}`", name.process()))
    }

    /// The last part of its name on the bus.
    fn code(&self) -> &'static str {
        match self {
            Self::NotInConfig(_) => "NotInConfig",
            Self::BadConfig(_) => "BadConfig",
            Self::AlreadyRunningElsewhere(_) => "AlreadyRunningElsewhere",
            Self::Unreachable(_) => "Unreachable",
            Self::Refused(_) => "Refused",
            Self::Timeout(_) => "Timeout",
            Self::Systemd(_) => "Systemd",
        }
    }

    /// Its name on the bus.
    #[must_use]
    pub fn bus_name(&self) -> String {
        format!("{PREFIX}{}", self.code())
    }

    /// The error that a name and a text on the bus stand for, if the name is ours.
    pub(crate) fn from_bus(name: &str, text: &str) -> Option<Self> {
        let text = text.to_owned();
        Some(match name.strip_prefix(PREFIX)? {
            "NotInConfig" => Self::NotInConfig(text),
            "BadConfig" => Self::BadConfig(text),
            "AlreadyRunningElsewhere" => Self::AlreadyRunningElsewhere(text),
            "Unreachable" => Self::Unreachable(text),
            "Refused" => Self::Refused(text),
            "Timeout" => Self::Timeout(text),
            _ => Self::Systemd(text),
        })
    }
}

impl From<SystemdError> for UnitsError {
    fn from(error: SystemdError) -> Self {
        let text = error.to_string();
        match error {
            SystemdError::Unreachable(_) => Self::Unreachable(text),
            SystemdError::Refused(_) => Self::Refused(text),
            SystemdError::Timeout(_) => Self::Timeout(text),
            SystemdError::Exists(_) => Self::AlreadyRunningElsewhere(text),
            SystemdError::Absent(_) | SystemdError::Other(_) => Self::Systemd(text),
        }
    }
}

/// So that unitd's methods can return it as it is.
impl zbus::DBusError for UnitsError {
    fn create_reply(&self, call: &zbus::message::Header<'_>) -> zbus::Result<zbus::Message> {
        zbus::Message::error(call, self.bus_name()).build(&(self.to_string(),))
    }

    fn name(&self) -> zbus::names::ErrorName<'_> {
        // The codes are words of letters, which every error name may end in.
        zbus::names::ErrorName::from_string_unchecked(self.bus_name())
    }

    fn description(&self) -> Option<&str> {
        match self {
            Self::NotInConfig(text)
            | Self::BadConfig(text)
            | Self::AlreadyRunningElsewhere(text)
            | Self::Unreachable(text)
            | Self::Refused(text)
            | Self::Timeout(text)
            | Self::Systemd(text) => Some(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_crosses_the_bus_unchanged() {
        let text = || "text".to_owned();
        for error in [
            UnitsError::NotInConfig(text()),
            UnitsError::BadConfig(text()),
            UnitsError::AlreadyRunningElsewhere(text()),
            UnitsError::Unreachable(text()),
            UnitsError::Refused(text()),
            UnitsError::Timeout(text()),
            UnitsError::Systemd(text()),
        ] {
            assert_eq!(UnitsError::from_bus(&error.bus_name(), "text"), Some(error));
        }
        assert_eq!(UnitsError::from_bus("org.freedesktop.DBus.Error.Failed", "text"), None);
    }
}
