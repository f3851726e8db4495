//! The log: the journal with fields under systemd, standard error elsewhere.

use std::io::Write as _;

use log::{LevelFilter, Log, Metadata, Record};
use systemd_journal_logger::{JournalLog, connected_to_journal};

/// Installs the logger. `TENEMENT_LOG` names the level: error, warn, info (the default), debug, trace.
pub fn install(identifier: &str) {
    let level = std::env::var("TENEMENT_LOG").ok().and_then(|text| text.parse().ok());
    log::set_max_level(level.unwrap_or(LevelFilter::Info));
    if connected_to_journal()
        && let Ok(journal) = JournalLog::new()
        && journal.with_syslog_identifier(identifier.to_owned()).install().is_ok()
    {
        return;
    }
    // A logger is installed once per process, at its start, so this cannot fail twice.
    let _ = log::set_boxed_logger(Box::new(Stderr));
}

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let _ = writeln!(std::io::stderr(), "{}: {}", record.level(), record.args());
    }

    fn flush(&self) {}
}
