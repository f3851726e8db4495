//! The names of backups.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use tenement_wire::InstanceName;

const TIME: &str = "%Y%m%dT%H%M%S";
const END: &str = "Z.tar.zst";

/// The name of a backup of `name` begun at `time_ms`: `api-alice-20260131T030000Z.tar.zst`.
#[must_use]
pub fn file_name(name: &InstanceName, time_ms: u64) -> String {
    let time = i64::try_from(time_ms / 1000).ok().and_then(|s| Timestamp::from_second(s).ok());
    let time = time.unwrap_or(Timestamp::UNIX_EPOCH).strftime(TIME);
    format!("{}-{}-{time}{END}", name.process(), name.id())
}

/// When the backup of `name` called `file` was begun, Unix milliseconds; `None` if that is the name of none.
#[must_use]
pub fn time_of(name: &InstanceName, file: &str) -> Option<u64> {
    let rest = file.strip_prefix(name.process().as_str())?.strip_prefix('-')?;
    let time = rest.strip_prefix(name.id().as_str())?.strip_prefix('-')?.strip_suffix(END)?;
    let time = DateTime::strptime(TIME, time).ok()?.to_zoned(TimeZone::UTC).ok()?;
    let time = u64::try_from(time.timestamp().as_second()).ok()? * 1000;
    // One way to write it, or two files could be one time.
    (file_name(name, time) == file).then_some(time)
}

/// The directory of an instance's backups, below the place itself.
pub(super) fn folder(name: &InstanceName) -> String {
    format!("{}/{}", name.process(), name.id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_of_what_and_of_when_it_is_and_other_files_are_none() {
        let alice: InstanceName = "api:alice".parse().unwrap();
        let file = file_name(&alice, 1_769_828_400_999);
        assert_eq!(file, "api-alice-20260131T030000Z.tar.zst");
        assert_eq!(time_of(&alice, &file), Some(1_769_828_400_000));
        for other in [
            "",
            ".",
            "../../etc/passwd",
            "api-alice-20260131T030000Z.tar.zst/..",
            "notes.txt",
            "api-bob-20260131T030000Z.tar.zst",
            "api-alice-20260131T030000Z.tar.zst.partial",
            ".api-alice-20260131T030000Z.tar.zst",
            "api-alice-20261331T030000Z.tar.zst",
            "api-alice-2026131T030000Z.tar.zst",
            "api-alice-b-20260131T030000Z.tar.zst",
        ] {
            assert_eq!(time_of(&alice, other), None, "{other}");
        }
        // `-` is part of names: what looks like another's is another's.
        let longer: InstanceName = "api:alice-b".parse().unwrap();
        assert_eq!(time_of(&alice, &file_name(&longer, 0)), None);
    }
}
