//! The parts that touch files, on real files.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::dirs::{Access, ensure, open_trusted, owner_group, owner_of};
use super::purge::remove_tree;
use super::source::read_trusted;
use super::uids::{FIRST, Uids};
use super::{Source, UnitsError, accounts};

/// A directory of its own that goes with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let name = format!("tenement-units-{}", uuid::Uuid::new_v4());
        // Canonical, for some systems have a symlink for their temporary directory.
        let dir = std::env::temp_dir().canonicalize().unwrap().join(name);
        fs::create_dir(&dir).unwrap();
        Self(dir)
    }

    fn join(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        chmod(&path, 0o644);
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn me() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn mine(mode: u32) -> Access {
    Access { uid: me(), gid: owner_group(me()), mode }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_symlink_anywhere_on_the_way_is_refused() {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.join("real/inner")).unwrap();
    symlink(scratch.join("real"), scratch.join("link")).unwrap();
    symlink(scratch.join("real/inner"), scratch.join("real/last")).unwrap();
    assert!(open_trusted(&scratch.join("real/inner"), me(), false).is_ok());
    for path in ["link/inner", "real/last", "link/made"] {
        let error = open_trusted(&scratch.join(path), me(), true).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied, "{path}: {error}");
        assert!(error.to_string().contains("symlink"), "{error}");
    }
    assert!(!scratch.join("real/made").exists());
    assert!(open_trusted(Path::new("relative"), me(), false).is_err());
    assert!(open_trusted(&scratch.join("real/../real"), me(), false).is_err());
}

#[test]
fn a_parent_that_others_can_write_is_refused() {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.join("open/inner")).unwrap();
    chmod(&scratch.join("open"), 0o777);
    assert!(open_trusted(&scratch.join("open/inner"), me(), false).is_err());
    // With the sticky bit, others can add but not change what is there.
    chmod(&scratch.join("open"), 0o1777);
    assert!(open_trusted(&scratch.join("open/inner"), me(), false).is_ok());
}

#[test]
fn a_directory_is_made_whole_and_kept_afterwards() {
    let scratch = Scratch::new();
    let parent = open_trusted(&scratch.0, me(), false).unwrap();
    // As a crash would have left it.
    fs::create_dir(scratch.join(".new-a")).unwrap();
    ensure(&parent, "a", mine(0o2770)).unwrap();
    assert_eq!(fs::metadata(scratch.join("a")).unwrap().mode() & 0o7777, 0o2770);
    fs::write(scratch.join("a/file"), "kept").unwrap();
    ensure(&parent, "a", mine(0o700)).unwrap();
    assert_eq!(fs::metadata(scratch.join("a")).unwrap().mode() & 0o7777, 0o700);
    assert!(scratch.join("a/file").exists() && !scratch.join(".new-a").exists());
    assert_eq!(owner_of(&parent, "a").unwrap(), Some(me()));
    assert_eq!(owner_of(&parent, "b").unwrap(), None);
}

#[test]
fn what_belongs_to_another_or_is_no_directory_is_never_taken_over() {
    let scratch = Scratch::new();
    let parent = open_trusted(&scratch.0, me(), false).unwrap();
    fs::create_dir(scratch.join("a")).unwrap();
    let error = ensure(&parent, "a", Access { uid: me() + 1, ..mine(0o700) }).unwrap_err();
    assert!(error.to_string().contains("belongs to user"), "{error}");
    symlink("/etc", scratch.join("link")).unwrap();
    fs::write(scratch.join("file"), "").unwrap();
    assert!(ensure(&parent, "link", mine(0o700)).is_err());
    assert!(ensure(&parent, "file", mine(0o700)).is_err());
    assert!(owner_of(&parent, "link").is_err());
}

