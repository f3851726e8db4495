//! Faults of the database's file: damage, deletion, at start and while it is open.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::tests::{PORTS, Scratch, name};
use super::*;

/// A store with one registration whose copy is made.
async fn saved(scratch: &Scratch) -> (Store, Registered) {
    let store = Store::open(&scratch.file()).await.unwrap();
    let one = store.register(name("api:a"), Origin::Api, PORTS).await.unwrap();
    let mut overrides = ResourceLimits::new();
    overrides.set(tenement_wire::Limit::TasksMax, Some(7)).unwrap();
    assert!(store.set_overrides(name("api:a"), overrides.clone()).await.unwrap());
    until_copied(&store, &scratch.file()).await;
    (store, Registered { overrides, ..one })
}

/// Waits until the copy holds what the database holds.
async fn until_copied(store: &Store, file: &Path) {
    let all = store.all().await.unwrap();
    let copied = tokio::time::timeout(Duration::from_secs(20), async {
        while rows(&copy::copy_of(file)).is_none_or(|rows| rows != texts(&all)) {
            tokio::task::yield_now().await;
        }
    });
    copied.await.expect("the copy is made in time");
}

fn texts(all: &[Registered]) -> Vec<String> {
    all.iter().map(|one| format!("{} {}", one.uuid, one.overrides.iter().count())).collect()
}

fn rows(copy: &Path) -> Option<Vec<String>> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = rusqlite::Connection::open_with_flags(copy, flags).ok()?;
    let sql = "SELECT uuid || ' ' || (SELECT COUNT(*) FROM json_each(overrides)) FROM instances
               ORDER BY process, id";
    let mut statement = connection.prepare(sql).ok()?;
    let rows = statement.query_map((), |row| row.get(0)).ok()?;
    rows.collect::<Result<_, _>>().ok()
}

fn damage(file: &Path) {
    fs::write(file, b"this is no database, and long enough to be looked at ".repeat(400)).unwrap();
}

/// What lies in the directory, without what SQLite has beside an open file.
fn files(scratch: &Scratch) -> Vec<String> {
    let names = fs::read_dir(&scratch.0).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> =
        names.filter(|n| !n.ends_with("-wal") && !n.ends_with("-shm")).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_database_damaged_at_start_is_restored_from_its_copy_and_kept_aside() {
    let scratch = Scratch::new();
    let (store, one) = saved(&scratch).await;
    store.close().await;
    damage(&scratch.file());
    let store = Store::open(&scratch.file()).await.unwrap();
    assert_eq!(store.all().await.unwrap(), [one], "an instance or a setting is lost");
    let report = store.report().await.unwrap();
    assert_eq!(report.set_aside.len(), 1, "{report:?}");
    let aside = fs::read(&report.set_aside[0]).unwrap();
    assert!(aside.starts_with(b"this is no database"), "what was there is not kept");
    store.register(name("api:b"), Origin::Api, PORTS).await.unwrap();
}

#[tokio::test]
async fn a_database_deleted_or_emptied_while_nobody_has_it_open_is_restored() {
    for empty in [false, true] {
        let scratch = Scratch::new();
        let (store, one) = saved(&scratch).await;
        store.close().await;
        // The thread closes the file after its last copy, which takes the log with it.
        fs::remove_file(scratch.file()).unwrap();
        if empty {
            fs::write(scratch.file(), b"").unwrap();
        }
        let store = Store::open(&scratch.file()).await.unwrap();
        assert_eq!(store.all().await.unwrap(), [one], "empty: {empty}");
    }
}

#[tokio::test]
async fn a_database_deleted_while_it_is_open_is_written_again_with_everything_in_it() {
    let scratch = Scratch::new();
    let (store, one) = saved(&scratch).await;
    fs::remove_file(scratch.file()).unwrap();
    let two = store.register(name("api:b"), Origin::Api, PORTS).await.unwrap();
    assert!(scratch.file().exists());
    assert_eq!(store.all().await.unwrap(), [one.clone(), two.clone()]);
    // Its copy and its log too.
    until_copied(&store, &scratch.file()).await;
    for file in fs::read_dir(&scratch.0).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
    let three = store.register(name("api:c"), Origin::Api, PORTS).await.unwrap();
    store.close().await;
    let store = Store::open(&scratch.file()).await.unwrap();
    assert_eq!(store.all().await.unwrap(), [one, two, three]);
}

#[tokio::test]
async fn a_deleted_write_ahead_log_costs_nothing() {
    let scratch = Scratch::new();
    let (store, one) = saved(&scratch).await;
    for more in ["-wal", "-shm"] {
        let mut path = scratch.file().into_os_string();
        path.push(more);
        fs::remove_file(path).unwrap();
    }
    let two = store.register(name("api:b"), Origin::Api, PORTS).await.unwrap();
    assert_eq!(store.all().await.unwrap(), [one.clone(), two.clone()]);
    store.close().await;
    let store = Store::open(&scratch.file()).await.unwrap();
    assert_eq!(store.all().await.unwrap(), [one, two]);
}

#[tokio::test]
async fn another_file_in_its_place_is_neither_used_nor_overwritten_while_it_is_open() {
    let scratch = Scratch::new();
    let (store, one) = saved(&scratch).await;
    let other = scratch.0.join("other");
    damage(&other);
    fs::rename(&other, scratch.file()).unwrap();
    let error = store.register(name("api:b"), Origin::Api, PORTS).await.unwrap_err();
    assert!(error.to_string().contains("restart tenement"), "{error}");
    assert_eq!(store.all().await.unwrap(), [one]);
    assert!(fs::read(scratch.file()).unwrap().starts_with(b"this is no database"));
    assert!(store.report().await.unwrap().trouble.is_some());
}

#[tokio::test]
async fn a_damaged_database_never_replaces_its_sound_copy() {
    let scratch = Scratch::new();
    let (store, one) = saved(&scratch).await;
    let before = fs::read(copy::copy_of(&scratch.file())).unwrap();
    // As long as all of it is in the write-ahead log as well, nothing is damaged.
    let other = rusqlite::Connection::open(scratch.file()).unwrap();
    other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(())).unwrap();
    // In place, as a bad disk does: the same file, other bytes.
    let length = fs::metadata(scratch.file()).unwrap().len() as usize;
    fs::write(scratch.file(), vec![0xa5; length.max(8192)]).unwrap();
    let other = rusqlite::Connection::open(scratch.file()).unwrap();
    let check = copy::make(&other, &scratch.file());
    assert!(check.is_err());
    assert_eq!(fs::read(copy::copy_of(&scratch.file())).unwrap(), before);
    store.close().await;
    let store = Store::open(&scratch.file()).await.unwrap();
    assert_eq!(store.all().await.unwrap(), [one]);
    store.close().await;
    assert!(!files(&scratch).iter().any(|name| name.contains(".new")), "{:?}", files(&scratch));
}

#[tokio::test]
async fn without_a_sound_copy_nothing_is_changed() {
    let scratch = Scratch::new();
    let (store, _) = saved(&scratch).await;
    store.close().await;
    damage(&scratch.file());
    damage(&copy::copy_of(&scratch.file()));
    let before = files(&scratch);
    let error = Store::open(&scratch.file()).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
    assert!(error.to_string().contains("its copy"), "{error}");
    assert_eq!(files(&scratch), before);
    fs::remove_file(scratch.file()).unwrap();
    assert!(matches!(Store::open(&scratch.file()).await.unwrap_err(), StoreError::Corrupt(_)));
}
