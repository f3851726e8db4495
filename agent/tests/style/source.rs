//! The repository's source files, as text, for the tests about style.

use std::fs;
use std::path::{Path, PathBuf};

/// Directories that hold no source of ours.
const SKIPPED: [&str; 7] =
    ["target", ".git", ".debhelper", "tenement", "node_modules", "dist", "generated"];

/// The top of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A file's path below the top, and its text.
pub struct Source {
    /// With `/` between its parts.
    pub path: String,
    /// All of it.
    pub text: String,
}

impl Source {
    /// The text before its unit tests, which may do what the rest may not.
    pub fn without_tests(&self) -> &str {
        self.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default()
    }

    /// The unit tests.
    pub fn tests(&self) -> &str {
        &self.text[self.without_tests().len()..]
    }
}

/// Every file below `top` whose name ends with one of `endings`.
///
/// # Panics
/// If a directory or a file can't be read: then nothing is proven.
pub fn files(top: &str, endings: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    let mut directories = vec![root().join(top)];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("a directory of the repository").flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let kind = entry.file_type().expect("a file has a type");
            if kind.is_dir() && !SKIPPED.contains(&name.as_str()) {
                directories.push(path);
            } else if kind.is_file() && endings.iter().any(|ending| name.ends_with(ending)) {
                let below = path.strip_prefix(root()).expect("below the top");
                let text = fs::read_to_string(&path).expect("source is UTF-8");
                found.push(Source { path: below.to_string_lossy().into_owned(), text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "nothing below {top}");
    found
}