#[test]
fn deleting_a_tree_spares_what_its_symlinks_point_to() {
    let scratch = Scratch::new();
    scratch.write("outside/file", "kept");
    scratch.write("tree/a/b/c", "gone");
    symlink(scratch.join("outside"), scratch.join("tree/a/link")).unwrap();
    symlink(scratch.join("outside"), scratch.join("toplink")).unwrap();
    let parent = open_trusted(&scratch.0, me(), false).unwrap();
    remove_tree(&parent, "tree").unwrap();
    remove_tree(&parent, "tree").unwrap();
    remove_tree(&parent, "toplink").unwrap();
    assert!(!scratch.join("tree").exists());
    assert!(fs::symlink_metadata(scratch.join("toplink")).is_err());
    assert_eq!(fs::read_to_string(scratch.join("outside/file")).unwrap(), "kept");
}

#[test]
fn a_tree_of_any_depth_is_deleted() {
    let scratch = Scratch::new();
    let mut deep = scratch.join("tree");
    for level in 0..400 {
        deep.push("d");
        if level % 100 == 0 {
            // Its parts come up beside what is called as they will be.
            fs::create_dir_all(scratch.join("tree/.deep-1")).unwrap();
        }
    }
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("file"), "gone").unwrap();
    let parent = open_trusted(&scratch.0, me(), false).unwrap();
    remove_tree(&parent, "tree").unwrap();
    assert!(!scratch.join("tree").exists());
}

#[test]
fn user_ids_are_never_given_twice_even_after_the_counter_is_lost() {
    let scratch = Scratch::new();
    let data = scratch.join("data");
    fs::create_dir(&data).unwrap();
    let state = scratch.join("state");
    let uids = Uids::new(&state, me());
    let given: Vec<u32> = (0..70).map(|_| uids.next(&data).unwrap()).collect();
    assert_eq!(given, (FIRST..FIRST + 70).collect::<Vec<_>>());
    let next = Uids::new(&state, me()).next(&data).unwrap();
    assert!(next >= FIRST + 70, "{next} was given before");
    fs::write(state.join("next-uid"), "garbage").unwrap();
    assert_eq!(Uids::new(&state, me()).next(&data).unwrap(), FIRST);
}

#[test]
fn records_of_a_user_come_whole_and_go() {
    let scratch = Scratch::new();
    let userdb = scratch.join("userdb");
    fs::create_dir(&userdb).unwrap();
    accounts::publish(&userdb, FIRST).unwrap();
    accounts::publish(&userdb, FIRST).unwrap();
    let text = fs::read_to_string(userdb.join(format!("{FIRST}.user"))).unwrap();
    let record: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(record["uid"], FIRST);
    assert_eq!(record["userName"], format!("ten-{FIRST}"));
    accounts::withdraw(&userdb, FIRST);
    assert_eq!(fs::read_dir(&userdb).unwrap().count(), 0);
}

#[test]
fn users_and_groups_are_found_by_whole_name() {
    let scratch = Scratch::new();
    scratch.write("passwd", "root:x:0:0::/root:/bin/sh\nwww:x:33:34::/:/bin/sh\n");
    scratch.write("group", "tenement:x:990:\n");
    scratch.write("nsswitch.conf", "passwd:  files systemd\ngroup: files systemd # note\n");
    assert_eq!(accounts::user(&scratch.0, "www"), Some((33, 34)));
    assert_eq!(accounts::user(&scratch.0, "ww"), None);
    assert_eq!(accounts::group(&scratch.0, "tenement"), Some(990));
    assert!(accounts::userdb_is_asked(&scratch.0));
    scratch.write("nsswitch.conf", "passwd: files\ngroup: files systemd\n");
    assert!(!accounts::userdb_is_asked(&scratch.0));
}

#[test]
fn a_config_that_somebody_else_could_write_is_refused() {
    let scratch = Scratch::new();
    let file = scratch.write("tenement.toml", "");
    let source = Source::new(&scratch.0, me());
    assert!(source.load().is_ok());
    chmod(&file, 0o664);
    assert!(matches!(source.load(), Err(UnitsError::Refused(_))));
    chmod(&file, 0o644);
    assert!(source.load().is_ok());
    fs::rename(&file, scratch.join("elsewhere")).unwrap();
    symlink(scratch.join("elsewhere"), &file).unwrap();
    let error = source.load().unwrap_err();
    assert!(error.to_string().contains("symlink"), "{error}");
}

