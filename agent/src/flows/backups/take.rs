//! Makes a backup.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tenement_wire::backups::{BackupMethod, StoredBackup};
use tenement_wire::events::{Actor, Event, EventKind};
use tokio::sync::mpsc;

use super::head::{head, unless_removed};
use super::hold::Held;
use super::schedule::AHEAD_MS;
use super::spool::{self, Feeder, Taker};
use super::{BackupError, Backups, pipe};
use crate::archive::Packed;
use crate::flows::host::{ArchiveOrder, Host};
use crate::flows::instance::{Instance, now_ms};
use crate::store::backups::{BackupRecord, LastBackup};
use crate::vault::{Pieces, Vault, VaultError, Writer, file_name};

/// How long one that holds nobody up may take.
const ONLINE_MAX: Duration = Duration::from_secs(12 * 3600);
/// What the program gets beyond the time that requests are held, to end by itself.
const MARGIN: Duration = Duration::from_secs(5);
/// Pieces that wait for a client.
const PIECES: usize = 4;

/// Where an archive goes.
enum Outlet {
    Vault(Writer),
    Client(mpsc::Sender<Result<Bytes, BackupError>>),
}

impl Outlet {
    async fn write(&mut self, bytes: Bytes) -> Result<(), BackupError> {
        match self {
            Self::Vault(writer) => Ok(writer.write(bytes).await?),
            Self::Client(client) => {
                let gone = |_| BackupError::Failed("the client has gone".into());
                client.send(Ok(bytes)).await.map_err(gone)
            }
        }
    }
}

impl<H: Host> Backups<H> {
    /// Makes a backup and keeps it where the config says, notes how it went, and removes what need not be kept.
    pub(super) async fn make(&self, instance: &Arc<Instance>) -> Result<StoredBackup, BackupError> {
        let _alone = self.alone(&instance.name)?;
        let began = Instant::now();
        let before = self.record_of(instance);
        // In whole seconds, as in its name, and after the last one.
        let now = now_ms();
        let last = before.last.as_ref().map_or(0, |last| last.at_ms);
        // One that the clock was far ahead for is nothing to go by.
        let after = if last > now + AHEAD_MS { 0 } else { last + 1000 };
        let at_ms = now.max(after) / 1000 * 1000;
        let made = self.keep(instance, at_ms).await;
        let record = match &made {
            Ok((stored, _)) => BackupRecord {
                last: Some(LastBackup {
                    at_ms,
                    file: stored.file.clone(),
                    bytes: stored.bytes,
                    took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
                }),
                ..BackupRecord::default()
            },
            Err(error) => BackupRecord {
                last: before.last,
                failed_ms: Some(now_ms()),
                error: Some(error.to_string()),
                failures: before.failures.saturating_add(1),
            },
        };
        self.note(instance, record).await;
        match made {
            Ok((stored, vault)) => {
                self.prune(instance, &vault).await;
                Ok(stored)
            }
            Err(error) => {
                self.fail(instance, &format!("no backup could be made: {error}"));
                Err(unless_removed(instance, error))
            }
        }
    }

    async fn keep(
        &self,
        instance: &Arc<Instance>,
        at_ms: u64,
    ) -> Result<(StoredBackup, Vault), BackupError> {
        let plan = instance.setup().definition.backup.clone();
        let vault = self.vault(&plan, &instance.name).await?;
        let file = file_name(&instance.name, at_ms);
        let outlet = Outlet::Vault(vault.create(&instance.name, &file).await?);
        // A directory takes bytes as fast as a spool does.
        let spool = if matches!(vault, Vault::Directory(_)) { 0 } else { self.spool_max() };
        let (packed, outlet) = self.take(instance, plan.method, spool, outlet).await?;
        let Outlet::Vault(writer) = outlet else { unreachable!("it is what was handed in") };
        writer.finish().await?;
        self.tell(
            instance,
            &plan.to.as_ref().map(ToString::to_string).unwrap_or_default(),
            &packed,
        );
        Ok((StoredBackup { file, time_ms: at_ms, bytes: packed.written }, vault))
    }

    /// Makes a backup for a client, who gets it as it is made. Errors until its [`head`] is there are answers;
    /// later ones break it off.
    pub(super) async fn hand_out(
        &self,
        instance: &Arc<Instance>,
        method: Option<BackupMethod>,
    ) -> Result<Pieces, BackupError> {
        let alone = self.alone(&instance.name)?;
        let method = method.unwrap_or(instance.setup().definition.backup.method);
        let (client, mut pieces) = mpsc::channel(PIECES);
        let (backups, one) = (self.clone(), instance.clone());
        tokio::spawn(async move {
            let (_alone, instance) = (alone, one);
            let outlet = Outlet::Client(client.clone());
            match backups.take(&instance, method, backups.spool_max(), outlet).await {
                Ok((packed, _)) => backups.tell(&instance, "a client", &packed),
                Err(error) => {
                    log::warn!("the backup of {} broke off: {error}", instance.name);
                    let _ = client.send(Err(error)).await;
                }
            }
        });
        let head = head(&mut pieces).await.map_err(|error| unless_removed(instance, error))?;
        let rest = stream::unfold(pieces, |mut pieces| async move {
            let piece: Result<Bytes, BackupError> = pieces.recv().await?;
            Some((piece.map_err(|error| VaultError::Failed(error.to_string())), pieces))
        });
        Ok(Box::pin(stream::iter(head.into_iter().map(Ok)).chain(rest)))
    }

