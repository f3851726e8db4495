//! Fields of a line: those of a JSON object in it, with dots into inner ones, and `key=value` text.

use serde_json::Value;

use crate::token::fold;

/// Longest JSON text that is read for its fields, in bytes.
const JSON_MAX: usize = 256 * 1024;

/// Whether `text` has a field `name` with the value `value`, in any case of letters.
pub(super) fn has(text: &str, name: &str, value: &str) -> bool {
    let trimmed = text.trim();
    if trimmed.starts_with('{') && trimmed.len() <= JSON_MAX {
        // serde_json refuses what is nested deeper than 128, so a hostile line can't exhaust the stack.
        if let Ok(json) = serde_json::from_str::<Value>(trimmed) {
            return in_json(&json, name, value);
        }
    }
    in_text(text, name, value)
}

/// `a.b` is the key `a.b`, or the key `b` in the object at `a`. Of a list any entry may be it.
fn in_json(json: &Value, name: &str, value: &str) -> bool {
    match json {
        Value::Object(fields) => {
            if fields.get(name).is_some_and(|found| equals(found, value)) {
                return true;
            }
            name.match_indices('.').any(|(dot, _)| {
                let (outer, inner) = (&name[..dot], &name[dot + 1..]);
                fields.get(outer).is_some_and(|found| in_json(found, inner, value))
            })
        }
        Value::Array(items) => items.iter().any(|item| in_json(item, name, value)),
        _ => false,
    }
}

fn equals(found: &Value, value: &str) -> bool {
    match found {
        Value::String(text) => fold(text) == fold(value),
        Value::Null => value.eq_ignore_ascii_case("null"),
        Value::Bool(is) => value.eq_ignore_ascii_case(if *is { "true" } else { "false" }),
        Value::Number(number) => number.to_string() == value,
        Value::Array(items) => items.iter().any(|item| equals(item, value)),
        Value::Object(_) => false,
    }
}

/// `name=value` or `name="value"`, where a word could begin and end.
fn in_text(text: &str, name: &str, value: &str) -> bool {
    let of_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '@');
    text.match_indices(name).any(|(at, _)| {
        if text[..at].ends_with(of_name) {
            return false;
        }
        let Some(rest) = text[at + name.len()..].strip_prefix('=') else { return false };
        let found = match rest.strip_prefix('"') {
            Some(inner) => inner.split('"').next(),
            None => rest
                .split(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | ')' | ']' | '}'))
                .next(),
        };
        found.is_some_and(|found| fold(found) == fold(value))
    })
}
