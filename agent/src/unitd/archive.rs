//! `org.tenement.Archive1`: backups. A caller names an instance and hands descriptors over; what is executed is
//! always `tenement-archive`, with words of ours.

use std::time::Duration;

use tenement_wire::InstanceName;
use zbus::message::Header;
use zbus::{Connection, OwnedFd};

use super::request::{self, With};
use super::service::Units;
use crate::units::{Builder, UnitsError};

/// Shortest and longest time that a caller may give.
const TIMEOUT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(24 * 3600));

/// The object on the bus.
pub(super) struct Archives(pub(super) Units);

#[zbus::interface(name = "org.tenement.Archive1")]
impl Archives {
    /// Packs the data of an instance. Says whether the program ended well.
    #[allow(clippy::too_many_arguments, reason = "they are those of the method on the bus")]
    async fn pack(
        &self,
        process: &str,
        id: &str,
        with: With,
        online: bool,
        timeout_ms: u64,
        out: OwnedFd,
        said: OwnedFd,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] bus: &Connection,
    ) -> Result<bool, UnitsError> {
        let with = request::particulars(&with)?;
        let timeout = Duration::from_millis(timeout_ms).clamp(TIMEOUT.0, TIMEOUT.1);
        let streams = [out.into(), said.into()];
        let act = async |builder: &Builder, name: &InstanceName| {
            builder.pack(name, &with, online, timeout, streams).await
        };
        self.0.carry_out("pack", (process, id), (&header, bus), act).await
    }

    /// Unpacks an archive beside the data of an instance. Says whether it was whole.
    #[allow(clippy::too_many_arguments, reason = "they are those of the method on the bus")]
    async fn unpack(
        &self,
        process: &str,
        id: &str,
        with: With,
        input: OwnedFd,
        said: OwnedFd,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] bus: &Connection,
    ) -> Result<bool, UnitsError> {
        let with = request::particulars(&with)?;
        let streams = [input.into(), said.into()];
        let act = async |builder: &Builder, name: &InstanceName| {
            builder.unpack(name, &with, streams).await
        };
        self.0.carry_out("unpack", (process, id), (&header, bus), act).await
    }

    /// Swaps what was unpacked with the data. Answers with where the former data is kept, if it is.
    async fn exchange(
        &self,
        process: &str,
        id: &str,
        keep_old: bool,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] bus: &Connection,
    ) -> Result<String, UnitsError> {
        let act =
            async |builder: &Builder, name: &InstanceName| builder.exchange(name, keep_old).await;
        let kept = self.0.carry_out("exchange", (process, id), (&header, bus), act).await?;
        Ok(kept.unwrap_or_default())
    }

    /// Deletes what was unpacked, or what was the data before a swap.
    async fn discard(
        &self,
        process: &str,
        id: &str,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] bus: &Connection,
    ) -> Result<(), UnitsError> {
        let act = async |builder: &Builder, name: &InstanceName| builder.discard(name).await;
        self.0.carry_out("discard", (process, id), (&header, bus), act).await
    }
}
