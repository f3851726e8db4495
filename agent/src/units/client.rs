//! The agent's side of the verbs: over the bus to the helper, or straight to a builder of its own.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tenement_wire::{InstanceName, SecretName, SecretView};
use tokio::sync::Semaphore;
use zbus::proxy::CacheProperties;

use super::interface::{self, Units1Proxy};
use super::{Builder, Loaded, UnitsError, secrets};
use crate::plan::Particulars;
use crate::systemd::Manager;

/// Calls under way at once. With those to systemd on the same connection they stay below the 128
/// that dbus-daemon allows; and stops, which may take minutes, leave room for loads.
const QUICK_CALLS: usize = 32;
const SLOW_CALLS: usize = 48;
/// For calls that wait for no app.
const QUICK_BOUND: Duration = Duration::from_secs(90);
/// The helper has bounds of its own; this one is for a helper that hangs.
const SLOW_BOUND: Duration = Duration::from_secs(2 * 3600);

/// Carries out the verbs; clones share everything.
#[derive(Debug, Clone)]
pub enum Client {
    /// Through tenement-unitd, which the bus starts on the first call.
    Bus(BusClient),
    /// By ourselves: `tenementd --user`.
    Local(Arc<Builder>),
}

/// Calls to the helper, over the connection that [`Manager`] keeps up.
#[derive(Debug, Clone)]
pub struct BusClient(Arc<BusInner>);

#[derive(Debug)]
struct BusInner {
    manager: Manager,
    quick: Semaphore,
    slow: Semaphore,
}

#[derive(Clone, Copy)]
enum Pace {
    Quick,
    Slow,
}

impl BusClient {
    async fn proxy(&self) -> Result<Units1Proxy<'static>, UnitsError> {
        let connection = self.0.manager.connection()?;
        let proxy = Units1Proxy::builder(&connection).cache_properties(CacheProperties::No);
        proxy.build().await.map_err(from_zbus)
    }

    async fn call<T>(
        &self,
        pace: Pace,
        call: impl Future<Output = zbus::Result<T>>,
    ) -> Result<T, UnitsError> {
        let (calls, bound) = match pace {
            Pace::Quick => (&self.0.quick, QUICK_BOUND),
            Pace::Slow => (&self.0.slow, SLOW_BOUND),
        };
        // The semaphores are never closed.
        let _permit = calls.acquire().await;
        match tokio::time::timeout(bound, call).await {
            Ok(result) => result.map_err(from_zbus),
            Err(_) => Err(UnitsError::Timeout("tenement-unitd does not answer".into())),
        }
    }
}

fn from_zbus(error: zbus::Error) -> UnitsError {
    if let zbus::Error::MethodError(name, text, _) = &error
        && let Some(ours) = UnitsError::from_bus(name.as_str(), text.as_deref().unwrap_or_default())
    {
        return ours;
    }
    crate::systemd::SystemdError::from(error).into()
}

impl Client {
    /// A client of the helper, on the connection of `manager`.
    #[must_use]
    pub fn bus(manager: Manager) -> Self {
        let (quick, slow) = (Semaphore::new(QUICK_CALLS), Semaphore::new(SLOW_CALLS));
        Self::Bus(BusClient(Arc::new(BusInner { manager, quick, slow })))
    }

    /// See [`Builder::load`].
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn load(
        &self,
        name: &InstanceName,
        with: &Particulars,
    ) -> Result<Loaded, UnitsError> {
        let (process, id) = parts(name);
        match self {
            Self::Local(builder) => builder.load(name, with).await,
            Self::Bus(bus) => {
                let units = bus.proxy().await?;
                let call = units.load(process, id, interface::with(with));
                let (created, revision, stale) = bus.call(Pace::Quick, call).await?;
                Ok(Loaded { created, revision, stale })
            }
        }
    }

    /// See [`Builder::unload`].
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn unload(&self, name: &InstanceName) -> Result<(), UnitsError> {
        let (process, id) = parts(name);
        match self {
            Self::Local(builder) => builder.unload(name).await,
            Self::Bus(bus) => bus.call(Pace::Slow, bus.proxy().await?.unload(process, id)).await,
        }
    }

    /// See [`Builder::start`].
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn start(&self, name: &InstanceName, with: &Particulars) -> Result<(), UnitsError> {
        let (process, id) = parts(name);
        match self {
            Self::Local(builder) => builder.start(name, with).await,
            Self::Bus(bus) => {
                bus.call(Pace::Slow, bus.proxy().await?.start(process, id, interface::with(with)))
                    .await
            }
        }
    }

    /// See [`Builder::stop`].
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn stop(&self, name: &InstanceName) -> Result<(), UnitsError> {
        let (process, id) = parts(name);
        match self {
            Self::Local(builder) => builder.stop(name).await,
            Self::Bus(bus) => bus.call(Pace::Slow, bus.proxy().await?.stop(process, id)).await,
        }
    }

    /// See [`Builder::restart`].
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn restart(&self, name: &InstanceName, with: &Particulars) -> Result<(), UnitsError> {
        let (process, id) = parts(name);
        match self {
            Self::Local(builder) => builder.restart(name, with).await,
            Self::Bus(bus) => {
                bus.call(Pace::Slow, bus.proxy().await?.restart(process, id, interface::with(with)))
                    .await
            }
        }
    }

