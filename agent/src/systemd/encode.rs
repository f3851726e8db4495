//! Typed properties to D-Bus variants: the only place that knows systemd's wire types.
//!
//! Types measured on systemd 252 and 257; see `org.freedesktop.systemd1(5)`.

use zbus::wire::Variant;

use super::SystemdError;
use crate::plan::{Property, UnitSpec, Value};

/// `a(sv)`.
pub(crate) type Properties = Vec<(&'static str, Variant<'static>)>;

/// The properties of a unit as StartTransientUnit wants them.
///
/// # Errors
/// [`SystemdError::Refused`] if any text holds a control byte: systemd writes some properties raw into
/// a unit file under `/run`, where a line break begins another directive that runs as root after the
/// next daemon-reload. The config refuses such text too; this is the second lock on that door.
pub(crate) fn properties(unit: &UnitSpec) -> Result<Properties, SystemdError> {
    let mut encoded = Vec::with_capacity(unit.properties.len());
    for property in &unit.properties {
        check(property)?;
        encoded.push((property.name, variant(&property.value)));
    }
    Ok(encoded)
}

fn variant(value: &Value) -> Variant<'static> {
    match value {
        Value::Str(text) => Variant::new(text.clone()),
        Value::Bool(flag) => Variant::new(*flag),
        Value::I32(number) => Variant::new(*number),
        Value::U32(number) => Variant::new(*number),
        Value::U64(number) => Variant::new(*number),
        Value::Strs(texts) => Variant::new(texts.clone()),
        Value::Bytes(fields) => Variant::new(fields.clone()),
        Value::Exec(commands) => Variant::new(commands.clone()),
        Value::ExecPlain(commands) => Variant::new(commands.clone()),
        Value::Pairs(pairs) => Variant::new(pairs.clone()),
        Value::Binds(binds) => Variant::new(binds.clone()),
        Value::Rates(rates) => Variant::new(rates.clone()),
        Value::Addresses(list) => Variant::new(list.clone()),
        Value::Filter(allow, names) => Variant::new((*allow, names.clone())),
    }
}

fn check(property: &Property) -> Result<(), SystemdError> {
    let clean = match &property.value {
        Value::Str(text) => is_clean(text),
        Value::Addresses(_) | Value::Bool(_) | Value::I32(_) | Value::U32(_) | Value::U64(_) => {
            true
        }
        Value::Strs(texts) | Value::Filter(_, texts) => texts.iter().all(|t| is_clean(t)),
        Value::Bytes(fields) => fields.iter().all(|f| !f.iter().any(|b| is_control(*b))),
        Value::Exec(commands) => commands.iter().all(|(path, argv, flags)| {
            is_clean(path) && argv.iter().chain(flags).all(|t| is_clean(t))
        }),
        Value::ExecPlain(commands) => commands
            .iter()
            .all(|(path, argv, _)| is_clean(path) && argv.iter().all(|t| is_clean(t))),
        Value::Pairs(pairs) => pairs.iter().all(|(a, b)| is_clean(a) && is_clean(b)),
        Value::Rates(rates) => rates.iter().all(|(path, _)| is_clean(path)),
        Value::Binds(binds) => binds.iter().all(|(a, b, ..)| is_clean(a) && is_clean(b)),
    };
    if clean {
        return Ok(());
    }
    Err(SystemdError::Refused(format!(
        "a control character in the unit property {}",
        property.name
    )))
}

fn is_clean(text: &str) -> bool {
    !text.bytes().any(is_control)
}

fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(value: Value) -> String {
        variant(&value).value_signature().to_string()
    }

    #[test]
    fn every_value_has_the_wire_type_that_systemd_wants() {
        let exec = vec![("/bin/true".into(), vec!["true".into()], vec!["no-env-expand".into()])];
        assert_eq!(signature(Value::Exec(exec)), "a(sasas)");
        assert_eq!(signature(Value::Exec(Vec::new())), "a(sasas)");
        assert_eq!(signature(Value::ExecPlain(Vec::new())), "a(sasb)");
        assert_eq!(signature(Value::Pairs(vec![("Stream".into(), "/run/x".into())])), "a(ss)");
        assert_eq!(signature(Value::Bytes(vec![b"A=b".to_vec()])), "aay");
        assert_eq!(signature(Value::Filter(true, vec!["AF_UNIX".into()])), "(bas)");
        assert_eq!(signature(Value::Binds(vec![("/a".into(), "/b".into(), true, 0)])), "a(ssbt)");
        assert_eq!(signature(Value::Rates(Vec::new())), "a(st)");
        assert_eq!(signature(Value::Strs(vec!["A=b".into()])), "as");
        assert_eq!(signature(Value::U64(1)), "t");
        assert_eq!(signature(Value::U32(1)), "u");
        assert_eq!(signature(Value::I32(1)), "i");
        assert_eq!(signature(Value::Bool(true)), "b");
        assert_eq!(signature(Value::Str("x".into())), "s");
    }

    #[test]
    fn no_control_byte_reaches_systemd_in_any_property() {
        let bad = || "x\n[Service]\nExecStopPost=+/bin/id".to_owned();
        for value in [
            Value::Str(bad()),
            Value::Strs(vec![bad()]),
            Value::Bytes(vec![bad().into_bytes()]),
            Value::Exec(vec![("/bin/true".into(), vec![bad()], Vec::new())]),
            Value::Exec(vec![(bad(), Vec::new(), Vec::new())]),
            Value::ExecPlain(vec![("/bin/true".into(), vec![bad()], false)]),
            Value::Pairs(vec![("Stream".into(), bad())]),
            Value::Binds(vec![(bad(), "/x".into(), false, 0)]),
            Value::Rates(vec![(bad(), 1)]),
            Value::Filter(true, vec!["\u{7f}".into()]),
        ] {
            let unit = UnitSpec {
                name: "ten-a@b.service".into(),
                properties: vec![Property { name: "Description", value }],
            };
            assert!(matches!(properties(&unit), Err(SystemdError::Refused(_))), "{unit:?}");
        }
    }
}