#[test]
fn a_fifo_in_place_of_a_file_blocks_nobody() {
    let scratch = Scratch::new();
    let path = scratch.join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    assert!(read_trusted(&path, me()).unwrap_err().to_string().contains("regular"));
}

#[test]
fn a_changed_config_is_read_anew_and_a_broken_one_leaves_the_last_good() {
    let scratch = Scratch::new();
    let source = Source::new(&scratch.0, me());
    assert!(matches!(source.load(), Err(UnitsError::BadConfig(_))));
    scratch.write("tenement.toml", "[process.a]\ncommand = \"true\"\n");
    let first = source.load().unwrap();
    assert!(std::sync::Arc::ptr_eq(&first, &source.load().unwrap()), "read twice");
    let fragment = scratch.write("conf.d/b.toml", "[process.b]\ncommand = \"true\"\n");
    scratch.write("conf.d/.hidden.toml", "garbage");
    assert_eq!(source.load().unwrap().processes.len(), 2);
    fs::write(&fragment, "[process.b\n").unwrap();
    assert_eq!(source.load().unwrap().processes.len(), 2);
    let fresh = Source::new(&scratch.0, me());
    assert!(matches!(fresh.load(), Err(UnitsError::BadConfig(text)) if text.contains("b.toml:1")));
    fs::remove_file(&fragment).unwrap();
    assert_eq!(source.load().unwrap().processes.len(), 1);
}

#[test]
fn only_a_sealed_memfd_is_taken_for_a_secret() {
    use super::secrets::{sealed, sealed_size};
    assert_eq!(sealed_size(&sealed(b"hunter2").unwrap()), Some(7));
    let scratch = Scratch::new();
    let file = fs::File::open(scratch.write("plain", "hunter2")).unwrap();
    assert_eq!(sealed_size(&file.into()), None);
    let (reader, _writer) = std::io::pipe().unwrap();
    assert_eq!(sealed_size(&reader.into()), None, "a pipe could keep its reader waiting");
    let open = rustix::fs::memfd_create("open", rustix::fs::MemfdFlags::ALLOW_SEALING).unwrap();
    assert_eq!(sealed_size(&open), None, "it could still be changed");
}

#[tokio::test]
async fn secrets_are_kept_whole_and_private_and_in_one_kind_only() {
    use super::secrets::{forget, keep, sealed, stored};
    let scratch = Scratch::new();
    let mut place = super::Place::user(scratch.join("c"), scratch.join("r"), scratch.join("s"));
    let name: tenement_wire::InstanceName = "api:prod".parse().unwrap();
    let secret = tenement_wire::SecretName::new("API_KEY").unwrap();
    let value = |text: &[u8]| fs::File::from(sealed(text).unwrap());
    assert!(stored(&place, &name).unwrap().is_empty());
    keep(&place, &name, &secret, value(b"first")).await.unwrap();
    let first = stored(&place, &name).unwrap().remove(0);
    assert!(!first.view.encrypted && first.view.stored_bytes == 5);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&first.path), mode(first.path.parent().unwrap())), (0o600, 0o700));
    // A program that fails leaves nothing of its own in the file; one that works takes its place.
    place.encrypter = Some("/bin/false".into());
    keep(&place, &name, &secret, value(b"second")).await.unwrap();
    assert_eq!(fs::read(&first.path).unwrap(), b"second");
    let script = scratch.write("creds", "#!/bin/sh\necho \"$1 $3\"; cat >/dev/null\n");
    chmod(&script, 0o755);
    place.encrypter = Some(script);
    keep(&place, &name, &secret, value(b"third")).await.unwrap();
    let only = stored(&place, &name).unwrap();
    assert_eq!(only.len(), 1);
    assert!(only[0].view.encrypted && !first.path.exists());
    assert_eq!(fs::read_to_string(&only[0].path).unwrap(), "encrypt --name=API_KEY\n");
    forget(&place, &name).unwrap();
    assert!(stored(&place, &name).unwrap().is_empty());
    forget(&place, &name).unwrap();
}
