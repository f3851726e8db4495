//! One line of an instance's log.

use std::sync::Arc;

use tenement_wire::InstanceName;

/// A syslog severity (RFC 5424, section 6.2.1); journald's `PRIORITY=`. A smaller number is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Level {
    /// 0
    Emerg,
    /// 1
    Alert,
    /// 2
    Crit,
    /// 3
    Error,
    /// 4
    Warn,
    /// 5
    Notice,
    /// 6
    Info,
    /// 7
    Debug,
}

impl Level {
    /// From worst to least.
    pub const ALL: [Self; 8] = [
        Self::Emerg,
        Self::Alert,
        Self::Crit,
        Self::Error,
        Self::Warn,
        Self::Notice,
        Self::Info,
        Self::Debug,
    ];

    /// The level of a syslog priority; what is beyond 7 counts as 7.
    #[must_use]
    pub fn from_priority(priority: u8) -> Self {
        Self::ALL[usize::from(priority.min(7))]
    }

    /// The syslog priority.
    #[must_use]
    pub fn priority(self) -> u8 {
        self as u8
    }

    /// The word for it in queries and answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        ["emerg", "alert", "crit", "error", "warn", "notice", "info", "debug"][self as usize]
    }
}

impl std::str::FromStr for Level {
    type Err = String;

    /// Takes the words of [`Self::as_str`], their usual other spellings, and the numbers 0–7.
    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "0" | "emerg" | "emergency" | "panic" => Self::Emerg,
            "1" | "alert" => Self::Alert,
            "2" | "crit" | "critical" | "fatal" => Self::Crit,
            "3" | "error" | "err" => Self::Error,
            "4" | "warn" | "warning" => Self::Warn,
            "5" | "notice" => Self::Notice,
            "6" | "info" | "information" => Self::Info,
            "7" | "debug" | "trace" => Self::Debug,
            _ => {
                let words = Self::ALL.map(Self::as_str).join(", ");
                return Err(format!("must be one of {words}"));
            }
        })
    }
}

/// Where a line comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The instance printed or logged it.
    Instance,
    /// systemd wrote it about the instance's unit ("Started …", "Main process exited …").
    Systemd,
    /// The index itself: it marks where journald lost lines, or where one was cut.
    Marker,
}

/// One line as it stands in the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its place among all lines of this host, in the order of the journal: 1, 2, 3 … without repeats.
    /// Paging and streams resume at it.
    pub seq: u64,
    /// When it was written, Unix microseconds (`__REALTIME_TIMESTAMP=`). Clocks may go back: order by `seq`.
    pub time_us: u64,
    /// Whose it is.
    pub instance: Arc<InstanceName>,
    /// How bad it is.
    pub level: Level,
    /// Where it comes from.
    pub source: Source,
    /// The text as printed, valid UTF-8 without a newline at its end. Invalid bytes were replaced with
    /// U+FFFD. It may hold several lines (a stack trace that was kept together) and escape sequences:
    /// whoever shows it neutralises them.
    pub text: Box<str>,
}
