use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use super::block::{Header, Kind};
use super::stream::HashWriter;
use super::*;

const PLENTY: Limits = Limits { bytes: 1 << 40, why: "a test" };

fn manifest() -> Manifest {
    Manifest {
        format: FORMAT,
        instance: "api:alice".into(),
        release: Some("v1".into()),
        created_ms: 1,
        method: "sleep".into(),
        agent: "0".into(),
    }
}

fn packed(root: &Path, online: bool) -> std::io::Result<(Vec<u8>, Packed)> {
    let scratch = tempfile::tempdir().unwrap();
    let mut out = Vec::new();
    let source = Source { root, online, scratch: scratch.path(), manifest: &manifest() };
    let packed = pack(&source, &mut out)?;
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "copies are left");
    Ok((out, packed))
}

fn unpacked(archive: &[u8], limits: Limits) -> (tempfile::TempDir, std::io::Result<Unpacked>) {
    let dir = tempfile::tempdir().unwrap();
    let root = OwnedFd::from(File::open(dir.path()).unwrap());
    let result = unpack(&root, limits, archive);
    (dir, result)
}

/// Everything in a tree: name, mode, time, and what is in it.
fn tree(root: &Path) -> BTreeMap<Vec<u8>, (u32, i64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        let meta = path.symlink_metadata().unwrap();
        let content = if meta.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
            Vec::new()
        } else if meta.is_symlink() {
            fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec()
        } else {
            fs::read(&path).unwrap()
        };
        let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
        let time = if meta.is_symlink() { 0 } else { meta.mtime() };
        found.insert(name, (meta.mode(), time, content));
    }
    found
}

#[test]
fn a_directory_comes_back_as_it_was_odd_names_deep_trees_links_and_all() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let odd: [&[u8]; 6] = [b"a\nb", b"\xff\xfe", b" ", b"-rf", &[b'n'; 255], "ä/..b".as_bytes()];
    for (at, name) in odd.iter().enumerate() {
        let path = root.join(std::ffi::OsStr::from_bytes(name));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, vec![at as u8; at * 511 + 1]).unwrap();
    }
    let deep = (0..120).fold(root.to_owned(), |path, _| path.join("level"));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("end"), "deep").unwrap();
    fs::write(root.join("big"), (0..3_000_000_u32).map(|n| n as u8).collect::<Vec<_>>()).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    fs::hard_link(root.join("big"), root.join("empty/other-name")).unwrap();
    symlink("/etc/passwd", root.join("absolute")).unwrap();
    symlink("x".repeat(300), root.join("nowhere")).unwrap();
    fs::create_dir(root.join("closed")).unwrap();
    fs::write(root.join("closed/in"), "").unwrap();
    fs::set_permissions(root.join("closed/in"), fs::Permissions::from_mode(0o440)).unwrap();
    fs::set_permissions(root.join("closed"), fs::Permissions::from_mode(0o550)).unwrap();
    File::options().write(true).open(root.join("big")).unwrap();
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    File::open(root.join("empty")).unwrap().set_modified(old).unwrap();
    let (archive, packed) = packed(root, false).unwrap();
    let (copy, result) = unpacked(&archive, PLENTY);
    let result = result.unwrap();
    assert_eq!(result.manifest, manifest());
    assert_eq!((result.entries, result.bytes), (packed.entries, packed.bytes));
    assert_eq!(tree(copy.path()), tree(root));
    let inode = |name: &str| copy.path().join(name).metadata().unwrap().ino();
    assert_eq!(inode("big"), inode("empty/other-name"));
}

