//! One-off commands in an instance (`ten run`) and scheduled jobs: bounds that all sides know, and what is told
//! of them.

use serde::{Deserialize, Serialize};

use crate::InstanceName;

/// Most words of a command, the program among them.
pub const ARGV_MAX: usize = 256;
/// Most bytes of them together.
pub const ARGV_BYTES_MAX: usize = 48 * 1024;
/// Most variables of a command's own.
pub const ENV_MAX: usize = 64;
/// Most bytes of their names and values together.
pub const ENV_BYTES_MAX: usize = 32 * 1024;
/// Longest run, in seconds: a week.
pub const TIMEOUT_MAX_S: u64 = 7 * 86_400;
/// The run of one that names no time, in seconds: a day.
pub const TIMEOUT_S: u64 = 86_400;

/// Why a word can't be one of a command, if it can't; continues no sentence.
#[must_use]
pub fn bad_word(word: &str) -> Option<&'static str> {
    let odd = |c: char| (c < ' ' && c != '\n' && c != '\t') || c == '\u{7f}';
    word.contains(odd).then_some(
        "a word of the command holds a control character other than a line break or a tab",
    )
}

/// A command to run once in an instance: the first frame of `POST /instances/{name}/run`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RunRequest {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Variables beside those of the instance, which they replace.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub env: std::collections::BTreeMap<String, String>,
    /// How long it may run, in seconds; a day if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u64>,
    /// Give it a terminal of this size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<TerminalSize>,
}

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// How a command ended: the last frame of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RunEnd {
    /// What `ten run` exits with: the exit status, 128 and the number of a signal, 124 if its time was over.
    pub exit_status: u8,
    /// systemd's word: `success`, `exit-code`, `signal`, `timeout`, `oom-kill`, …
    pub result: String,
    /// What went wrong, if the command did not even run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A scheduled job of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CronView {
    /// Whose job.
    pub instance: InstanceName,
    /// Its name in the config.
    pub job: String,
    /// When it is due, as systemd.time(7) writes it.
    pub schedule: String,
    /// What is run.
    pub command: Vec<String>,
    /// Whether its timer is loaded; it is not while it is being made, or if it can't be made.
    pub loaded: bool,
    /// Whether it runs now.
    pub running: bool,
    /// When it is due next, Unix ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_ms: Option<u64>,
    /// When it was last started, Unix ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_ms: Option<u64>,
    /// How its last run ended, as far as is known since the agent's start: `success`, `exit-code 3`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_result: Option<String>,
    /// Why its timer could not be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
