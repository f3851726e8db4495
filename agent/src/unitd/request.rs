//! What callers send, checked. Pure, so that it can be fuzzed.

use std::collections::HashMap;

use tenement_wire::{
    InstanceId, InstanceName, ProcessName, ReleaseName, ResourceLimits, SecretName,
};

use crate::plan::Particulars;
use crate::units::UnitsError;

/// The instance that two texts from the bus name.
pub(super) fn instance(process: &str, id: &str) -> Result<InstanceName, UnitsError> {
    let refuse = |error: tenement_wire::NameError| UnitsError::Refused(error.to_string());
    Ok(InstanceName::new(
        ProcessName::new(process).map_err(refuse)?,
        InstanceId::new(id).map_err(refuse)?,
    ))
}

/// What the config doesn't say of an instance, as it comes over the bus (`(qa{st}s)`): its port, limits that were
/// set for it, and its release, empty without one.
pub(super) type With = (u16, HashMap<String, u64>, String);

/// The particulars of an instance, from the bus.
pub(super) fn particulars(with: &With) -> Result<Particulars, UnitsError> {
    let (port, overrides, release) = with;
    let release = (!release.is_empty()).then(|| ReleaseName::new(release)).transpose();
    let release = release.map_err(|error| UnitsError::Refused(error.to_string()))?;
    let pairs = overrides.iter().map(|(name, value)| (name.as_str(), *value));
    let overrides = ResourceLimits::from_pairs(pairs).map_err(UnitsError::Refused)?;
    Ok(Particulars { port: *port, overrides, release })
}

/// The release that two texts from the bus name.
pub(super) fn release(process: &str, name: &str) -> Result<(ProcessName, ReleaseName), UnitsError> {
    let process = ProcessName::new(process).map_err(|e| UnitsError::Refused(e.to_string()))?;
    let name = ReleaseName::new(name).map_err(|e| UnitsError::Refused(e.to_string()))?;
    Ok((process, name))
}

/// The name of a secret, from the bus.
pub(super) fn secret(text: &str) -> Result<SecretName, UnitsError> {
    SecretName::new(text).map_err(|error| UnitsError::Refused(error.to_string()))
}

/// Whether `uid` may ask: root, and the user that the agent runs as.
pub(super) fn may_call(uid: u32, agent: Option<u32>) -> bool {
    uid == 0 || Some(uid) == agent
}

/// See [`super::fuzz_request`].
#[cfg(fuzzing)]
pub(super) fn fuzz(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\0');
    let mut next = || lines.next().unwrap_or_default();
    let (process, id, name) = (next(), next(), next());
    let safe = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if let Ok(instance) = instance(process, id) {
        for part in [instance.process().as_str(), instance.id().as_str()] {
            assert!(part.chars().all(safe) && (1..=63).contains(&part.len()), "{part:?}");
        }
    }
    if let Ok(secret) = secret(name) {
        let path = std::path::Path::new(secret.as_str());
        assert!(path.file_name() == Some(path.as_os_str()), "{path:?} is more than a file's name");
    }
    let pairs: HashMap<String, u64> = lines
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(limit, value)| Some((limit.to_owned(), value.parse().ok()?)))
        .collect();
    if let Ok(with) = particulars(&(20000, pairs.clone(), id.to_owned())) {
        assert!(pairs.keys().all(|limit| limit.parse::<tenement_wire::Limit>().is_ok()));
        assert_eq!(with.overrides.iter().count(), pairs.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_two_names_and_never_a_path() {
        assert!(release("api", "v2").is_ok());
        for bad in ["", ".", "..", "../../etc", "a/b", ".draft-v2", "a\0", "v2\n"] {
            assert!(release("api", bad).is_err() && release(bad, "v2").is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_names_get_through() {
        assert!(instance("api", "prod").is_ok());
        for bad in
            ["", "a\n[Service]\nExecStart=+/bin/id", "../x", "a b", "%n", "$(id)", "a@b", "A"]
        {
            assert!(matches!(instance(bad, "prod"), Err(UnitsError::Refused(_))), "{bad:?}");
            assert!(matches!(instance("api", bad), Err(UnitsError::Refused(_))), "{bad:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_sent_gives_a_safe_name_or_a_refusal(process in ".{0,80}", id in ".{0,80}") {
            if let Ok(name) = instance(&process, &id) {
                let safe = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
                for text in [name.process().as_str(), name.id().as_str()] {
                    assert!(text.chars().all(safe) && !text.starts_with('.'), "{text:?}");
                    assert!((1..=63).contains(&text.len()), "{text:?}");
                }
            }
        }

        #[test]
        fn whatever_limits_are_sent_are_in_range_or_refused(
            port: u16, pairs: HashMap<String, u64>, limit in 0..64_usize, value: u64, release in ".{0,70}",
        ) {
            let mut pairs = pairs;
            let known = tenement_wire::Limit::ALL.into_iter().nth(limit);
            pairs.extend(known.map(|known| (known.as_str().to_owned(), value)));
            if let Ok(with) = particulars(&(port, pairs.clone(), release)) {
                assert_eq!(with.port, port);
                let part = with.release.as_ref().map(|name| std::path::Path::new(name.as_str()));
                assert!(part.is_none_or(|part| part.file_name() == Some(part.as_os_str())));
                assert!(pairs.keys().all(|name| name.parse::<tenement_wire::Limit>().is_ok()));
            }
        }
    }

    #[test]
    fn only_root_and_the_agent_may_call() {
        assert!(may_call(0, None) && may_call(990, Some(990)));
        assert!(!may_call(1000, Some(990)) && !may_call(990, None));
    }
}
