//! The few fields of an entry that matter, and whose line it is. Pure.

use super::Scope;
use crate::shape;

/// `SD_MESSAGE_JOURNAL_DROPPED` (sd-messages.h): "Suppressed N messages from UNIT".
const DROPPED: &[u8] = b"a596d6fe7bfa4994828e72309e95d61e";
/// The longest value of another field that is looked at: units have at most 255 bytes.
const VALUE_MAX: usize = 255;

/// What is kept of the entry at hand. It is used again for the next, so reading allocates nothing.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// `MESSAGE=`, the first of them, not much longer than what is shown of it.
    pub(super) message: Vec<u8>,
    has_message: bool,
    /// `PRIORITY=`
    pub(super) priority: Option<u8>,
    /// `_SYSTEMD_UNIT=`
    unit: String,
    /// `_SYSTEMD_USER_UNIT=`
    user_unit: String,
    /// `UNIT=` and `USER_UNIT=`: what systemd speaks of. Anybody can set them.
    about: String,
    user_about: String,
    /// `OBJECT_SYSTEMD_UNIT=`, `OBJECT_SYSTEMD_USER_UNIT=`: of whom journald speaks.
    object: String,
    user_object: String,
    /// `N_DROPPED=`
    count: String,
    is_pid_1: bool,
    is_driver: bool,
    is_dropped: bool,
    /// Of `_STREAM_ID=`, or `_PID=` where there is none.
    stream: u64,
    pid: u64,
}

/// Whose line an entry is, by the unit's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner<'a> {
    /// A process of the unit wrote it.
    Instance(&'a str),
    /// systemd wrote it about the unit.
    Systemd(&'a str),
    /// journald dropped so many lines of the unit here.
    Dropped(&'a str, &'a str),
}

impl<'a> Owner<'a> {
    pub(super) fn unit(&self) -> &'a str {
        match self {
            Self::Instance(unit) | Self::Systemd(unit) | Self::Dropped(unit, _) => unit,
        }
    }

    /// A socket unit says nothing by itself; of it systemd speaks.
    pub(super) fn speaks_of_socket(&self) -> bool {
        matches!(self, Self::Systemd(unit) if unit.ends_with(".socket"))
    }
}

impl Fields {
    pub(super) fn clear(&mut self) {
        self.message.clear();
        for text in [
            &mut self.unit,
            &mut self.user_unit,
            &mut self.about,
            &mut self.user_about,
            &mut self.object,
            &mut self.user_object,
            &mut self.count,
        ] {
            text.clear();
        }
        self.has_message = false;
        self.priority = None;
        (self.is_pid_1, self.is_driver, self.is_dropped) = (false, false, false);
        (self.stream, self.pid) = (0, 0);
    }

    /// Takes a field as it stands in the journal, `NAME=value`.
    pub(super) fn take(&mut self, field: &[u8]) {
        // Names have at most 64 bytes; a longer first part is no field of ours.
        let head = &field[..field.len().min(65)];
        let Some(equals) = memchr::memchr(b'=', head) else { return };
        let (name, value) = (&field[..equals], &field[equals + 1..]);
        let text = match name {
            b"MESSAGE" if !self.has_message => {
                self.has_message = true;
                return self.message.extend_from_slice(&value[..value.len().min(MESSAGE_MAX)]);
            }
            b"PRIORITY" => {
                if let [digit @ b'0'..=b'7'] = value {
                    self.priority = Some(digit - b'0');
                }
                return;
            }
            b"_PID" => {
                self.is_pid_1 = value == b"1";
                self.pid = hash(value);
                return;
            }
            b"_STREAM_ID" => {
                self.stream = hash(value);
                return;
            }
            b"_TRANSPORT" => {
                self.is_driver = value == b"driver";
                return;
            }
            b"MESSAGE_ID" => {
                self.is_dropped = value == DROPPED;
                return;
            }
            b"_SYSTEMD_UNIT" => &mut self.unit,
            b"_SYSTEMD_USER_UNIT" => &mut self.user_unit,
            b"UNIT" => &mut self.about,
            b"USER_UNIT" => &mut self.user_about,
            b"OBJECT_SYSTEMD_UNIT" => &mut self.object,
            b"OBJECT_SYSTEMD_USER_UNIT" => &mut self.user_object,
            b"N_DROPPED" => &mut self.count,
            _ => return,
        };
        text.clear();
        if let Ok(value) = std::str::from_utf8(&value[..value.len().min(VALUE_MAX)]) {
            text.push_str(value);
        }
    }

