//! Where indexing stands: what is stored with the lines, in the same transaction. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tenement_wire::InstanceName;

use crate::journal::cursor::{Cursor, Numbering};
use crate::line::{Line, Source};

/// How much later than a purge systemd's last words about the instance may still come, microseconds.
const LAST_WORDS_US: u64 = 5_000_000;
/// How long after a purge an old line of the instance could still be read, by the journal's time.
const FORGET_US: u64 = 60_000_000;
/// Purges that are remembered. Their lines are gone from the journal sooner or later.
const PURGED_MAX: usize = 10_000;

/// The place behind the last entry that was read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Place {
    /// The journal's cursor; none: at its beginning.
    pub(super) cursor: Option<String>,
    /// How lines are numbered from there.
    pub(super) numbering: Numbering,
    /// Instances whose lines were purged, and when: older lines that come by in the journal are dropped.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) purged: BTreeMap<InstanceName, u64>,
}

impl Place {
    /// From what was stored, with the `seq` that comes next. Text that can't be read begins the journal
    /// anew: lines may then come twice, which is better than none.
    pub(super) fn stored(text: Option<&str>, next_seq: u64) -> Self {
        let stored = text.and_then(|text| serde_json::from_str::<Self>(text).ok());
        let mut place = stored.unwrap_or_default();
        place.numbering.last = place.numbering.last.max(next_seq.saturating_sub(1));
        place
    }

    /// To be stored.
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The entry that was read last.
    pub(super) fn cursor(&self) -> Option<Cursor> {
        self.cursor.clone().map(Cursor::new)
    }

    /// Notes that an instance's lines up to now are gone.
    pub(super) fn purge(&mut self, instance: &InstanceName, now_us: u64) {
        while self.purged.len() >= PURGED_MAX {
            self.purged.pop_first();
        }
        self.purged.insert(instance.clone(), now_us);
    }

    /// Whether a line was purged before it was read.
    pub(super) fn is_purged(&self, line: &Line) -> bool {
        if self.purged.is_empty() {
            return false;
        }
        let grace = if line.source == Source::Systemd { LAST_WORDS_US } else { 0 };
        self.purged.get(&*line.instance).is_some_and(|at| line.time_us <= at + grace)
    }

    /// Forgets purges that no line can be older than any more.
    pub(super) fn forget_purges(&mut self, time_us: u64) {
        self.purged.retain(|_, at| *at + FORGET_US > time_us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::Level;

    fn line(source: Source, time_us: u64) -> Line {
        let instance = std::sync::Arc::new("api:gone".parse().expect("a name"));
        Line { seq: 1, time_us, instance, level: Level::Info, source, text: "x".into() }
    }

    #[test]
    fn a_place_comes_back_as_it_was_stored() {
        let mut place = Place { cursor: Some("s=1;i=2".into()), ..Place::default() };
        place.numbering = Numbering { base: -5, last: 9 };
        place.purge(&"api:gone".parse().expect("a name"), 77);
        assert_eq!(Place::stored(Some(&place.text()), 10), place);
        // The index may have more than the place says, never less.
        assert_eq!(Place::stored(Some(&place.text()), 100).numbering.last, 99);
        let broken = Place::stored(Some("{broken"), 7);
        assert_eq!((broken.cursor, broken.numbering.last), (None, 6));
    }

    #[test]
    fn what_was_purged_is_dropped_when_it_is_read_and_new_lines_are_not() {
        let mut place = Place::default();
        place.purge(&"api:gone".parse().expect("a name"), 1_000);
        assert!(place.is_purged(&line(Source::Instance, 1_000)));
        assert!(!place.is_purged(&line(Source::Instance, 1_001)));
        assert!(
            place.is_purged(&line(Source::Systemd, 1_000_000)),
            "its stop is told a little later"
        );
        place.forget_purges(FORGET_US);
        assert!(!place.purged.is_empty());
        place.forget_purges(FORGET_US + 2_000);
        assert!(place.purged.is_empty());
    }
}
