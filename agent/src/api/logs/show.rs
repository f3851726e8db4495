//! Lines as the wire, a file or a person reads them.

use std::io::Write as _;

use jiff::Timestamp;
use tenement_logs::line::{Line, Source};
use tenement_logs::search::Stopped;
use tenement_wire::logs::{self, LogLine, LogSource, LogsStopped};
use tenement_wire::plain::{Colours, neutral};

/// A line as the API gives it.
pub(super) fn line(line: &Line) -> LogLine {
    LogLine {
        seq: line.seq,
        timestamp: timestamp(line.time_us),
        level: line.level.as_str().to_owned(),
        process: line.instance.process().as_str().to_owned(),
        instance_id: line.instance.id().as_str().to_owned(),
        source: match line.source {
            Source::Instance => LogSource::Instance,
            Source::Systemd => LogSource::Systemd,
            Source::Marker => LogSource::Marker,
        },
        message: line.text.as_ref().to_owned(),
        fields: logs::fields(&line.text),
    }
}

/// RFC 3339 in UTC with microseconds. What a broken clock puts beyond the year 9999 is that year.
fn timestamp(us: u64) -> String {
    let at = i64::try_from(us).ok().and_then(|us| Timestamp::from_microsecond(us).ok());
    format!("{:.6}", at.unwrap_or(Timestamp::MAX))
}

pub(super) fn stopped(stopped: Stopped) -> LogsStopped {
    match stopped {
        Stopped::Time => LogsStopped::Time,
        Stopped::Memory => LogsStopped::Memory,
    }
}

pub(super) fn stopped_word(stopped: LogsStopped) -> &'static str {
    match stopped {
        LogsStopped::Time => "time",
        LogsStopped::Memory => "memory",
    }
}

/// One JSON object and a newline.
pub(super) fn ndjson(line: &LogLine, out: &mut Vec<u8>) {
    // Writing texts and numbers into memory can't fail.
    let _ = serde_json::to_writer(&mut *out, line);
    out.push(b'\n');
}

/// `time instance level message`; the further lines of a message are indented.
pub(super) fn text(line: &LogLine, out: &mut Vec<u8>) {
    let LogLine { timestamp, level, process, instance_id, .. } = line;
    let message = neutral(&line.message, Colours::Strip).replace('\n', "\n    ");
    let _ = writeln!(out, "{timestamp} {process}:{instance_id} {level:<6} {message}");
}

/// An entry in the journal export format (systemd.io/JOURNAL_EXPORT_FORMATS).
pub(super) fn journal(line: &Line, out: &mut Vec<u8>) {
    let name = &line.instance;
    let _ = writeln!(out, "__REALTIME_TIMESTAMP={}", line.time_us);
    let _ = writeln!(out, "PRIORITY={}", line.level.priority());
    let _ = writeln!(out, "TENEMENT_PROCESS={}", name.process());
    let _ = writeln!(out, "TENEMENT_INSTANCE={}", name.id());
    let _ = writeln!(out, "TENEMENT_SEQ={}", line.seq);
    match line.source {
        Source::Instance => {
            let _ = writeln!(out, "_SYSTEMD_UNIT={}", name.service_unit());
        }
        Source::Systemd => {
            let _ = writeln!(out, "UNIT={}", name.service_unit());
        }
        Source::Marker => out.extend_from_slice(b"SYSLOG_IDENTIFIER=tenementd\n"),
    }
    if line.text.contains(|c: char| c.is_control() && c != '\t') {
        // A value that is not one line of text is given by its length, little-endian.
        out.extend_from_slice(b"MESSAGE\n");
        out.extend_from_slice(&(line.text.len() as u64).to_le_bytes());
        out.extend_from_slice(line.text.as_bytes());
        out.extend_from_slice(b"\n\n");
    } else {
        let _ = writeln!(out, "MESSAGE={}\n", line.text);
    }
}
