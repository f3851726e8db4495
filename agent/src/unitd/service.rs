//! `org.tenement.Units1`.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tenement_wire::InstanceName;
use zbus::OwnedFd;
use zbus::message::Header;
use zbus::names::OwnedUniqueName;
use zbus::{Connection, fdo};

use super::calls::Calls;
use super::order;
use super::request::{self, With};
use crate::units::{Builder, UnitsError, user_id};

/// The user that the agent runs as.
const AGENT_USER: &str = "tenement";

/// The object on the bus.
pub(super) struct Units {
    pub(super) builder: Builder,
    etc: PathBuf,
    pub(super) calls: Calls,
    /// The last caller that was let in. Unique names are never given twice on one bus.
    known: Mutex<Option<OwnedUniqueName>>,
}

impl Units {
    pub(super) fn new(builder: Builder, etc: &Path, calls: Calls) -> Self {
        Self { builder, etc: etc.to_owned(), calls, known: Mutex::new(None) }
    }

    /// The D-Bus policy lets nobody else in; this holds even if somebody loosens that.
    pub(super) async fn admit(
        &self,
        header: &Header<'_>,
        bus: &Connection,
    ) -> Result<(), UnitsError> {
        let refused = || UnitsError::Refused("only root and user tenement may ask".into());
        let sender = header.sender().ok_or_else(refused)?;
        let known =
            |units: &Self| units.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if known(self).is_some_and(|name| name.as_str() == sender.as_str()) {
            return Ok(());
        }
        let proxy = fdo::DBusProxy::new(bus).await.map_err(|_| refused())?;
        let uid =
            proxy.get_connection_unix_user(sender.clone().into()).await.map_err(|_| refused())?;
        if !request::may_call(uid, user_id(&self.etc, AGENT_USER)) {
            log::warn!(CALLER_UID = uid; "refused a call");
            return Err(refused());
        }
        let mut slot = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(sender.to_owned().into());
        Ok(())
    }

    /// Admits the caller, checks the names, carries out the verb and logs how it went.
    pub(super) async fn carry_out<T>(
        &self,
        verb: &str,
        (process, id): (&str, &str),
        (header, bus): (&Header<'_>, &Connection),
        act: impl AsyncFnOnce(&Builder, &InstanceName) -> Result<T, UnitsError>,
    ) -> Result<T, UnitsError> {
        let _call = self.calls.enter().await;
        self.admit(header, bus).await?;
        let name = request::instance(process, id)?;
        let result = act(&self.builder, &name).await;
        match &result {
            Ok(_) => log::debug!(
                TENEMENT_PROCESS = process, TENEMENT_INSTANCE = id; "{verb} {name}: done"
            ),
            Err(error) => log::warn!(
                TENEMENT_PROCESS = process, TENEMENT_INSTANCE = id; "{verb} {name}: {error}"
            ),
        }
        result
    }
}

#[zbus::interface(name = "org.tenement.Units1")]
impl Units {
    /// Loads the pair: whether it was made now, its revision, and whether a newer one waits.
    async fn load(
        &self,
        process: &str,
        id: &str,
        with: With,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] bus: &Connection,
    ) -> Result<(bool, String, bool), UnitsError> {
        let with = request::particulars(&with)?;
        let act = async |builder: &Builder, name: &InstanceName| builder.load(name, &with).await;
        let loaded = self.carry_out("load", (process, id), (&header, bus), act).await?;
        Ok((loaded.created, loaded.revision, loaded.stale))
    }