    fn spool_max(&self) -> u64 {
        self.agent().config.load().settings.backup.spool_max
    }

    /// Packs an instance. The spool lets it go on as soon as its data was read, however slow the outlet is.
    async fn take(
        &self,
        instance: &Arc<Instance>,
        method: BackupMethod,
        spool_max: u64,
        outlet: Outlet,
    ) -> Result<(Packed, Outlet), BackupError> {
        let online = method == BackupMethod::Online;
        let spool_max = if online { 0 } else { spool_max };
        let (mut feeder, taker) = spool::pair(&self.0.spool_dir, spool_max);
        let mut passing = tokio::spawn(pass_on(taker, outlet));
        let _stops = Stops(passing.abort_handle());
        let packed = if online {
            self.pack(instance, true, ONLINE_MAX, &mut feeder).await
        } else {
            self.pack_held(instance, &mut feeder).await
        };
        if packed.is_ok() {
            feeder.end();
        } else {
            drop(feeder);
        }
        let passed =
            (&mut passing).await.map_err(|error| BackupError::Failed(error.to_string()))?;
        match (packed, passed) {
            (Ok(packed), (outlet, Ok(()))) => Ok((packed, outlet)),
            // If nobody took the bytes any more, that is why they could not be packed.
            (_, (outlet, Err(error))) | (Err(error), (outlet, Ok(()))) => {
                if let Outlet::Vault(writer) = outlet {
                    writer.abort().await;
                }
                Err(error)
            }
        }
    }

    /// Packs an instance that is held still meanwhile.
    async fn pack_held(
        &self,
        instance: &Arc<Instance>,
        feeder: &mut Feeder,
    ) -> Result<Packed, BackupError> {
        let bound = instance.setup().definition.backup.hold_max;
        let began = Instant::now();
        let held = Held::take(self.agent(), instance, bound, false).await?;
        let left = bound.saturating_sub(began.elapsed());
        let packing = self.pack(instance, false, left + MARGIN, feeder);
        let packed = match tokio::time::timeout(left, packing).await {
            Ok(packed) => packed?,
            Err(_) => {
                return Err(BackupError::Held { name: instance.name.clone(), after: bound });
            }
        };
        held.must_be_still().await?;
        Ok(packed)
    }

    async fn pack(
        &self,
        instance: &Arc<Instance>,
        online: bool,
        timeout: Duration,
        feeder: &mut Feeder,
    ) -> Result<Packed, BackupError> {
        let (data, out) = pipe::sockets()?;
        let (ear, said) = pipe::sockets()?;
        let order = ArchiveOrder::Pack { online, timeout, streams: [out, said] };
        // The release that its data fits is noted in the archive.
        let with = self.agent().particulars_beside(instance);
        let job = self.agent().host.archive(&instance.name, &with, order);
        pipe::collect(data, ear, job, feeder).await
    }

    async fn note(&self, instance: &Instance, record: BackupRecord) {
        self.records().insert(instance.name.clone(), (instance.uuid, record.clone()));
        if let Err(error) = self.agent().store.put_backup(instance.name.clone(), record).await {
            log::warn!("how the backup of {} went can't be stored: {error}", instance.name);
        }
    }

    /// Removes the backups that need not be kept.
    async fn prune(&self, instance: &Arc<Instance>, vault: &Vault) {
        let plan = instance.setup().definition.backup.clone();
        let pruned = async {
            for file in super::schedule::superfluous(&vault.list(&instance.name).await?, plan.keep)
            {
                vault.delete(&instance.name, &file).await?;
                log::info!("{file} was removed, as `keep` of its process says");
            }
            Ok::<(), VaultError>(())
        };
        if let Err(error) = pruned.await {
            self.fail(instance, &format!("old backups could not be removed: {error}"));
        }
    }

    fn fail(&self, instance: &Instance, why: &str) {
        *self.failed().entry(instance.name.clone()).or_default() += 1;
        log::error!(TENEMENT_INSTANCE = instance.name.to_string(); "{}: {why}", instance.name);
        let event = Event::new(EventKind::BackupFailed, format!("{}: {why}", instance.name));
        self.agent().record(event.about(&instance.name).by(Actor::agent()));
    }

    fn tell(&self, instance: &Instance, to: &str, packed: &Packed) {
        let message = format!("{} was backed up to {to}", instance.name);
        let numbers = [
            ("bytes", packed.written),
            ("data_bytes", packed.bytes),
            ("entries", packed.entries),
            ("databases", packed.databases),
            ("skipped", packed.skipped),
            ("changed", packed.changed),
        ];
        let event = Event::new(EventKind::Operation, message).about(&instance.name);
        let event = numbers.iter().fold(event, |event, (key, n)| event.with(key, n.to_string()));
        self.agent().record(event.by(Actor::agent()));
    }
}

/// Ends a task that nobody waits for any more.
struct Stops(tokio::task::AbortHandle);

impl Drop for Stops {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn pass_on(mut taker: Taker, mut outlet: Outlet) -> (Outlet, Result<(), BackupError>) {
    loop {
        let written = match taker.next().await {
            Ok(None) => return (outlet, Ok(())),
            Ok(Some(bytes)) => outlet.write(bytes).await,
            Err(error) => Err(error.into()),
        };
        if written.is_err() {
            return (outlet, written);
        }
    }
}