    /// See [`Builder::reset`].
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn reset(&self, name: &InstanceName) -> Result<(), UnitsError> {
        let (process, id) = parts(name);
        match self {
            Self::Local(builder) => builder.reset(name).await,
            Self::Bus(bus) => bus.call(Pace::Quick, bus.proxy().await?.reset(process, id)).await,
        }
    }

    /// See [`Builder::freeze`].
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn freeze(&self, name: &InstanceName) -> Result<Option<OwnedFd>, UnitsError> {
        let (process, id) = parts(name);
        match self {
            Self::Local(builder) => builder.freeze(name).await,
            Self::Bus(bus) => {
                let call = bus.proxy().await?;
                let switch = bus.call(Pace::Quick, call.freeze(process, id)).await?;
                Ok(switch.into_iter().next().map(OwnedFd::from))
            }
        }
    }

    /// See [`Builder::thaw`].
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn thaw(&self, name: &InstanceName) -> Result<(), UnitsError> {
        let (process, id) = parts(name);
        match self {
            Self::Local(builder) => builder.thaw(name).await,
            Self::Bus(bus) => bus.call(Pace::Quick, bus.proxy().await?.thaw(process, id)).await,
        }
    }

    /// See [`Builder::reclaim`].
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn reclaim(&self, name: &InstanceName) -> Result<(), UnitsError> {
        let (process, id) = parts(name);
        match self {
            Self::Local(builder) => builder.reclaim(name).await,
            Self::Bus(bus) => bus.call(Pace::Slow, bus.proxy().await?.reclaim(process, id)).await,
        }
    }

    /// See [`Builder::purge`].
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn purge(&self, name: &InstanceName) -> Result<(), UnitsError> {
        let (process, id) = parts(name);
        match self {
            Self::Local(builder) => builder.purge(name).await,
            Self::Bus(bus) => bus.call(Pace::Slow, bus.proxy().await?.purge(process, id)).await,
        }
    }

    /// See [`Builder::apply`].
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn apply(&self, name: &InstanceName, with: &Particulars) -> Result<bool, UnitsError> {
        let (process, id) = parts(name);
        match self {
            Self::Local(builder) => builder.apply(name, with).await,
            Self::Bus(bus) => {
                let units = bus.proxy().await?;
                bus.call(Pace::Quick, units.apply(process, id, interface::with(with))).await
            }
        }
    }

    /// See [`Builder::measure`].
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn measure(&self, name: &InstanceName) -> Result<u64, UnitsError> {
        let (process, id) = parts(name);
        match self {
            Self::Local(builder) => builder.measure(name).await,
            Self::Bus(bus) => bus.call(Pace::Slow, bus.proxy().await?.measure(process, id)).await,
        }
    }
}

impl Client {
    /// See [`Builder::secrets`].
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn secrets(&self, name: &InstanceName) -> Result<Vec<SecretView>, UnitsError> {
        let (process, id) = parts(name);
        let bus = match self {
            Self::Local(builder) => return builder.secrets(name).await,
            Self::Bus(bus) => bus,
        };
        let rows = bus.call(Pace::Quick, bus.proxy().await?.secrets(process, id)).await?;
        let view = |(name, stored_bytes, set_ms, encrypted): (String, _, _, _)| {
            let name = SecretName::new(&name).ok()?;
            Some(SecretView { name, stored_bytes, set_ms, encrypted })
        };
        Ok(rows.into_iter().filter_map(view).collect())
    }

    /// See [`Builder::set_secret`]. The value goes as a descriptor: whoever listens on the bus sees none.
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn set_secret(
        &self,
        name: &InstanceName,
        secret: &SecretName,
        value: &[u8],
    ) -> Result<(), UnitsError> {
        let (process, id) = parts(name);
        let value =
            secrets::sealed(value).map_err(|error| UnitsError::Refused(error.to_string()))?;
        match self {
            Self::Local(builder) => builder.set_secret(name, secret, value).await,
            Self::Bus(bus) => {
                let units = bus.proxy().await?;
                let call = units.set_secret(process, id, secret.as_str(), value.into());
                bus.call(Pace::Quick, call).await
            }
        }
    }

    /// See [`Builder::remove_secret`].
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn remove_secret(
        &self,
        name: &InstanceName,
        secret: &SecretName,
    ) -> Result<(), UnitsError> {
        let (process, id) = parts(name);
        match self {
            Self::Local(builder) => builder.remove_secret(name, secret).await,
            Self::Bus(bus) => {
                let units = bus.proxy().await?;
                bus.call(Pace::Quick, units.remove_secret(process, id, secret.as_str())).await
            }
        }
    }
}

mod archive;
mod releases;
mod tasks;

fn parts(name: &InstanceName) -> (&str, &str) {
    (name.process().as_str(), name.id().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_send<T: Send>(_: impl FnOnce(Client, InstanceName) -> T) {}

    #[test]
    fn every_verb_can_be_spawned() {
        is_send(|client, name| async move { client.load(&name, &Particulars::default()).await });
        is_send(|client, name| async move { client.unload(&name).await });
        is_send(|client, name| async move { client.start(&name, &Particulars::default()).await });
        is_send(|client, name| async move { client.stop(&name).await });
        is_send(|client, name| async move { client.restart(&name, &Particulars::default()).await });
        is_send(|client, name| async move { client.reset(&name).await });
        is_send(|client, name| async move { client.purge(&name).await });
        is_send(|client, name| async move { client.apply(&name, &Particulars::default()).await });
        is_send(|client, name| async move { client.measure(&name).await });
    }
}
