//! The one grammar of names: a process and an instance id are DNS labels, so that the same text is
//! safe as a host label, a unit name, a path segment, a metric label and an SQL key.
//!
//! Sources: RFC 1123 section 2.1 (labels), systemd.unit(5) (unit name characters).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest DNS label, in bytes (RFC 1035 section 2.3.4).
pub const LABEL_MAX: usize = 63;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("the {what} is empty")]
    Empty {
        /// "process" or "id".
        what: &'static str,
    },
    /// The text is longer than a DNS label.
    #[error("the {what} `{text}` has {len} characters, and 63 is the most")]
    TooLong {
        /// "process" or "id".
        what: &'static str,
        /// The start of the offending text.
        text: String,
        /// Its length in bytes.
        len: usize,
    },
    /// A character outside `[a-z0-9-]`, or `-` at an end.
    #[error(
        "the {what} `{text}` may hold only a-z, 0-9 and `-`, and must start and end with a letter or a digit"
    )]
    Grammar {
        /// "process" or "id".
        what: &'static str,
        /// The offending text.
        text: String,
    },
    /// Not of the form `process:id`.
    #[error("`{text}` is not an instance: write process:id, such as api:prod")]
    NotAnInstance {
        /// The offending text.
        text: String,
    },
}

fn check_label(what: &'static str, text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { what });
    }
    if text.len() > LABEL_MAX {
        let start: String = text.chars().take(20).collect();
        return Err(NameError::TooLong { what, text: format!("{start}…"), len: text.len() });
    }
    let bytes = text.as_bytes();
    let inner = bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-');
    if !inner || bytes[0] == b'-' || bytes[bytes.len() - 1] == b'-' {
        return Err(NameError::Grammar { what, text: text.escape_default().to_string() });
    }
    Ok(())
}

macro_rules! label {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// Checks `text` against the grammar.
            ///
            /// # Errors
            /// [`NameError`] says which rule the text breaks.
            pub fn new(text: &str) -> Result<Self, NameError> {
                check_label($what, text)?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.into()
            }
        }
    };
}

label!(
    /// The name of a process: a template in the config.
    ProcessName,
    "process"
);
label!(
    /// The id of an instance within its process.
    InstanceId,
    "id"
);

label!(
    /// What tells the one-off units of an instance apart: `run-5f2c`, `cron-nightly`.
    TaskTag,
    "tag"
);

/// What a tag of a scheduled job begins with; the rest is the job's name.
const CRON: &str = "cron-";

impl TaskTag {
    /// The tag of a scheduled job.
    ///
    /// # Errors
    /// [`NameError`] if the name breaks a rule, or is too long for a tag.
    pub fn cron(job: &str) -> Result<Self, NameError> {
        check_label("name of the job", job)?;
        Self::new(&format!("{CRON}{job}"))
    }

    /// The name of the scheduled job, if it is one's tag.
    #[must_use]
    pub fn job(&self) -> Option<&str> {
        self.0.strip_prefix(CRON)
    }
}

/// `process:id`, which names one instance on this host.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstanceName {
    process: ProcessName,
    id: InstanceId,
}

impl InstanceName {
    /// The instance `id` of `process`.
    #[must_use]
    pub fn new(process: ProcessName, id: InstanceId) -> Self {
        Self { process, id }
    }

    /// The process that it is an instance of.
    #[must_use]
    pub fn process(&self) -> &ProcessName {
        &self.process
    }

    /// Its id within the process.
    #[must_use]
    pub fn id(&self) -> &InstanceId {
        &self.id
    }

    /// The systemd unit that runs it: `ten-{process}@{id}.service`.
    #[must_use]
    pub fn service_unit(&self) -> String {
        format!("ten-{}@{}.service", self.process, self.id)
    }

    /// The systemd unit whose socket wakes it: `ten-{process}@{id}.socket`.
    #[must_use]
    pub fn socket_unit(&self) -> String {
        format!("ten-{}@{}.socket", self.process, self.id)
    }

