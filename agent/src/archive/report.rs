//! What the program says on its standard error: one line of JSON.

use serde::{Deserialize, Serialize};

use super::Manifest;

/// The one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// An archive was written.
    Packed(Packed),
    /// An archive was read, and is whole.
    Unpacked(Unpacked),
    /// It did not go well; the text is for people.
    Failed(String),
}

/// What went into an archive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packed {
    /// Files, directories and links.
    pub entries: u64,
    /// Bytes in files.
    pub bytes: u64,
    /// SQLite databases that were copied online.
    pub databases: u64,
    /// Sockets, pipes, devices and mounts, which are left out.
    pub skipped: u64,
    /// Files that changed their length while they were read.
    pub changed: u64,
    /// Bytes of the archive itself.
    pub written: u64,
}

/// What came out of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpacked {
    /// What it is of.
    pub manifest: Manifest,
    /// Files, directories and links.
    pub entries: u64,
    /// Bytes in files.
    pub bytes: u64,
}

impl Message {
    /// Reads what the program said. It ran as the instance's user, who may have had a hand in it: anything but one
    /// line of ours is cut to a text.
    #[must_use]
    pub fn read(said: &[u8]) -> Self {
        let text = String::from_utf8_lossy(said);
        let last = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|_| {
            let words: String = last.chars().filter(|c| !c.is_control()).take(300).collect();
            Self::Failed(if words.is_empty() { "it said nothing".into() } else { words })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_message_is_a_short_text() {
        let packed = Message::Packed(Packed { entries: 3, ..Packed::default() });
        let line = serde_json::to_string(&packed).unwrap();
        assert_eq!(Message::read(format!("a warning\n{line}\n").as_bytes()), packed);
        let Message::Failed(text) = Message::read(&[b'x'; 10_000]) else { panic!() };
        assert_eq!(text.len(), 300);
        assert_eq!(Message::read(b""), Message::Failed("it said nothing".into()));
        let Message::Failed(text) = Message::read(b"\x1b[2Jno\xff") else { panic!() };
        assert!(!text.contains('\x1b') && text.contains("no"), "{text:?}");
    }
}
