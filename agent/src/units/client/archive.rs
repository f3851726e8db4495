//! Backups.

use std::os::fd::OwnedFd;
use std::time::Duration;

use tenement_wire::InstanceName;
use zbus::Fd;
use zbus::proxy::CacheProperties;

use super::super::UnitsError;
use super::super::interface::{self, Archive1Proxy};
use super::{BusClient, Client, Pace, from_zbus, parts};
use crate::plan::Particulars;

/// The helper has bounds of its own; this one is for a helper that hangs.
const LONG_BOUND: Duration = Duration::from_secs(24 * 3600);

impl BusClient {
    async fn archives(&self) -> Result<Archive1Proxy<'static>, UnitsError> {
        let connection = self.0.manager.connection()?;
        let proxy = Archive1Proxy::builder(&connection).cache_properties(CacheProperties::No);
        proxy.build().await.map_err(from_zbus)
    }

    /// A call that takes as long as there is data: it takes no place among those that stop and start.
    async fn long<T>(&self, call: impl Future<Output = zbus::Result<T>>) -> Result<T, UnitsError> {
        match tokio::time::timeout(LONG_BOUND, call).await {
            Ok(result) => result.map_err(from_zbus),
            Err(_) => Err(UnitsError::Timeout("tenement-unitd does not answer".into())),
        }
    }
}

impl Client {
    /// See [`super::super::Builder::pack`].
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn pack(
        &self,
        name: &InstanceName,
        with: &Particulars,
        online: bool,
        timeout: Duration,
        streams: [OwnedFd; 2],
    ) -> Result<bool, UnitsError> {
        let (process, id) = parts(name);
        match self {
            Self::Local(builder) => builder.pack(name, with, online, timeout, streams).await,
            Self::Bus(bus) => {
                let archives = bus.archives().await?;
                let [out, said] = streams.map(Fd::from);
                let ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
                let with = interface::with(with);
                bus.long(archives.pack(process, id, with, online, ms, out, said)).await
            }
        }
    }

    /// See [`super::super::Builder::unpack`].
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn unpack(
        &self,
        name: &InstanceName,
        with: &Particulars,
        streams: [OwnedFd; 2],
    ) -> Result<bool, UnitsError> {
        let (process, id) = parts(name);
        match self {
            Self::Local(builder) => builder.unpack(name, with, streams).await,
            Self::Bus(bus) => {
                let archives = bus.archives().await?;
                let [input, said] = streams.map(Fd::from);
                bus.long(archives.unpack(process, id, interface::with(with), input, said)).await
            }
        }
    }

    /// See [`super::super::Builder::exchange`].
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn exchange(
        &self,
        name: &InstanceName,
        keep_old: bool,
    ) -> Result<Option<String>, UnitsError> {
        let (process, id) = parts(name);
        match self {
            Self::Local(builder) => builder.exchange(name, keep_old).await,
            Self::Bus(bus) => {
                let archives = bus.archives().await?;
                let call = archives.exchange(process, id, keep_old);
                let kept = bus.call(Pace::Slow, call).await?;
                Ok(Some(kept).filter(|kept| !kept.is_empty()))
            }
        }
    }

    /// See [`super::super::Builder::discard`].
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn discard(&self, name: &InstanceName) -> Result<(), UnitsError> {
        let (process, id) = parts(name);
        match self {
            Self::Local(builder) => builder.discard(name).await,
            Self::Bus(bus) => bus.long(bus.archives().await?.discard(process, id)).await,
        }
    }
}