    /// The unit of one of its one-off commands: `ten-{process}@{id}.{tag}.service`. No id holds a dot, so
    /// that it is never taken for an instance's own; drop-ins for `ten-{process}@.service` hold for it too.
    #[must_use]
    pub fn task_unit(&self, tag: &TaskTag) -> String {
        format!("ten-{}@{}.{tag}.service", self.process, self.id)
    }

    /// The timer that starts it.
    #[must_use]
    pub fn timer_unit(&self, tag: &TaskTag) -> String {
        format!("ten-{}@{}.{tag}.timer", self.process, self.id)
    }

    /// Whose one-off unit a name is, with its tag and type (`service`, `timer`).
    #[must_use]
    pub fn from_task_unit(unit: &str) -> Option<(Self, TaskTag, &str)> {
        let (stem, kind) = unit.strip_prefix("ten-")?.rsplit_once('.')?;
        let (process, rest) = stem.split_once('@')?;
        let (id, tag) = rest.split_once('.')?;
        let name = Self { process: process.parse().ok()?, id: id.parse().ok()? };
        matches!(kind, "service" | "timer").then_some((name, tag.parse().ok()?, kind))
    }

    /// The instance that a unit name of ours stands for, with the unit's type (`service`, `socket`).
    /// Any other unit name gives `None`.
    #[must_use]
    pub fn from_unit(unit: &str) -> Option<(Self, &str)> {
        let (stem, kind) = unit.strip_prefix("ten-")?.rsplit_once('.')?;
        let (process, id) = stem.split_once('@')?;
        let name = Self { process: process.parse().ok()?, id: id.parse().ok()? };
        matches!(kind, "service" | "socket").then_some((name, kind))
    }
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.process, self.id)
    }
}

impl FromStr for InstanceName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let Some((process, id)) = text.split_once(':') else {
            return Err(NameError::NotAnInstance { text: text.escape_default().to_string() });
        };
        Ok(Self { process: process.parse()?, id: id.parse()? })
    }
}

impl TryFrom<String> for InstanceName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<InstanceName> for String {
    fn from(name: InstanceName) -> String {
        name.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_name_round_trips_through_its_unit() {
        let name: InstanceName = "api-v2:prod-1".parse().unwrap();
        assert_eq!(name.service_unit(), "ten-api-v2@prod-1.service");
        assert_eq!(InstanceName::from_unit(&name.socket_unit()), Some((name, "socket")));
    }

    #[test]
    fn names_outside_the_grammar_are_refused() {
        for bad in ["", "-a", "a-", "A", "a_b", "a.b", "a/b", "..", "a\n", "é", "a b", "a%", "a$"]
        {
            assert!(ProcessName::new(bad).is_err(), "{bad:?} was taken");
        }
        assert!(ProcessName::new(&"a".repeat(64)).is_err());
        assert!(ProcessName::new(&"a".repeat(63)).is_ok());
        assert!("api".parse::<InstanceName>().is_err());
        assert!("api:".parse::<InstanceName>().is_err());
        assert!("api:a:b".parse::<InstanceName>().is_err());
    }

    #[test]
    fn a_one_off_unit_is_told_from_its_instance_and_says_whose_it_is() {
        let name: InstanceName = "api-v2:prod-1".parse().unwrap();
        let tag = TaskTag::cron("at-night").unwrap();
        let unit = name.task_unit(&tag);
        assert_eq!(unit, "ten-api-v2@prod-1.cron-at-night.service");
        assert_eq!(InstanceName::from_unit(&unit), None);
        assert_eq!(InstanceName::from_task_unit(&name.service_unit()), None);
        assert_eq!(InstanceName::from_task_unit(&name.socket_unit()), None);
        assert_eq!(tag.job(), Some("at-night"));
        let timer = name.timer_unit(&tag);
        assert_eq!(InstanceName::from_task_unit(&timer), Some((name, tag, "timer")));
        assert_eq!("run-1".parse::<TaskTag>().unwrap().job(), None);
    }

    #[test]
    fn foreign_units_are_not_ours() {
        for unit in ["ssh.service", "ten-api.service", "ten-api@a.slice", "ten-api@A.service"] {
            assert_eq!(InstanceName::from_unit(unit), None, "{unit}");
        }
    }
}
