//! Copies what there is, as far as it goes without waiting.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::{Errno, read};
use rustix::net::{SendFlags, Shutdown, send, shutdown};

use super::link::{Flow, Link};

/// Pieces copied in one go, so that one busy connection leaves the others their turn.
const PIECES: usize = 4;

/// Moves both directions on; whether the connection goes on.
///
/// # Errors
/// When one end is broken: then the connection has to end.
pub(super) fn pump(link: &mut Link, buffer: &mut [u8]) -> io::Result<bool> {
    let Some(app) = &link.app else { return Ok(true) };
    flow(&mut link.up, &link.client, app, buffer)?;
    flow(&mut link.down, app, &link.client, buffer)?;
    // Nobody reads the app's answer any more. Closing tells the app at its next write, as it would
    // learn it with a connection of its own.
    let unread = link.gone && link.up.ended && link.up.held.is_empty();
    Ok(!(unread || link.up.done() && link.down.done()))
}

fn flow(flow: &mut Flow, from: &OwnedFd, to: &OwnedFd, buffer: &mut [u8]) -> io::Result<()> {
    for _ in 0..PIECES {
        if !flow.held.is_empty() {
            let sent = write(to, &flow.held)?;
            flow.held.drain(..sent);
            if !flow.held.is_empty() {
                return Ok(());
            }
            // An idle connection keeps no buffer.
            flow.held = Vec::new();
        }
        if flow.ended {
            break;
        }
        let count = match read(from, &mut *buffer) {
            Ok(0) => {
                flow.ended = true;
                break;
            }
            Ok(count) => count,
            Err(Errno::AGAIN) => return Ok(()),
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        let sent = write(to, &buffer[..count])?;
        flow.held = buffer[sent..count].to_vec();
    }
    if flow.ended && flow.held.is_empty() && !flow.shut {
        flow.shut = true;
        // Its peer may be gone already: then there is nobody to tell.
        let _ = shutdown(to, Shutdown::Write);
    }
    Ok(())
}

/// Writes as much as is taken at once.
fn write(to: &OwnedFd, mut bytes: &[u8]) -> io::Result<usize> {
    let all = bytes.len();
    while !bytes.is_empty() {
        match send(to, bytes, SendFlags::NOSIGNAL) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::AGAIN) => break,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(all - bytes.len())
}
