//! Cursors of the journal: where an entry stands, and what can be told from that. Pure.
//!
//! The form (`s=…;i=…;b=…;m=…;t=…;x=…`) is that of `sd_journal_get_cursor` in every systemd since 205.
//! Documented is only that it is opaque; should a part be missing one day, the entry is still found by
//! libsystemd, and only what is said of gaps becomes "nobody can know".

/// Where an entry of the journal stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cursor {
    text: String,
    /// Id of the sequence that `number` counts in. Files of one journal mostly share it.
    sequence: u128,
    number: u64,
    boot: u128,
    monotonic_us: u64,
    time_us: u64,
    hash: u64,
}

impl Cursor {
    /// From what libsystemd gave.
    #[must_use]
    pub fn new(text: String) -> Self {
        let mut cursor = Self::default();
        for part in text.split(';') {
            let Some((key, value)) = part.split_once('=') else { continue };
            let number = || u64::from_str_radix(value, 16).unwrap_or(0);
            match key {
                "s" => cursor.sequence = u128::from_str_radix(value, 16).unwrap_or(0),
                "i" => cursor.number = number(),
                "b" => cursor.boot = u128::from_str_radix(value, 16).unwrap_or(0),
                "m" => cursor.monotonic_us = number(),
                "t" => cursor.time_us = number(),
                "x" => cursor.hash = number(),
                _ => {}
            }
        }
        cursor.text = text;
        cursor
    }

    /// As libsystemd knows it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// When the entry was written, Unix microseconds.
    #[must_use]
    pub fn time_us(&self) -> u64 {
        self.time_us
    }

    /// Its number in its sequence.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether both mean the same entry. When journald copies its files from `/run` to `/var` an
    /// entry gets another number in another sequence; its time and content stay.
    #[must_use]
    pub fn same_entry(&self, other: &Self) -> bool {
        (self.boot, self.monotonic_us, self.hash) == (other.boot, other.monotonic_us, other.hash)
    }

    /// How many entries stood between `older` and this one, if that can be known.
    #[must_use]
    pub fn entries_since(&self, older: &Self) -> Option<u64> {
        if self.sequence != older.sequence || self.sequence == 0 {
            return None;
        }
        self.number.checked_sub(older.number)?.checked_sub(1)
    }
}

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> Self {
        cursor.text
    }
}

/// Gives lines their `seq`: the entry's number in the journal, moved so that it always grows.
///
/// So a line has the same `seq` whoever reads it, before and after a crash, and two readers at two places
/// of the journal agree without talking. Numbers have gaps, where entries are not of instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Numbering {
    /// Added to the entry's number.
    pub base: i64,
    /// The last that was given.
    pub last: u64,
}

impl Numbering {
    /// The `seq` of an entry.
    pub fn of(&mut self, cursor: &Cursor) -> u64 {
        let number = i64::try_from(cursor.number).unwrap_or(0);
        let seq = self.base.checked_add(number).and_then(|seq| u64::try_from(seq).ok());
        match seq {
            Some(seq) if seq > self.last => self.last = seq,
            // The journal began to count anew, as after its files were deleted.
            _ => {
                self.last += 1;
                self.base = i64::try_from(self.last).unwrap_or(0).saturating_sub(number);
            }
        }
        self.last
    }

    /// Whether the entry follows in the count that is going on: then every reader gives it the same `seq`.
    #[must_use]
    pub fn counts_on(&self, cursor: &Cursor) -> bool {
        let mut after = *self;
        after.of(cursor) > self.last && after.base == self.base
    }

    /// The `seq` of a line that stands for no entry.
    pub fn beside(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(sequence: &str, number: u64, hash: u64) -> Cursor {
        Cursor::new(format!("s={sequence};i={number:x};b=b0;m=328c;t=660c908e70499;x={hash:x}"))
    }

    #[test]
    fn a_cursor_is_read_and_an_entry_recognised_after_it_was_copied() {
        let here = cursor("f7", 0x56, 9);
        assert_eq!((here.number(), here.time_us()), (0x56, 0x0006_60c9_08e7_0499));
        assert!(here.same_entry(&cursor("aa", 1, 9)) && !here.same_entry(&cursor("f7", 0x56, 8)));
    }

    #[test]
    fn lost_entries_are_counted_where_they_can_be() {
        let seen = cursor("f7", 10, 1);
        assert_eq!(cursor("f7", 11, 2).entries_since(&seen), Some(0));
        assert_eq!(cursor("f7", 15, 2).entries_since(&seen), Some(4));
        assert_eq!(cursor("aa", 15, 2).entries_since(&seen), None);
        assert_eq!(Cursor::new("nonsense".into()).entries_since(&seen), None);
    }

    #[test]
    fn numbers_always_grow_and_are_the_same_for_every_reader() {
        let mut one = Numbering::default();
        assert_eq!([5, 6, 9].map(|n| one.of(&cursor("a", n, n))), [5, 6, 9]);
        let mut other = one;
        assert_eq!(one.of(&cursor("a", 12, 0)), 12);
        // The other reader stands further on.
        assert_eq!([other.of(&cursor("a", 14, 0)), one.of(&cursor("a", 14, 0))], [14, 14]);
        // The journal was deleted and counts anew.
        assert_eq!([1, 2, 5].map(|n| one.of(&cursor("b", n, n))), [15, 16, 19]);
        assert_eq!(one.beside(), 20);
        assert_eq!(one.of(&cursor("b", 6, 0)), 21);
        assert_eq!(one.of(&Cursor::new("nonsense".into())), 22);
    }
}