#[test]
fn sockets_and_pipes_are_left_out_and_counted_and_holes_stay_holes() {
    let dir = tempfile::tempdir().unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("app.sock")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        dir.path().join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let sparse = File::create(dir.path().join("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    let (archive, packed) = packed(dir.path(), false).unwrap();
    assert_eq!((packed.skipped, packed.bytes), (2, 64 << 20));
    let (copy, result) = unpacked(&archive, Limits { bytes: 1 << 20, why: "a test" });
    result.unwrap();
    let meta = copy.path().join("sparse").metadata().unwrap();
    assert_eq!((meta.len(), meta.blocks()), (64 << 20, 0));
    assert_eq!(fs::read_dir(copy.path()).unwrap().count(), 1);
}

#[test]
fn an_archive_that_was_cut_anywhere_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for at in 0..40_u32 {
        let noise: Vec<u8> = (0..997).map(|n: u32| ((n * n * (at + 7)) >> 3) as u8).collect();
        fs::write(dir.path().join(at.to_string()), noise).unwrap();
    }
    let (archive, _) = packed(dir.path(), false).unwrap();
    let step = if cfg!(debug_assertions) { 37 } else { 1 };
    let cuts = (0..archive.len()).step_by(step).chain(archive.len() - 40..archive.len());
    for cut in cuts {
        let (_dir, result) = unpacked(&archive[..cut], PLENTY);
        assert!(result.is_err(), "{cut} of {} bytes were taken for all", archive.len());
    }
    assert!(unpacked(&archive, PLENTY).1.is_ok());
    let longer = [&archive[..], b"x"].concat();
    assert!(unpacked(&longer, PLENTY).1.unwrap_err().to_string().contains("behind its end"));
}

#[test]
fn an_archive_that_was_altered_anywhere_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("file"),
        (0..20_000_u32).map(|n| ((n * n) >> 5) as u8).collect::<Vec<_>>(),
    )
    .unwrap();
    let (archive, _) = packed(dir.path(), false).unwrap();
    for at in (0..archive.len()).step_by(61) {
        let mut altered = archive.clone();
        altered[at] ^= 0x10;
        assert!(unpacked(&altered, PLENTY).1.is_err(), "byte {at} is another and nobody minds");
    }
    // The same with zstd's own checksums made right: the SHA-256 tells.
    let mut tar = zstd::decode_all(&archive[..]).unwrap();
    let at = tar.windows(4).position(|w| w == b"data").unwrap() + 4 * 512;
    tar[at] ^= 1;
    let altered = zstd::encode_all(&tar[..], 1).unwrap();
    let error = unpacked(&altered, PLENTY).1.unwrap_err().to_string();
    assert!(error.contains("altered"), "{error}");
}

/// An archive of these entries, with an end that is right.
fn forged(entries: &[(Header, &[u8])]) -> Vec<u8> {
    use std::io::Write as _;
    let mut out = HashWriter::new(Vec::new());
    let put = |out: &mut HashWriter<Vec<u8>>, header: &Header, data: &[u8]| {
        out.write_all(&header.encode()).unwrap();
        out.write_all(data).unwrap();
        out.write_all(&vec![0; data.len().next_multiple_of(512) - data.len()]).unwrap();
    };
    let own = |out: &mut HashWriter<Vec<u8>>, name: &[u8], text: Vec<u8>| {
        let mut header = Header::new(Kind::File, name);
        header.size = text.len() as u64;
        put(out, &header, &text);
    };
    own(&mut out, MANIFEST, serde_json::to_vec(&manifest()).unwrap());
    for (header, data) in entries {
        out.write_all(&header.encode()).unwrap();
        out.write_all(data).unwrap();
        out.write_all(&vec![0; data.len().next_multiple_of(512) - data.len()]).unwrap();
    }
    let end = End { entries: entries.len() as u64, sha256: out.digest() };
    own(&mut out, END, serde_json::to_vec(&end).unwrap());
    out.write_all(&[0; 1024]).unwrap();
    zstd::encode_all(&out.into_inner()[..], 1).unwrap()
}

fn one(kind: Kind, name: &str, link: &str, mode: u32) -> (Header, &'static [u8]) {
    let mut header = Header::new(kind, name.as_bytes());
    (header.link, header.mode) = (link.as_bytes().to_vec(), mode);
    (header, &[])
}

