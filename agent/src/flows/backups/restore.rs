//! Replaces the data of an instance by that of an archive: all of it, or nothing.

use std::sync::Arc;

use tenement_wire::backups::Restored;
use tenement_wire::events::{Actor, Event, EventKind};
use tenement_wire::{InstanceName, ReleaseName};

use super::hold::Held;
use super::schedule::AHEAD_MS;
use super::{BackupError, Backups, pipe};
use crate::archive::Unpacked;
use crate::flows::host::{ArchiveOrder, Host};
use crate::flows::instance::{Instance, now_ms};
use crate::vault::Pieces;

/// What is to be restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restore {
    /// The instance whose data is replaced.
    pub name: InstanceName,
    /// The instance that the archive is of.
    pub of: InstanceName,
    /// Keep the data that is there now, beside it.
    pub keep_old: bool,
}

/// Where an archive comes from.
pub enum From {
    /// Whoever asks sends it.
    Sent(Pieces),
    /// The newest of those that are kept.
    Latest,
    /// One that is kept.
    Stored(String),
}

impl<H: Host> Backups<H> {
    /// Until the archive was unpacked and found whole, the instance runs on and nothing of it is touched.
    pub(super) async fn replace(
        &self,
        order: Restore,
        from: From,
    ) -> Result<Restored, BackupError> {
        let instance = self.find_whole(&order.name)?;
        let _alone = self.alone(&order.name)?;
        let pieces = match from {
            From::Sent(pieces) => pieces,
            From::Stored(file) => self.kept(&order.of, Some(file)).await?,
            From::Latest => self.kept(&order.of, None).await?,
        };
        // Whatever happens from here on, what was unpacked is removed or is the data.
        let done = self.unpack_and_swap(&instance, &order, pieces).await;
        let with = instance.particulars();
        let removed = self.agent().host.archive(&order.name, &with, ArchiveOrder::Discard).await;
        let (unpacked, kept) = done?;
        if let Err(error) = removed {
            log::warn!("the former data of {} stays beside it: {error}", order.name);
        }
        self.agent().measure(&instance).await;
        let message =
            format!("the data of {} was replaced by a backup of {}", order.name, order.of);
        let event = Event::new(EventKind::Operation, message).about(&order.name);
        self.agent().record(event.by(Actor::agent()));
        Ok(Restored {
            name: order.name,
            of: order.of,
            made_ms: unpacked.manifest.created_ms,
            release: unpacked.manifest.release,
            entries: unpacked.entries,
            bytes: unpacked.bytes,
            kept,
        })
    }

    async fn unpack_and_swap(
        &self,
        instance: &Arc<Instance>,
        order: &Restore,
        pieces: Pieces,
    ) -> Result<(Unpacked, Option<String>), BackupError> {
        let (data, input) = pipe::sockets()?;
        let (ear, said) = pipe::sockets()?;
        let with = instance.particulars();
        let unpack = ArchiveOrder::Unpack { streams: [input, said] };
        let job = self.agent().host.archive(&instance.name, &with, unpack);
        let unpacked = pipe::give(data, ear, job, pieces).await?;
        let found = &unpacked.manifest.instance;
        if *found != order.of.to_string() {
            let found = found.escape_default().to_string();
            return Err(BackupError::Another { found, wanted: order.of.clone() });
        }
        let bound = instance.setup().definition.backup.hold_max;
        let held = Held::take(self.agent(), instance, bound, true).await?;
        let exchange = ArchiveOrder::Exchange { keep_old: order.keep_old };
        let swapped = self.agent().host.archive(&order.name, &with, exchange).await;
        if swapped.is_ok() {
            self.settle_in(instance, unpacked.manifest.release.as_deref()).await;
        }
        drop(held);
        Ok((unpacked, swapped?.kept))
    }

    /// What is known of its former data is not true of what it has now.
    async fn settle_in(&self, instance: &Instance, release: Option<&str>) {
        let release = release.and_then(|text| ReleaseName::new(text).ok());
        if let Err(error) = self.agent().note_restored(instance, release).await {
            log::error!(
                "the release_command of {} may not be run for its restored data: {error}",
                instance.name
            );
        }
        if let Err(error) = self.agent().absolve(instance).await {
            log::warn!("{} stays failed until it is reset: {error}", instance.name);
        }
    }

    /// A backup of `of` that is kept.
    async fn kept(&self, of: &InstanceName, file: Option<String>) -> Result<Pieces, BackupError> {
        let config = self.agent().config.load_full();
        let plan = config.processes.get(of.process()).map(|def| def.backup.clone());
        let plan = plan.ok_or_else(|| BackupError::NoTarget(of.process().clone()))?;
        let vault = self.vault(&plan, of).await?;
        let file = match file {
            Some(file) => file,
            None => {
                // Newest first; not one that the clock was far ahead for, unless there is no other.
                let all = vault.list(of).await?;
                let now = now_ms() + AHEAD_MS;
                let newest = all.iter().find(|one| one.time_ms <= now).or(all.first()).cloned();
                newest.ok_or_else(|| BackupError::Missing(format!("of {of}")))?.file
            }
        };
        Ok(vault.read(of, &file).await?)
    }
}
