//! Why an instance has no plan.

use std::path::PathBuf;

use tenement_wire::ProcessName;

use super::value::{UnitSpec, Value};

/// Why the units of an instance cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A socket's path doesn't fit into `sun_path`.
    #[error("the socket {path} has {len} bytes, and {max} is the most: use a shorter process name, id or `socket`", path = path.display())]
    SocketPathTooLong {
        /// The path.
        path: PathBuf,
        /// Its length.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// The process runs from releases, and there is none.
    #[error("there is no release of {process} yet: make one with ten deploy {process} DIRECTORY")]
    NoRelease {
        /// The process.
        process: ProcessName,
    },
    /// A path of the config is not absolute once its placeholders are filled.
    #[error("{key} is not an absolute path: {path}")]
    NotAbsolute {
        /// Key of the config.
        key: &'static str,
        /// The path.
        path: String,
    },
    /// The program is in none of [`super::PROGRAM_DIRS`].
    #[error("the program `{program}` was not found in {dirs}: install it, or write its whole path", dirs = super::PROGRAM_DIRS.join(":"))]
    ProgramNotFound {
        /// As the config names it.
        program: String,
    },
    /// The program is there in name only.
    #[error("the command `{path}` can't be executed: {reason}")]
    NotExecutable {
        /// Its absolute path.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An env file sets something that is no variable or that is reserved.
    #[error("the env file variable `{name}` {reason}")]
    Variable {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A variable for a one-off command is no variable or is reserved.
    #[error("the variable `{name}` {reason}")]
    TaskVariable {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A scheduled job whose name is none.
    #[error("the job `{name}`: {reason}")]
    Job {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A dynamic user's data can only lie where systemd keeps state.
    #[error("a dynamic user needs data_dir below /var/lib, and it is {data_dir}", data_dir = data_dir.display())]
    DynamicOutsideState {
        /// The configured directory.
        data_dir: PathBuf,
    },
    /// A user manager cannot run instances as somebody else, made up or not.
    #[error(
        "`user = \"{user}\"` needs the system service: `tenementd --user` runs all as yourself"
    )]
    UserInUserMode {
        /// The name.
        user: String,
    },
    /// Only the system's manager makes network namespaces on every version of systemd.
    #[error(
        "`network = \"private\"` needs the system service: `tenementd --user` uses your own network"
    )]
    NetworkInUserMode,
    /// A user manager has no key, and before 256 no way to ask for one.
    #[error("encrypted credentials need the system service: `tenementd --user` can't decrypt them")]
    EncryptedInUserMode,
    /// A directive of `[process.X.systemd]` that this systemd lacks.
    #[error(
        "`{name}` needs systemd {since}, and this host has {systemd}: remove it from the config"
    )]
    DirectiveTooNew {
        /// The directive.
        name: &'static str,
        /// The version that has it.
        since: u32,
        /// The version of the host.
        systemd: u32,
    },
    /// A control character, in a property (its name, never its value).
    #[error("a control character in {property}")]
    ControlCharacter {
        /// Name of the property.
        property: &'static str,
    },
}

/// Refuses control characters in every text of units. The config's were refused when it was read;
/// what came from env files and from the host is seen here. systemd writes some properties raw into a
/// drop-in, where a line break would begin a setting of its own.
pub(super) fn refuse_control(units: &[&UnitSpec]) -> Result<(), PlanError> {
    let bad = |text: &str| text.chars().any(super::is_control);
    for property in units.iter().flat_map(|unit| &unit.properties) {
        let found = match &property.value {
            Value::Str(text) => bad(text),
            Value::Strs(list) | Value::Filter(_, list) => list.iter().any(|t| bad(t)),
            Value::Bytes(list) => list.iter().any(|b| bad(&String::from_utf8_lossy(b))),
            Value::Exec(list) => list
                .iter()
                .any(|(path, argv, flags)| bad(path) || argv.iter().chain(flags).any(|t| bad(t))),
            Value::ExecPlain(list) => {
                list.iter().any(|(path, argv, _)| bad(path) || argv.iter().any(|t| bad(t)))
            }
            Value::Pairs(list) => list.iter().any(|(a, b)| bad(a) || bad(b)),
            Value::Binds(list) => list.iter().any(|(a, b, _, _)| bad(a) || bad(b)),
            Value::Rates(rates) => rates.iter().any(|(path, _)| bad(path)),
            Value::Addresses(_)
            | Value::Bool(_)
            | Value::I32(_)
            | Value::U32(_)
            | Value::U64(_) => false,
        };
        if found {
            return Err(PlanError::ControlCharacter { property: property.name });
        }
    }
    Ok(())
}