    /// Stops and unloads the pair.
    async fn unload(
        &self,
        process: &str,
        id: &str,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] bus: &Connection,
    ) -> Result<(), UnitsError> {
        let act = async |builder: &Builder, name: &InstanceName| builder.unload(name).await;
        self.carry_out("unload", (process, id), (&header, bus), act).await
    }

    /// Starts the service, loading the pair if need be.
    async fn start(
        &self,
        process: &str,
        id: &str,
        with: With,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] bus: &Connection,
    ) -> Result<(), UnitsError> {
        let with = request::particulars(&with)?;
        let act = async |builder: &Builder, name: &InstanceName| builder.start(name, &with).await;
        self.carry_out("start", (process, id), (&header, bus), act).await
    }

    /// Stops the service and waits until it is down; its socket stays.
    async fn stop(
        &self,
        process: &str,
        id: &str,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] bus: &Connection,
    ) -> Result<(), UnitsError> {
        let act = async |builder: &Builder, name: &InstanceName| builder.stop(name).await;
        self.carry_out("stop", (process, id), (&header, bus), act).await
    }

    /// Stops the service, takes the newest config and starts it.
    async fn restart(
        &self,
        process: &str,
        id: &str,
        with: With,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] bus: &Connection,
    ) -> Result<(), UnitsError> {
        let with = request::particulars(&with)?;
        let act = async |builder: &Builder, name: &InstanceName| builder.restart(name, &with).await;
        self.carry_out("restart", (process, id), (&header, bus), act).await
    }

    /// Forgets that the pair failed and makes its socket listen again.
    async fn reset(
        &self,
        process: &str,
        id: &str,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] bus: &Connection,
    ) -> Result<(), UnitsError> {
        let act = async |builder: &Builder, name: &InstanceName| builder.reset(name).await;
        self.carry_out("reset", (process, id), (&header, bus), act).await
    }

    /// Freezes the service. Answers with a descriptor that thaws it, or with none.
    async fn freeze(
        &self,
        process: &str,
        id: &str,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] bus: &Connection,
    ) -> Result<Vec<zbus::wire::OwnedFd>, UnitsError> {
        let act = async |builder: &Builder, name: &InstanceName| builder.freeze(name).await;
        let switch = self.carry_out("freeze", (process, id), (&header, bus), act).await?;
        Ok(switch.into_iter().map(Into::into).collect())
    }

    /// Thaws the service.
    async fn thaw(
        &self,
        process: &str,
        id: &str,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] bus: &Connection,
    ) -> Result<(), UnitsError> {
        let act = async |builder: &Builder, name: &InstanceName| builder.thaw(name).await;
        self.carry_out("thaw", (process, id), (&header, bus), act).await
    }

    /// Has the kernel take back the service's memory.
    async fn reclaim(
        &self,
        process: &str,
        id: &str,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] bus: &Connection,
    ) -> Result<(), UnitsError> {
        let act = async |builder: &Builder, name: &InstanceName| builder.reclaim(name).await;
        self.carry_out("reclaim", (process, id), (&header, bus), act).await
    }

    /// Unloads the pair and deletes the instance's data.
    async fn purge(
        &self,
        process: &str,
        id: &str,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] bus: &Connection,
    ) -> Result<(), UnitsError> {
        let act = async |builder: &Builder, name: &InstanceName| builder.purge(name).await;
        self.carry_out("purge", (process, id), (&header, bus), act).await
    }

    /// Gives a running service the limits of now; says whether it runs.
    async fn apply(
        &self,
        process: &str,
        id: &str,
        with: With,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] bus: &Connection,
    ) -> Result<bool, UnitsError> {
        let with = request::particulars(&with)?;
        let act = async |builder: &Builder, name: &InstanceName| builder.apply(name, &with).await;
        self.carry_out("apply", (process, id), (&header, bus), act).await
    }

    /// Size of the instance's data, in bytes.
    async fn measure(
        &self,
        process: &str,
        id: &str,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] bus: &Connection,
    ) -> Result<u64, UnitsError> {
        let act = async |builder: &Builder, name: &InstanceName| builder.measure(name).await;
        self.carry_out("measure", (process, id), (&header, bus), act).await
    }

    /// The secrets of an instance: name, bytes on disk, when set (Unix ms), whether encrypted.
    async fn secrets(
        &self,
        process: &str,
        id: &str,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] bus: &Connection,
    ) -> Result<Vec<(String, u64, u64, bool)>, UnitsError> {
        let act = async |builder: &Builder, name: &InstanceName| builder.secrets(name).await;
        let found = self.carry_out("secrets", (process, id), (&header, bus), act).await?;
        let row = |one: tenement_wire::SecretView| {
            (one.name.into(), one.stored_bytes, one.set_ms, one.encrypted)
        };
        Ok(found.into_iter().map(row).collect())
    }

    /// Keeps a secret, whose value is a sealed memfd.
    async fn set_secret(
        &self,
        process: &str,
        id: &str,
        secret: &str,
        value: OwnedFd,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] bus: &Connection,
    ) -> Result<(), UnitsError> {
        let secret = request::secret(secret)?;
        let act = async |builder: &Builder, name: &InstanceName| {
            builder.set_secret(name, &secret, value.into()).await
        };
        self.carry_out("set_secret", (process, id), (&header, bus), act).await
    }

    /// Deletes a secret.
    async fn remove_secret(
        &self,
        process: &str,
        id: &str,
        secret: &str,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] bus: &Connection,
    ) -> Result<(), UnitsError> {
        let secret = request::secret(secret)?;
        let act = async |builder: &Builder, name: &InstanceName| {
            builder.remove_secret(name, &secret).await
        };
        self.carry_out("remove_secret", (process, id), (&header, bus), act).await
    }

    /// Starts a command once as the instance; the object path of its job. It gets no, one (a terminal) or three
    /// descriptors.
    async fn start_task(
        &self,
        process: &str,
        id: &str,
        with: With,
        what: (order::Command, Vec<OwnedFd>),
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] bus: &Connection,
    ) -> Result<String, UnitsError> {
        let with = request::particulars(&with)?;
        let (order, stdio) = (order::order(what.0)?, order::stdio(what.1)?);
        let act = async |builder: &Builder, name: &InstanceName| {
            builder.start_task(name, &with, &order, stdio).await
        };
        self.carry_out("start_task", (process, id), (&header, bus), act).await
    }

    /// Stops a command that was started so, if it runs, and makes systemd forget it.
    async fn end_task(
        &self,
        process: &str,
        id: &str,
        tag: &str,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] bus: &Connection,
    ) -> Result<(), UnitsError> {
        let tag = order::tag_of(tag)?;
        let act = async |builder: &Builder, name: &InstanceName| builder.end_task(name, &tag).await;
        self.carry_out("end_task", (process, id), (&header, bus), act).await
    }

    /// Sends a signal to such a command.
    async fn signal_task(
        &self,
        process: &str,
        id: &str,
        tag: &str,
        signal: i32,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] bus: &Connection,
    ) -> Result<(), UnitsError> {
        let (tag, signal) = (order::tag_of(tag)?, order::signal(signal)?);
        let act = async |builder: &Builder, name: &InstanceName| {
            builder.signal_task(name, &tag, signal).await
        };
        self.carry_out("signal_task", (process, id), (&header, bus), act).await
    }

    /// Makes the timers of the instance as the config has them, or none with `keep` false; whether all is done.
    async fn set_timers(
        &self,
        process: &str,
        id: &str,
        with: With,
        jobs: (bool, Vec<String>),
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] bus: &Connection,
    ) -> Result<bool, UnitsError> {
        let (with, keep) = (request::particulars(&with)?, jobs.0);
        let known = order::jobs(&jobs.1)?;
        let act = async |builder: &Builder, name: &InstanceName| {
            builder.set_timers(name, Some(&with).filter(|_| keep), &known).await
        };
        self.carry_out("set_timers", (process, id), (&header, bus), act).await
    }

    /// Starts a scheduled job of the instance now; the object path of systemd's job.
    async fn start_job(
        &self,
        process: &str,
        id: &str,
        job: &str,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] bus: &Connection,
    ) -> Result<String, UnitsError> {
        let tag = order::job(job)?;
        let act =
            async |builder: &Builder, name: &InstanceName| builder.start_job(name, &tag).await;
        self.carry_out("start_job", (process, id), (&header, bus), act).await
    }

    /// Our loaded units: process, id, unit type, active state.
    async fn list(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] bus: &Connection,
    ) -> Result<Vec<(String, String, String, String)>, UnitsError> {
        let _call = self.calls.enter().await;
        self.admit(&header, bus).await?;
        let row = |unit: crate::systemd::UnitListing| {
            let kind = unit.kind.as_str().to_owned();
            let (process, id) = (unit.name.process().to_string(), unit.name.id().to_string());
            (process, id, kind, unit.active.as_str().to_owned())
        };
        Ok(self.builder.list().await?.into_iter().map(row).collect())
    }
}
