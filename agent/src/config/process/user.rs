//! `user`: whom instances run as.

use super::super::node::Node;
use super::super::problems::Problems;
use super::super::types::RunAs;

/// The longest user name that systemd takes everywhere (UT_NAMESIZE - 1).
const NAME_MAX: usize = 31;

/// Reads `"dynamic"` or a name. root is refused: a tenant that is root owns the host.
pub(super) fn read(node: &Node, problems: &mut Problems) -> Option<RunAs> {
    let text = node.string("\"www-data\"", problems)?;
    let name = text.value.as_str();
    let (message, fix) = match name {
        "dynamic" => return Some(RunAs::Dynamic),
        "root" | "0" => (
            "instances never run as root".to_owned(),
            "leave `user` out (each instance gets a user id of its own), or name another user",
        ),
        _ if is_user_name(name) => return Some(RunAs::Named(name.to_owned())),
        _ if !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit()) => {
            ("`user` is a number".to_owned(), "write the name of the user")
        }
        _ => (
            format!("`{name}` is not the name of a user"),
            "write a name of a-z, 0-9, `_` and `-`, at most 31 characters, or \"dynamic\"",
        ),
    };
    problems.add(&node.at, message, fix);
    None
}

/// systemd's strict grammar (https://systemd.io/USER_NAMES/), lower case only.
fn is_user_name(name: &str) -> bool {
    let first = |c: char| c.is_ascii_lowercase() || c == '_';
    let other = |c: char| first(c) || c.is_ascii_digit() || c == '-';
    name.len() <= NAME_MAX && name.starts_with(first) && name.chars().all(other)
}
