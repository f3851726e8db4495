//! Whether a symlink stays within the tree. Pure.

/// Checks the target of a symlink that lies `depth` directories below the root of the tree.
///
/// Only `..` at its beginning may climb: the link's own directory is a real one, so those can be counted. After a
/// name, which may be a symlink itself, `..` leads nobody knows where.
pub(super) fn check(target: &[u8], depth: usize) -> Result<(), &'static str> {
    if target.first() == Some(&b'/') {
        return Err("it is a symlink to an absolute path; make it relative");
    }
    let (mut climbed, mut named) = (0, false);
    for part in target.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." if named => return Err("it is a symlink with `..` after a name"),
            b".." => climbed += 1,
            _ => named = true,
        }
    }
    if climbed > depth { Err("it is a symlink that leads out of the release") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symlink_stays_in_the_tree_or_is_refused() {
        for (target, depth) in [
            ("a", 0),
            ("a/b", 0),
            ("../a", 1),
            ("../../a/b", 2),
            (".", 0),
            ("./a//b", 0),
            ("..", 1),
        ] {
            assert_eq!(check(target.as_bytes(), depth), Ok(()), "{target} at {depth}");
        }
        for (target, depth) in [
            ("/etc/passwd", 5),
            ("..", 0),
            ("../../a", 1),
            ("a/../../b", 3),
            ("a/..", 0),
            ("./..", 0),
        ] {
            assert!(check(target.as_bytes(), depth).is_err(), "{target} at {depth}");
        }
    }
}
