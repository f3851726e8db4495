//! What of a directory is no part of a release: `.git`, and what `.tenementignore` names.

use std::ffi::OsStr;
use std::io;
use std::path::Path;

/// The file that names it, one pattern a line.
const FILE: &str = ".tenementignore";

/// Patterns. One with a slash is a path from the root of the directory, one without is a name anywhere; `*` stands
/// for anything but a slash.
#[derive(Debug, Default)]
pub struct Ignore(Vec<String>);

impl Ignore {
    /// Those of a directory.
    pub fn of(directory: &Path) -> io::Result<Self> {
        let text = match std::fs::read_to_string(directory.join(FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            text => text?,
        };
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let lines = text.lines().map(str::trim);
        Self(
            lines
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
                .map(str::to_owned)
                .collect(),
        )
    }

    /// Whether `path`, from the root, is left out.
    pub fn leaves_out(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default();
        if [OsStr::new(".git"), OsStr::new(FILE)].contains(&name) {
            return true;
        }
        let (name, path) = (name.to_string_lossy(), path.to_string_lossy());
        self.0.iter().any(|pattern| {
            let bare = pattern.trim_end_matches('/');
            match bare.contains('/') {
                true => matches(bare.trim_start_matches('/'), &path),
                false => matches(bare, &name),
            }
        })
    }
}

/// Whether `text` is what `pattern` stands for.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return pattern == text };
    let Some(rest) = text.strip_prefix(before) else { return false };
    let ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
    let reach = rest.find('/').unwrap_or(rest.len());
    ends.filter(|end| *end <= reach).any(|end| matches(after, &rest[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_count_anywhere_and_paths_from_the_root() {
        let ignore = Ignore::parse("node_modules/\n/dist/*.map\n# no\n\nbuild/out\n*.tmp\n");
        for path in [".git", "a/.git", "x/node_modules", "dist/a.map", "build/out", "a/b.tmp"] {
            assert!(ignore.leaves_out(Path::new(path)), "{path}");
        }
        for path in [".gitignore", "dist/x/a.map", "x/build/out", "a.tmpx", "src", "modules"] {
            assert!(!ignore.leaves_out(Path::new(path)), "{path}");
        }
    }
}