#[test]
fn nothing_is_written_outside_of_the_directory_and_no_privilege_comes_in() {
    use Kind::{Directory, File as Plain, Hardlink, Symlink};
    let good = one(Plain, "data/file", "", 0o600);
    unpacked(&forged(std::slice::from_ref(&good)), PLENTY).1.unwrap();
    let deep = format!("data/{}x", "a/".repeat(200));
    type Case = (Vec<(Header, &'static [u8])>, &'static str);
    let cases: Vec<Case> = vec![
        (vec![one(Plain, "/etc/passwd", "", 0o600)], "not below data"),
        (vec![one(Plain, "etc", "", 0o600)], "not below data"),
        (vec![one(Plain, "data/../../etc", "", 0o600)], "climbs"),
        (vec![one(Plain, "data//etc", "", 0o600)], "absolute"),
        (vec![one(Plain, "data/./etc", "", 0o600)], "climbs"),
        (vec![one(Plain, "data/", "", 0o600)], "no name"),
        (vec![one(Plain, &deep, "", 0o600)], "levels deep"),
        (vec![one(Plain, "data/su", "", 0o4755)], "set-user-id"),
        (vec![one(Plain, "data/sg", "", 0o2755)], "set-user-id"),
        (vec![one(Directory, "data/sg/", "", 0o2755)], "set-user-id"),
        (
            vec![one(Symlink, "data/out", "/tmp", 0o777), one(Plain, "data/out/x", "", 0o600)],
            "behind a symlink",
        ),
        (
            vec![one(Symlink, "data/out", "/tmp", 0o777), one(Directory, "data/out/", "", 0o700)],
            "behind a symlink",
        ),
        (
            vec![
                one(Symlink, "data/out", "/etc", 0o777),
                one(Hardlink, "data/p", "data/out/passwd", 0o600),
            ],
            "behind a symlink",
        ),
        (vec![one(Symlink, "data/s", "x", 0o777), one(Hardlink, "data/h", "data/s", 0)], "no file"),
        (vec![one(Hardlink, "data/h", "/etc/passwd", 0)], "not below data"),
        (vec![good.clone(), good.clone()], "there twice"),
        (vec![one(Symlink, "data/file", "x", 0), good.clone()], "there twice"),
    ];
    for (entries, why) in cases {
        let (_dir, result) = unpacked(&forged(&entries), PLENTY);
        let error = result.unwrap_err().to_string();
        assert!(error.contains(why), "{:?}: {error}", entries[0].0.name);
    }
}

#[test]
fn no_more_is_unpacked_than_may_be() {
    let data = (0..300_000_u32).map(|n| n as u8 | 1).collect::<Vec<_>>();
    let mut header = Header::new(Kind::File, b"data/file");
    header.size = data.len() as u64;
    let archive = forged(&[(header, &data)]);
    assert!(unpacked(&archive, Limits { bytes: 400_000, why: "a test" }).1.is_ok());
    let error = unpacked(&archive, Limits { bytes: 200_000, why: "its disk_max" }).1.unwrap_err();
    assert!(error.to_string().contains("its disk_max"), "{error}");
    let many: Vec<_> =
        (0..100).map(|n| one(Kind::Directory, &format!("data/{n}/"), "", 0o700)).collect();
    let error = unpacked(&forged(&many), Limits { bytes: 100_000, why: "x" }).1.unwrap_err();
    assert!(error.to_string().contains("100000 bytes"), "{error}");
}

#[test]
fn what_is_no_archive_of_ours_is_told_so() {
    for (archive, why) in [
        (zstd::encode_all(&[0; 2048][..], 1).unwrap(), "can't be taken"),
        (zstd::encode_all(&b""[..], 1).unwrap(), "too early"),
        (Vec::new(), "too early"),
        (b"PK\x03\x04 a zip file, say".to_vec(), ""),
    ] {
        let error = unpacked(&archive, PLENTY).1.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn a_database_that_is_written_to_is_copied_whole_and_without_its_companions() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("no ending");
    let writer = rusqlite::Connection::open(&path).unwrap();
    writer.pragma_update(None, "journal_mode", "WAL").unwrap();
    writer.execute_batch("CREATE TABLE t (n INTEGER); BEGIN").unwrap();
    for n in 0..5000 {
        writer.execute("INSERT INTO t VALUES (?1)", [n]).unwrap();
    }
    writer.execute_batch("COMMIT; BEGIN; INSERT INTO t VALUES (-1)").unwrap();
    fs::write(dir.path().join("other-wal"), "no companion: there is no database `other`").unwrap();
    let (archive, packed) = packed(dir.path(), true).unwrap();
    assert_eq!((packed.databases, packed.changed), (1, 0));
    let (copy, result) = unpacked(&archive, PLENTY);
    result.unwrap();
    let mut names: Vec<_> =
        fs::read_dir(copy.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["no ending", "other-wal"]);
    let found = rusqlite::Connection::open(copy.path().join("no ending")).unwrap();
    let check: String = found.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
    let count: i64 = found.query_row("SELECT count(*) FROM t", (), |row| row.get(0)).unwrap();
    let least: i64 = found.query_row("SELECT min(n) FROM t", (), |row| row.get(0)).unwrap();
    assert_eq!(
        (check.as_str(), count, least),
        ("ok", 5000, 0),
        "what was not committed is not in it"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_that_names_it() {
    if rustix::process::geteuid().is_root() {
        // Root reads everything; a tree that is too deep fails for everybody.
        let dir = tempfile::tempdir().unwrap();
        let mut at = OwnedFd::from(File::open(dir.path()).unwrap());
        for _ in 0..DEPTH_MAX + 2 {
            rustix::fs::mkdirat(&at, "d", rustix::fs::Mode::RWXU).unwrap();
            let flags = rustix::fs::OFlags::DIRECTORY;
            at = rustix::fs::openat(&at, "d", flags, rustix::fs::Mode::empty()).unwrap();
        }
        let error = packed(dir.path(), false).unwrap_err().to_string();
        assert!(error.starts_with("d/d/") && error.contains("levels deep"), "{error}");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("secret"), "x").unwrap();
    fs::set_permissions(dir.path().join("secret"), fs::Permissions::from_mode(0o0)).unwrap();
    let error = packed(dir.path(), false).unwrap_err().to_string();
    assert!(error.starts_with("secret: "), "{error}");
}
