//! Unit names to D-Bus object paths and back.
//!
//! Source: `bus_label_escape()` in systemd's `src/basic/bus-label.c`: every byte but `[A-Za-z0-9]` is
//! written as `_xx` (a digit at the start too), and the empty name is `_`.

const PREFIX: &str = "/org/freedesktop/systemd1/unit/";

/// The object path of a unit.
pub(crate) fn unit_path(unit: &str) -> String {
    let mut path = String::with_capacity(PREFIX.len() + unit.len() * 2);
    path.push_str(PREFIX);
    for (i, byte) in unit.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (i > 0 && byte.is_ascii_digit()) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("_{byte:02x}"));
        }
    }
    path
}

/// The unit that an object path stands for, or `None` if it is no unit's path.
pub(crate) fn unit_of_path(path: &str) -> Option<String> {
    let label = path.strip_prefix(PREFIX)?;
    let mut bytes = Vec::with_capacity(label.len());
    let mut rest = label.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'_' {
            let hex = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(hex, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(byte);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok().filter(|unit| !unit.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_names_round_trip_through_their_paths() {
        for unit in ["ten-api-v2@prod-1.service", "0.socket", "a_b@c.socket", "é.service"] {
            assert_eq!(unit_of_path(&unit_path(unit)).as_deref(), Some(unit));
        }
        assert_eq!(
            unit_path("ten-api@1.service"),
            "/org/freedesktop/systemd1/unit/ten_2dapi_401_2eservice"
        );
    }

    #[test]
    fn malformed_paths_are_no_unit() {
        for path in [
            "/org/freedesktop/systemd1",
            "/org/freedesktop/systemd1/unit/",
            "/x",
            "/org/freedesktop/systemd1/unit/a_z",
            "/org/freedesktop/systemd1/unit/a_4",
        ] {
            assert_eq!(unit_of_path(path), None, "{path}");
        }
    }
}