    /// Whose line it is, after what journald itself vouches for.
    pub(super) fn owner(&self, scope: Scope) -> Option<Owner<'_>> {
        let (unit, about, object) = match scope {
            Scope::System => (&self.unit, &self.about, &self.object),
            Scope::User(_) => (&self.user_unit, &self.user_about, &self.user_object),
        };
        let of_our_manager = match scope {
            Scope::System => true,
            Scope::User(uid) => {
                let manager =
                    self.unit.strip_prefix("user@").and_then(|u| u.strip_suffix(".service"));
                manager.is_some_and(|text| text.parse() == Ok(uid))
            }
        };
        if self.is_driver {
            let dropped = self.is_dropped && is_ours(object);
            return dropped.then_some(Owner::Dropped(object, &self.count));
        }
        if !of_our_manager {
            return None;
        }
        let systemd = match scope {
            Scope::System => self.is_pid_1,
            Scope::User(_) => unit == "init.scope",
        };
        if systemd {
            // Of sockets only what went wrong: that each is listened on is no news.
            let said = about.ends_with(".service") || self.priority.is_some_and(|p| p <= 4);
            return (said && is_ours(about)).then_some(Owner::Systemd(about));
        }
        is_ours(unit).then_some(Owner::Instance(unit))
    }

    /// Tells apart what comes by different streams, or from different processes.
    pub(super) fn stream(&self) -> u64 {
        if self.stream == 0 { self.pid } else { self.stream }
    }
}

/// What is taken of a message: one byte more than is kept, so that a cut is seen, and the newline.
const MESSAGE_MAX: usize = shape::TEXT_MAX + 2;

fn is_ours(unit: &str) -> bool {
    unit.starts_with("ten-")
}

fn hash(value: &[u8]) -> u64 {
    use std::hash::{DefaultHasher, Hasher as _};
    let mut hasher = DefaultHasher::new();
    hasher.write(value);
    hasher.finish().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(list: &[&str]) -> Fields {
        let mut fields = Fields::default();
        list.iter().for_each(|field| fields.take(field.as_bytes()));
        fields
    }

    #[test]
    fn a_line_belongs_to_the_unit_that_journald_vouches_for_whatever_it_says() {
        let forged = fields(&[
            "MESSAGE=mine",
            "TENEMENT=1",
            "TENEMENT_INSTANCE=victim",
            "UNIT=ten-api@victim.service",
            "OBJECT_SYSTEMD_UNIT=ten-api@victim.service",
            "MESSAGE_ID=a596d6fe7bfa4994828e72309e95d61e",
            "_TRANSPORT=journal",
            "_SYSTEMD_UNIT=ten-api@thief.service",
            "_PID=77",
        ]);
        assert_eq!(forged.owner(Scope::System), Some(Owner::Instance("ten-api@thief.service")));
        // A unit of some user's systemd is none of the system's, though it may be called so.
        let list = ["_SYSTEMD_UNIT=user@1000.service", "_SYSTEMD_USER_UNIT=ten-api@a.service"];
        assert_eq!(fields(&list).owner(Scope::System), None);
        assert_eq!(
            fields(&list).owner(Scope::User(1000)),
            Some(Owner::Instance("ten-api@a.service"))
        );
        assert_eq!(fields(&list).owner(Scope::User(1001)), None);
    }

    #[test]
    fn systemd_and_journald_speak_of_units() {
        let systemd =
            ["MESSAGE=Started", "_PID=1", "_SYSTEMD_UNIT=init.scope", "UNIT=ten-api@a.service"];
        assert_eq!(
            fields(&systemd).owner(Scope::System),
            Some(Owner::Systemd("ten-api@a.service"))
        );
        let journald = [
            "_TRANSPORT=driver",
            "MESSAGE_ID=a596d6fe7bfa4994828e72309e95d61e",
            "OBJECT_SYSTEMD_UNIT=ten-api@a.service",
            "N_DROPPED=42",
        ];
        assert_eq!(
            fields(&journald).owner(Scope::System),
            Some(Owner::Dropped("ten-api@a.service", "42"))
        );
        let socket = ["_PID=1", "PRIORITY=6", "UNIT=ten-api@a.socket"];
        assert_eq!(fields(&socket).owner(Scope::System), None);
        assert_eq!(fields(&["_PID=1", "UNIT=ssh.service"]).owner(Scope::System), None);
    }

    #[test]
    fn fields_of_any_size_and_kind_are_bounded() {
        let mut fields = fields(&["MESSAGE=first", "MESSAGE=second", "PRIORITY=9", "PRIORITY=x"]);
        assert_eq!((&*fields.message, fields.priority), (&b"first"[..], None));
        fields.clear();
        fields.take(&[&b"MESSAGE="[..], &vec![0xff; 10 << 20]].concat());
        fields.take(&vec![b'A'; 1 << 20]);
        fields.take(b"");
        assert_eq!(fields.message.len(), MESSAGE_MAX);
    }
}
