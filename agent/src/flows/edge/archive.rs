//! Backups, by the unit helper.

use tenement_wire::InstanceName;

use super::from_units;
use crate::flows::backups::{ArchiveDone, ArchiveOrder};
use crate::flows::host::HostError;
use crate::plan::Particulars;
use crate::units::Client;

/// Does as `order` says.
pub(super) async fn carry_out(
    units: &Client,
    name: &InstanceName,
    with: &Particulars,
    order: ArchiveOrder,
) -> Result<ArchiveDone, HostError> {
    let ended = |well| ArchiveDone { well, kept: None };
    let done = match order {
        ArchiveOrder::Pack { online, timeout, streams } => {
            units.pack(name, with, online, timeout, streams).await.map(ended)
        }
        ArchiveOrder::Unpack { streams } => units.unpack(name, with, streams).await.map(ended),
        ArchiveOrder::Exchange { keep_old } => {
            let kept = units.exchange(name, keep_old).await;
            kept.map(|kept| ArchiveDone { well: true, kept })
        }
        ArchiveOrder::Discard => units.discard(name).await.map(|()| ended(true)),
    };
    done.map_err(from_units)
}
