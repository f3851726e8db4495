use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use proptest::prelude::*;
use tar::{Builder, Header};

use super::*;

const ROOMY: Bounds = Bounds { bytes: 1 << 20, files: 100 };

/// One entry: kind, path as its header has it, mode, link, content.
type Item<'a> = (EntryType, &'a str, u32, &'a str, &'a [u8]);

fn tarball(items: &[Item]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (kind, path, mode, link, content) in items {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        // Not through the crate's own check, which refuses what must be refused here.
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_gnu_mut().unwrap().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_mode(*mode);
        header.set_size(content.len() as u64);
        header.set_mtime(1);
        header.set_cksum();
        builder.append(&header, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn file<'a>(path: &'a str, content: &'a [u8]) -> Item<'a> {
    (EntryType::Regular, path, 0o644, "", content)
}

struct Tree {
    _outer: tempfile::TempDir,
    outside: PathBuf,
    inside: PathBuf,
}

impl Tree {
    fn new() -> Self {
        let outer = tempfile::tempdir().unwrap();
        let (inside, outside) = (outer.path().join("in"), outer.path().to_owned());
        std::fs::create_dir(&inside).unwrap();
        Self { _outer: outer, outside, inside }
    }

    fn take(&self, tarball: &[u8], bounds: Bounds) -> io::Result<Unpacked> {
        let root = OwnedFd::from(File::open(&self.inside).unwrap());
        let mut input = tarball;
        unpack(&mut input, &root, bounds)
    }

    /// Whether anything but the tree is in its parent.
    fn leaked(&self) -> bool {
        std::fs::read_dir(&self.outside).unwrap().count() != 1
    }
}

fn refusal(items: &[Item]) -> String {
    let tree = Tree::new();
    let error = tree.take(&tarball(items), ROOMY).unwrap_err().to_string();
    assert!(!tree.leaked(), "{error}");
    error
}

#[test]
fn a_tree_comes_out_as_it_was_with_links_within_it() {
    let items = [
        (
            EntryType::XGlobalHeader,
            "pax_global_header",
            0o644,
            "",
            &b"52 comment=0123456789012345678901234567890123456789\n"[..],
        ),
        (EntryType::Directory, "./", 0o2755, "", b""),
        (EntryType::Directory, "bin/", 0o700, "", b""),
        (EntryType::Regular, "./bin/app", 0o750, "", b"#!/bin/sh\n"),
        file("lib/deep/x", b"x"),
        (EntryType::Symlink, "bin/x", 0o777, "../lib/deep/x", b""),
        (EntryType::Link, "bin/same", 0o644, "lib/deep/x", b""),
        file("lib/deep/x2", b"old"),
        file("lib/deep/x2", b"newer"),
    ];
    let tree = Tree::new();
    let done = tree.take(&tarball(&items), ROOMY).unwrap();
    assert_eq!((done.files, done.bytes), (8, 10 + 1 + 3 + 5));
    let read = |path: &str| std::fs::read_to_string(tree.inside.join(path)).unwrap();
    assert_eq!((read("bin/app").as_str(), read("bin/x").as_str()), ("#!/bin/sh\n", "x"));
    assert_eq!((read("bin/same").as_str(), read("lib/deep/x2").as_str()), ("x", "newer"));
    let mode = |path: &str| {
        std::fs::metadata(tree.inside.join(path)).unwrap().permissions().mode() & 0o7777
    };
    assert_eq!((mode("bin/app"), mode("lib/deep/x")), (0o755, 0o644));
}

#[test]
fn each_form_is_told_by_its_first_bytes_and_unpacked() {
    let plain = tarball(&[file("a", b"hello")]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let forms = [
        (plain.clone(), Form::Plain),
        (gzip.finish().unwrap(), Form::Gzip),
        (zstd::encode_all(&plain[..], 1).unwrap(), Form::Zstd),
    ];
    for (bytes, form) in forms {
        assert_eq!(sniff(&bytes), Some(form));
        let tree = Tree::new();
        assert_eq!(tree.take(&bytes, ROOMY).unwrap().bytes, 5, "{form:?}");
    }
    for other in [&b""[..], b"PK\x03\x04", b"#!/bin/sh", &[0; 600]] {
        assert_eq!(sniff(other), None);
        assert!(Tree::new().take(other, ROOMY).unwrap_err().to_string().contains("no tar"));
    }
}

#[test]
fn what_leads_out_or_is_no_plain_file_is_refused_with_its_name() {
    let cases: [(&[Item], &str); 13] = [
        (&[file("/abs", b"")], "absolute"),
        (&[file("../up", b"")], "`..`"),
        (&[file("a/../../up", b"")], "`..`"),
        (&[(EntryType::Symlink, "l", 0o777, "/etc", b"")], "absolute path"),
        (&[(EntryType::Symlink, "l", 0o777, "../up", b"")], "leads out"),
        (&[(EntryType::Symlink, "l", 0o777, "a", b""), file("l/x", b"")], "behind a symlink"),
        (&[file("f", b""), file("f/x", b"")], "behind a symlink or a file"),
        (&[(EntryType::Link, "h", 0o644, "../../etc/passwd", b"")], "`..`"),
        (&[(EntryType::Link, "h", 0o644, "none", b"")], "did not come before"),
        (&[(EntryType::Char, "null", 0o666, "", b"")], "device"),
        (&[(EntryType::Fifo, "pipe", 0o666, "", b"")], "pipe"),
        (&[(EntryType::Regular, "su", 0o4755, "", b"")], "set-user-id"),
        (&[(EntryType::Directory, "d/", 0o755, "", b""), file("d", b"")], "as a directory"),
    ];
    for (items, wanted) in cases {
        let error = refusal(items);
        assert!(error.contains(wanted), "{error} does not say {wanted}");
    }
}

#[test]
fn a_link_to_a_symlink_is_no_way_around_the_check_of_symlinks() {
    let error = refusal(&[
        (EntryType::Symlink, "a/b/up", 0o777, "../..", b""),
        (EntryType::Link, "moved", 0o777, "a/b/up", b""),
    ]);
    assert!(error.contains("no file"), "{error}");
}

#[test]
fn bytes_and_entries_are_bounded_whatever_the_compression() {
    let zeros = vec![0; 4 << 20];
    let bomb = zstd::encode_all(&tarball(&[file("z", &zeros)])[..], 1).unwrap();
    assert!(bomb.len() < 10_000);
    let error = Tree::new().take(&bomb, ROOMY).unwrap_err().to_string();
    assert!(error.contains("upload_max"), "{error}");
    let names: Vec<String> = (0..101).map(|n| n.to_string()).collect();
    let many: Vec<Item> = names.iter().map(|name| file(name, b"")).collect();
    let error = Tree::new().take(&tarball(&many), ROOMY).unwrap_err().to_string();
    assert!(error.contains("more than 100 entries"), "{error}");
    let deep = "d/".repeat(49) + "x";
    assert!(Tree::new().take(&tarball(&[file(&deep, b"")]), ROOMY).is_ok());
}

#[test]
fn a_file_that_breaks_off_is_an_error() {
    let whole = tarball(&[file("a", &[7; 2000])]);
    assert!(Tree::new().take(&whole[..1500], ROOMY).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_an_archive_says_nothing_is_made_outside_of_the_directory(
        items in prop::collection::vec(
            (0..6_usize, "(\\.\\./|/|\\./|[ab]/){0,4}[abc]?", "(\\.\\./|/|[ab]/){0,4}[abc.]{0,2}"), 1..12),
    ) {
        let kinds = [
            EntryType::Regular, EntryType::Directory, EntryType::Symlink, EntryType::Link,
            EntryType::Symlink, EntryType::Regular,
        ];
        let items: Vec<Item> = items
            .iter()
            .map(|(kind, path, link)| (kinds[*kind], path.as_str(), 0o644, link.as_str(), &b""[..]))
            .collect();
        let tree = Tree::new();
        let _ = tree.take(&tarball(&items), ROOMY);
        prop_assert!(!tree.leaked());
        // And no symlink in it leads out, through others or by itself.
        let base = tree.inside.canonicalize().unwrap();
        let mut left = BTreeMap::from([(base.clone(), ())]);
        while let Some((dir, ())) = left.pop_first() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                let kind = path.symlink_metadata().unwrap().file_type();
                if let Ok(real) = path.canonicalize() {
                    prop_assert!(real.starts_with(&base), "{path:?} leads to {real:?}");
                }
                if kind.is_dir() {
                    left.insert(path, ());
                }
            }
        }
    }

    #[test]
    fn whatever_bytes_come_it_ends_with_a_tree_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        let tree = Tree::new();
        let mut input = tarball(&[file("a", b"x")]);
        input.truncate(512);
        input.extend(bytes);
        let _ = tree.take(&input, ROOMY);
        prop_assert!(!tree.leaked());
    }
}
