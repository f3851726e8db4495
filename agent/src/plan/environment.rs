//! The environment of an instance.

use std::collections::BTreeMap;

use super::error::PlanError;
use super::{Job, text};
use crate::config::Listen;

/// The property that carries it.
pub(super) const PROPERTY: &str = "Environment";

/// The variable that carries the plan's fingerprint; it is added last, being no part of itself.
pub(super) const REVISION: &str = "TENEMENT_REVISION";

/// Variables of the socket activation and notification protocols: systemd sets them.
const PROTOCOL: [&str; 8] = [
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "LISTEN_PIDFDID",
    "NOTIFY_SOCKET",
    "MAINPID",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

/// Why `name` can't be set by the config or an env file, if it can't; continues a sentence.
#[must_use]
pub fn bad_variable(name: &str) -> Option<&'static str> {
    let inner = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if name.is_empty() || !inner || name.as_bytes()[0].is_ascii_digit() {
        Some("is not the name of an environment variable")
    } else if name.starts_with("TENEMENT_") {
        Some("begins with TENEMENT_, which is ours")
    } else if PROTOCOL.contains(&name) {
        Some("is set by systemd")
    } else {
        None
    }
}

/// Whether `c` is a control character that may not be in any text for systemd.
#[must_use]
pub fn is_control(c: char) -> bool {
    c < ' ' || c == '\u{7f}'
}

/// `KEY=VALUE` in order of key. `env` wins over all but our own `TENEMENT_*`. Env files may set another
/// home or data directory, but not where the app listens: a `PORT=3000` that was meant for one
/// developer's machine would be the same for every instance.
pub(super) fn environment(job: &Job) -> Result<Vec<String>, PlanError> {
    let data_dir = text(&job.paths.data_dir);
    let mut env =
        BTreeMap::from([("DATA_DIR".to_owned(), data_dir.clone()), ("HOME".to_owned(), data_dir)]);
    for (name, value) in &job.ctx.env_file_vars {
        if let Some(reason) = bad_variable(name) {
            let name = name.escape_default().to_string();
            return Err(PlanError::Variable { name, reason });
        }
        if value.chars().any(is_control) {
            let reason = "holds a control character";
            return Err(PlanError::Variable { name: name.clone(), reason });
        }
        env.insert(name.clone(), value.clone());
    }
    if matches!(job.def.listen, Listen::Port | Listen::Own) {
        env.insert("PORT".to_owned(), job.port().to_string());
    }
    if matches!(job.def.listen, Listen::Socket | Listen::Own) {
        env.insert("SOCKET".to_owned(), text(&job.paths.socket));
        env.insert("SOCKET_PATH".to_owned(), text(&job.paths.socket));
    }
    env.extend(job.def.env.iter().map(|(name, value)| (name.clone(), job.fill(value))));
    env.insert("TENEMENT_BUSY".to_owned(), text(&job.paths.busy));
    if let Some(release) = job.release() {
        env.insert("TENEMENT_RELEASE".to_owned(), release.name.to_string());
    }
    env.insert("TENEMENT_PROCESS".to_owned(), job.name.process().to_string());
    env.insert("TENEMENT_INSTANCE".to_owned(), job.name.id().to_string());
    Ok(env.into_iter().map(|(name, value)| format!("{name}={value}")).collect())
}
