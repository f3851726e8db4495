//! One connection to the bus, from its making to its end.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use zbus::proxy::CacheProperties;
use zbus::{Connection, MatchRule, MessageStream, connection, fdo};

use super::SystemdError;
use super::jobs::Jobs;
use super::manager::Bus;
use super::proxy::SystemdManagerProxy;
use super::watch::{Decoder, Watchers};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Messages that wait for the draining task, which only ever decodes and hands on.
const QUEUED: NonZeroUsize = NonZeroUsize::new(8192).expect("8192 is not zero");
/// How often a consumer that missed events is offered its Resync.
const OWED_RESYNC: Duration = Duration::from_millis(100);

const UNIT_INTERFACES: [&str; 3] = [
    "org.freedesktop.systemd1.Unit",
    "org.freedesktop.systemd1.Service",
    "org.freedesktop.systemd1.Socket",
];

#[derive(Debug)]
pub(super) struct Link {
    pub(super) connection: Connection,
    pub(super) manager: SystemdManagerProxy<'static>,
    pub(super) jobs: Jobs,
}

/// The receiving end of a connection, for [`drain`].
pub(super) struct Incoming {
    stream: MessageStream,
}

impl Link {
    /// Connects and subscribes: to the ends of jobs, and to the units if `watching`.
    pub(super) async fn open(
        bus: Bus,
        watching: bool,
    ) -> Result<(Arc<Self>, Incoming), SystemdError> {
        let opening = async {
            let builder = match bus {
                Bus::System => connection::Builder::system(),
                Bus::Session => connection::Builder::session(),
            };
            let connection = builder.max_queued(QUEUED).build().await?;
            // The stream exists before the first match rule, so that nothing is missed; nothing
            // but replies can arrive until it is drained.
            let stream = MessageStream::from(&connection);
            let manager = SystemdManagerProxy::builder(&connection)
                .cache_properties(CacheProperties::No)
                .build()
                .await?;
            let link = Arc::new(Self { connection, manager, jobs: Jobs::default() });
            link.add_matches(&[manager_rule("JobRemoved")?, owner_rule()?]).await?;
            if watching {
                link.watch_units().await?;
            }
            link.manager.subscribe().await?;
            Ok((link, Incoming { stream }))
        };
        tokio::time::timeout(CONNECT_TIMEOUT, opening)
            .await
            .unwrap_or_else(|_| Err(SystemdError::Unreachable("connecting took too long".into())))
    }

    /// Asks the bus for the signals that events are made of.
    pub(super) async fn watch_units(&self) -> Result<(), SystemdError> {
        let mut rules = vec![manager_rule("UnitRemoved")?, manager_rule("Reloading")?];
        for interface in UNIT_INTERFACES {
            let rule = MatchRule::builder()
                .msg_type(zbus::message::Type::Signal)
                .sender("org.freedesktop.systemd1")
                .interface("org.freedesktop.DBus.Properties")
                .member("PropertiesChanged")
                .arg(0, interface)
                .build()?;
            rules.push(rule);
        }
        self.add_matches(&rules).await
    }

    async fn add_matches(&self, rules: &[MatchRule<'_>]) -> Result<(), SystemdError> {
        let bus = fdo::DBusProxy::builder(&self.connection)
            .cache_properties(CacheProperties::No)
            .build()
            .await?;
        for rule in rules {
            bus.add_match_rule(rule.clone()).await.map_err(zbus::Error::from)?;
        }
        Ok(())
    }
}

fn manager_rule(member: &'static str) -> Result<MatchRule<'static>, SystemdError> {
    Ok(MatchRule::builder()
        .msg_type(zbus::message::Type::Signal)
        .sender("org.freedesktop.systemd1")
        .interface("org.freedesktop.systemd1.Manager")
        .member(member)
        .build()?)
}

fn owner_rule() -> Result<MatchRule<'static>, SystemdError> {
    Ok(MatchRule::builder()
        .msg_type(zbus::message::Type::Signal)
        .sender("org.freedesktop.DBus")
        .interface("org.freedesktop.DBus")
        .member("NameOwnerChanged")
        .arg(0, "org.freedesktop.systemd1")
        .build()?)
}

/// Reads until the connection ends. Nothing here waits for anything but the stream: an undrained
/// stream stalls the whole connection, replies included.
pub(super) async fn drain(link: &Link, incoming: Incoming, watchers: &Watchers) {
    let mut stream = incoming.stream;
    let mut decoder = Decoder::default();
    let mut owed = false;
    loop {
        let message = tokio::select! {
            message = stream.next() => message,
            () = tokio::time::sleep(OWED_RESYNC), if owed => {
                owed = watchers.send(None);
                continue;
            }
        };
        // The stream yields one error and then ends when the connection is gone.
        let Some(Ok(message)) = message else { break };
        if let Some(event) = decoder.message(&message, &link.jobs) {
            owed = watchers.send(Some(&event));
        }
    }
    link.jobs.fail_all();
}
