//! `org.tenement.Releases1`: makes and deletes releases.

use tenement_wire::{ProcessName, ReleaseName};
use zbus::message::Header;
use zbus::{Connection, OwnedFd};

use super::request;
use super::service::Units;
use crate::units::{Builder, UnitsError};

/// The object on the bus, beside that of the units.
pub(super) struct Releases(Units);

impl Releases {
    pub(super) fn new(units: Units) -> Self {
        Self(units)
    }

    /// Admits the caller, checks the names, carries out the verb and logs how it went.
    async fn carry_out<T>(
        &self,
        verb: &str,
        (process, name): (&str, &str),
        (header, bus): (&Header<'_>, &Connection),
        act: impl AsyncFnOnce(&Builder, &ProcessName, &ReleaseName) -> Result<T, UnitsError>,
    ) -> Result<T, UnitsError> {
        let _call = self.0.calls.enter().await;
        self.0.admit(header, bus).await?;
        let (process, name) = request::release(process, name)?;
        let result = act(&self.0.builder, &process, &name).await;
        match &result {
            Ok(_) => {
                log::info!(TENEMENT_PROCESS = process.as_str(); "{verb} {process} {name}: done")
            }
            Err(error) => {
                log::warn!(TENEMENT_PROCESS = process.as_str(); "{verb} {process} {name}: {error}")
            }
        }
        result
    }
}

#[zbus::interface(name = "org.tenement.Releases1")]
impl Releases {
    /// Makes a release of a tar file; what the build prints goes into `output`. Answers with bytes, entries, digest.
    async fn make(
        &self,
        process: &str,
        name: &str,
        tarball: OwnedFd,
        output: OwnedFd,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] bus: &Connection,
    ) -> Result<(u64, u64, String), UnitsError> {
        let act = async |builder: &Builder, process: &ProcessName, name: &ReleaseName| {
            builder.make_release(process, name, tarball.into(), output.into()).await
        };
        let sealed = self.carry_out("make", (process, name), (&header, bus), act).await?;
        Ok((sealed.bytes, sealed.files, sealed.digest))
    }

    /// Deletes a release, or ends its build.
    async fn remove(
        &self,
        process: &str,
        name: &str,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] bus: &Connection,
    ) -> Result<(), UnitsError> {
        let act = async |builder: &Builder, process: &ProcessName, name: &ReleaseName| {
            builder.remove_release(process, name).await
        };
        self.carry_out("remove", (process, name), (&header, bus), act).await
    }

    /// Releases that lie on disk: process and name.
    async fn list(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] bus: &Connection,
    ) -> Result<Vec<(String, String)>, UnitsError> {
        let _call = self.0.calls.enter().await;
        self.0.admit(&header, bus).await?;
        let found = self.0.builder.releases().await?;
        Ok(found.into_iter().map(|(p, name)| (p.to_string(), name.to_string())).collect())
    }
}
