//! The config parser: it reads or refuses, it never panics, and a refusal can be shown.
#![no_main]

use tenement_agent::config::{self, SourceFile};

libfuzzer_sys::fuzz_target!(|text: &str| {
    // A second file as well: where a `\0` stands, `conf.d/` begins.
    let mut files = text.splitn(2, '\0').zip(["tenement.toml", "conf.d/b.toml"]);
    let files: Vec<_> = files.by_ref().map(|(text, name)| SourceFile::new(name, text)).collect();
    if let Err(problems) = config::parse(&files) {
        assert!(!problems.is_empty(), "refused without a reason");
        assert!(!config::render(&problems).is_empty());
    }
});
