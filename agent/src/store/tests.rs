//! The store on real files.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::*;

pub(super) const PORTS: (u16, u16) = (20_000, 32_767);

/// A directory of its own that goes with it.
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    pub(super) fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("tenement-store-{}", Uuid::new_v4()));
        std::fs::create_dir(&dir).unwrap();
        Self(dir)
    }

    pub(super) fn file(&self) -> PathBuf {
        self.0.join("state.db")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) fn name(text: &str) -> InstanceName {
    text.parse().unwrap()
}

#[tokio::test]
async fn registrations_outlive_the_store_and_keep_uuid_and_port() {
    let scratch = Scratch::new();
    let store = Store::open(&scratch.file()).await.unwrap();
    let first = store.register(name("api:a"), Origin::Api, PORTS).await.unwrap();
    assert_eq!(first.port, 20_000);
    assert_eq!(store.register(name("api:a"), Origin::Config, PORTS).await.unwrap(), first);
    drop(store);
    let store = Store::open(&scratch.file()).await.unwrap();
    assert_eq!(store.all().await.unwrap(), std::slice::from_ref(&first));
    assert!(store.remove(name("api:a")).await.unwrap());
    assert!(!store.remove(name("api:a")).await.unwrap());
    let second = store.register(name("api:a"), Origin::Api, PORTS).await.unwrap();
    assert_ne!(second.uuid, first.uuid);
}

#[tokio::test]
async fn the_lowest_free_port_is_given_and_none_twice() {
    let scratch = Scratch::new();
    let store = Store::open(&scratch.file()).await.unwrap();
    let tasks = (0..50).map(|i| {
        let store = store.clone();
        tokio::spawn(async move {
            store.register(name(&format!("api:i{i}")), Origin::Api, PORTS).await.unwrap().port
        })
    });
    let mut ports = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        ports.push(task.await.unwrap());
    }
    ports.sort_unstable();
    assert_eq!(ports, (20_000..20_050).collect::<Vec<u16>>());
    let all = store.all().await.unwrap();
    let gone = all.iter().find(|instance| instance.port == 20_007).unwrap();
    store.remove(gone.name.clone()).await.unwrap();
    assert_eq!(store.register(name("web:x"), Origin::Api, PORTS).await.unwrap().port, 20_007);
}

#[tokio::test]
async fn a_failed_registration_leaves_nothing_and_spares_its_neighbours() {
    let scratch = Scratch::new();
    let store = Store::open(&scratch.file()).await.unwrap();
    let names = vec![name("api:a"), name("api:b"), name("api:c")];
    let (too_many, fits) = tokio::join!(
        store.register_many(names, Origin::Api, (20_000, 20_001)),
        store.register(name("web:x"), Origin::Api, (20_000, 20_001)),
    );
    assert_eq!(too_many, Err(StoreError::NoFreePort(20_000, 20_001)));
    assert_eq!(store.all().await.unwrap(), [fits.unwrap()]);
}

#[tokio::test]
async fn ten_thousand_registrations_are_one_quick_transaction() {
    let scratch = Scratch::new();
    let store = Store::open(&scratch.file()).await.unwrap();
    let names: Vec<_> = (0..10_000).map(|i| name(&format!("api:i{i}"))).collect();
    let begin = Instant::now();
    store.register_many(names.clone(), Origin::Config, PORTS).await.unwrap();
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(1), "it took {took:?}");
    let again = store.register_many(names, Origin::Api, PORTS).await.unwrap();
    assert_eq!(again.len(), 10_000);
    assert_eq!(store.all().await.unwrap().len(), 10_000);
}

#[tokio::test]
async fn that_an_instance_has_failed_outlives_the_store_and_goes_with_the_instance() {
    let scratch = Scratch::new();
    let store = Store::open(&scratch.file()).await.unwrap();
    let gave_up = GaveUp { reason: "it exited with status 3".into(), at_ms: 7 };
    assert!(!store.set_failed(name("api:a"), Some(gave_up.clone())).await.unwrap());
    for one in ["api:a", "api:b"] {
        store.register(name(one), Origin::Api, PORTS).await.unwrap();
        assert!(store.set_failed(name(one), Some(gave_up.clone())).await.unwrap());
    }
    drop(store);
    let store = Store::open(&scratch.file()).await.unwrap();
    assert_eq!(store.failed().await.unwrap().len(), 2);
    store.remove(name("api:b")).await.unwrap();
    assert_eq!(store.failed().await.unwrap(), [(name("api:a"), gave_up)]);
    store.set_failed(name("api:a"), None).await.unwrap();
    assert_eq!(store.failed().await.unwrap(), []);
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_left_as_it_is() {
    let scratch = Scratch::new();
    let garbage = b"this is no database, and long enough to be looked at ".repeat(100);
    std::fs::write(scratch.file(), &garbage).unwrap();
    let error = Store::open(&scratch.file()).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
    assert!(error.to_string().contains("state.db"), "{error}");
    assert_eq!(std::fs::read(scratch.file()).unwrap(), garbage);
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_an_error_of_its_own() {
    let scratch = Scratch::new();
    let error = Store::open(&scratch.0.join("missing/state.db")).await.unwrap_err();
    assert!(matches!(error, StoreError::ReadOnly(_)), "{error:?}");
}
