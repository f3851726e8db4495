//! Floor 5: the privileged helper that turns names into units.
//!
//! ```text
//!   user tenement ── org.tenement.Units1: verb, process, id, port ──► caller? ─► names? ─► units::Builder
//! ```
//!
//! This interface is the boundary between the process that parses internet traffic and root: whoever
//! may ask systemd for transient units *is* root. So a request is three plain values that are checked
//! as soon as they are read, and nothing else from the caller reaches systemd. Releases come from here too: there
//! the caller hands over a tar file, which is opened by a user of the build's own only.
//!
//! It does *not* read the network, know about requests or waking, or keep state of its own.

mod archive;
mod calls;
#[cfg(test)]
mod hostile;
mod order;
mod releases;
mod request;
mod service;

use std::path::Path;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use zbus::connection;

use crate::systemd::{Bus, Manager};
use crate::units::{Builder, OBJECT_PATH, Place, SERVICE_NAME};
use archive::Archives;
use calls::Calls;
use releases::Releases;
use service::Units;

/// How long verbs that are under way may go on after SIGTERM. Whatever is cut off is repeated by the
/// agent; systemd has the job either way.
const DRAIN: Duration = Duration::from_secs(10);

/// Serves until SIGTERM, SIGINT or the end of the bus connection.
///
/// # Errors
/// If the bus or systemd can't be reached, or the name is taken.
pub async fn run() -> Result<(), Box<dyn std::error::Error>> {
    // Before anything can be asked of us, so that no signal is missed.
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let manager = Manager::connect(Bus::System).await?;
    let builder = Builder::new(manager, Place::system()).await?;
    builder.sweep_restores();
    let calls = Calls::new();
    let etc = Path::new("/etc");
    let releases = Releases::new(Units::new(builder.clone(), etc, calls.clone()));
    let archives = Archives(Units::new(builder.clone(), etc, calls.clone()));
    let units = Units::new(builder, etc, calls.clone());
    let connection = connection::Builder::system()
        .serve_at(OBJECT_PATH, units)
        .serve_at(OBJECT_PATH, releases)
        .serve_at(OBJECT_PATH, archives)
        .name(SERVICE_NAME)
        .build()
        .await?;
    log::info!("ready");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        // The bus starts us again when it is back and somebody calls.
        () = connection.closed() => {
            log::warn!("the bus is gone; ending");
            return Ok(());
        }
    }
    // Without the name, new calls make the bus wait for the next one of us.
    connection.release_name(SERVICE_NAME).await?;
    if !calls.drained(DRAIN).await {
        log::warn!("ending with calls under way");
    }
    connection.graceful_shutdown().await;
    Ok(())
}

/// Reads `data` as a request (parted by `\\0`: process, id, secret, then `limit value`) and holds what came through
/// against its promise: nothing but names and limits in range. For `agent/fuzz`.
///
/// # Panics
/// If the promise is broken.
#[cfg(fuzzing)]
pub fn fuzz_request(data: &[u8]) {
    request::fuzz(data);
}
