//! Releases, from the agent's side.

use std::os::fd::OwnedFd;
use std::time::Duration;

use tenement_wire::{ProcessName, ReleaseName};
use zbus::Fd;
use zbus::proxy::CacheProperties;

use super::{BusClient, Client, Pace, from_zbus};
use crate::units::{Sealed, UnitsError};

/// Beyond what a build may take: unpacking, sealing, and others of the process before it.
const BEYOND: Duration = Duration::from_secs(1800);

/// See `unitd`.
#[zbus::proxy(
    interface = "org.tenement.Releases1",
    default_service = "org.tenement.Units1",
    default_path = "/org/tenement/Units1"
)]
trait Releases1 {
    fn make(
        &self,
        process: &str,
        name: &str,
        tarball: Fd<'_>,
        output: Fd<'_>,
    ) -> zbus::Result<(u64, u64, String)>;
    fn remove(&self, process: &str, name: &str) -> zbus::Result<()>;
    fn list(&self) -> zbus::Result<Vec<(String, String)>>;
}

impl BusClient {
    async fn releases(&self) -> Result<Releases1Proxy<'static>, UnitsError> {
        let connection = self.0.manager.connection()?;
        let proxy = Releases1Proxy::builder(&connection).cache_properties(CacheProperties::No);
        proxy.build().await.map_err(from_zbus)
    }
}

impl Client {
    /// See [`crate::units::Builder::make_release`]. `timeout` is that of the build.
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn make_release(
        &self,
        process: &ProcessName,
        name: &ReleaseName,
        (tarball, output): (OwnedFd, OwnedFd),
        timeout: Duration,
    ) -> Result<Sealed, UnitsError> {
        let bus = match self {
            Self::Local(builder) => {
                return builder.make_release(process, name, tarball, output).await;
            }
            Self::Bus(bus) => bus,
        };
        let proxy = bus.releases().await?;
        let call = proxy.make(process.as_str(), name.as_str(), tarball.into(), output.into());
        // No slot of the others' calls: builds are few, bounded by whoever asks for them, and long.
        let answer = tokio::time::timeout(timeout.saturating_add(BEYOND), call).await;
        let answer =
            answer.map_err(|_| UnitsError::Timeout("tenement-unitd does not answer".into()))?;
        let (bytes, files, digest) = answer.map_err(from_zbus)?;
        Ok(Sealed { bytes, files, digest })
    }

    /// See [`crate::units::Builder::remove_release`].
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn remove_release(
        &self,
        process: &ProcessName,
        name: &ReleaseName,
    ) -> Result<(), UnitsError> {
        match self {
            Self::Local(builder) => builder.remove_release(process, name).await,
            Self::Bus(bus) => {
                let proxy = bus.releases().await?;
                bus.call(Pace::Slow, proxy.remove(process.as_str(), name.as_str())).await
            }
        }
    }

    /// See [`crate::units::Builder::releases`].
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn releases(&self) -> Result<Vec<(ProcessName, ReleaseName)>, UnitsError> {
        let bus = match self {
            Self::Local(builder) => return builder.releases().await,
            Self::Bus(bus) => bus,
        };
        let rows = bus.call(Pace::Quick, bus.releases().await?.list()).await?;
        let known = |(process, name): (String, String)| {
            Some((ProcessName::new(&process).ok()?, ReleaseName::new(&name).ok()?))
        };
        Ok(rows.into_iter().filter_map(known).collect())
    }
}
