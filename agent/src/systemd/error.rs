//! What can go wrong on the way to systemd, told apart because each asks for something else.

/// An error of a call to systemd.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SystemdError {
    /// No such unit is loaded.
    #[error("systemd has no such unit loaded: {0}")]
    Absent(String),
    /// A unit of this name is loaded already.
    #[error("systemd has such a unit loaded already: {0}")]
    Exists(String),
    /// The bus or systemd on it can't be reached now; a later try may work.
    #[error("systemd can't be reached over D-Bus: {0}")]
    Unreachable(String),
    /// systemd or the bus denies us the call.
    #[error("systemd refused the call: {0}")]
    Refused(String),
    /// It did not happen within the bound.
    #[error("systemd did not finish in time: {0}")]
    Timeout(String),
    /// Anything else that systemd answered, such as a property that it doesn't know.
    #[error("systemd answered: {0}")]
    Other(String),
}

impl From<zbus::Error> for SystemdError {
    /// Names of systemd's errors: `src/libsystemd/sd-bus/bus-common-errors.h`.
    fn from(error: zbus::Error) -> Self {
        match error {
            zbus::Error::MethodError(name, text, _) => {
                from_name(name.as_str(), text.unwrap_or_else(|| name.to_string()))
            }
            zbus::Error::FDO(error) => from_fdo(*error),
            zbus::Error::InputOutput(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                Self::Timeout("no answer to the call".into())
            }
            zbus::Error::InputOutput(_)
            | zbus::Error::Connection(..)
            | zbus::Error::Handshake(_)
            | zbus::Error::Address(_) => Self::Unreachable(error.to_string()),
            other => Self::Other(other.to_string()),
        }
    }
}

fn from_fdo(error: zbus::fdo::Error) -> SystemdError {
    use zbus::fdo::Error as Fdo;
    match error {
        Fdo::ZBus(error) => error.into(),
        Fdo::AccessDenied(text)
        | Fdo::AuthFailed(text)
        | Fdo::InteractiveAuthorizationRequired(text) => SystemdError::Refused(text),
        Fdo::ServiceUnknown(text)
        | Fdo::NameHasNoOwner(text)
        | Fdo::NoReply(text)
        | Fdo::Disconnected(text)
        | Fdo::NoServer(text)
        | Fdo::SpawnChildExited(text)
        | Fdo::SpawnFailed(text) => SystemdError::Unreachable(text),
        Fdo::Timeout(text) | Fdo::TimedOut(text) => SystemdError::Timeout(text),
        // systemd answers so for the object path of a unit that is not loaded.
        Fdo::UnknownObject(text) => SystemdError::Absent(text),
        other => SystemdError::Other(other.to_string()),
    }
}

fn from_name(name: &str, text: String) -> SystemdError {
    match name {
        "org.freedesktop.systemd1.NoSuchUnit" | "org.freedesktop.systemd1.LoadFailed" => {
            SystemdError::Absent(text)
        }
        "org.freedesktop.systemd1.UnitExists" => SystemdError::Exists(text),
        "org.freedesktop.DBus.Error.AccessDenied" => SystemdError::Refused(text),
        // The manager is going down or is reloading: worth another try, like a bus that is away.
        "org.freedesktop.systemd1.ShuttingDown" => SystemdError::Unreachable(text),
        _ => SystemdError::Other(format!("{text} ({name})")),
    }
}
