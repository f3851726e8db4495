//! A command that nobody talks to: what it prints at last is kept for the report.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;

use super::streams::PIECE;
use super::{Leash, fresh_tag, refused};
use crate::flows::agent::Agent;
use crate::flows::host::{Host, Stdio};
use crate::flows::instance::Instance;
use crate::flows::management::ManageError;
use crate::plan::{Particulars, TaskEnd, TaskOrder};

/// Bytes that are kept of what a command prints: the last ones.
const KEPT: usize = 16 * 1024;
/// What was printed before the end is read for so long.
const REST: Duration = Duration::from_secs(2);

/// How a command ended, and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub end: TaskEnd,
    /// The last 16 KiB of what it printed to both of its streams, as text.
    pub output: String,
}

/// Runs `argv` once in `instance`, with the particulars of `with` (such as another release than the instance has),
/// and waits for its end. Without input; its output is kept, and logged nowhere. Dropped before the end, the
/// command is stopped.
///
/// # Errors
/// [`ManageError`] if it could not be started, or if nobody can tell how it ended. A command that failed is no
/// error: see [`TaskEnd::is_success`].
pub async fn run_command<H: Host>(
    agent: &Arc<Agent<H>>,
    instance: &Arc<Instance>,
    with: &Particulars,
    kind: &str,
    argv: Vec<String>,
    timeout: Duration,
) -> Result<Ended, ManageError> {
    let internal = |error: std::io::Error| ManageError::Internal(error.into());
    let (theirs, mut ours) = pipe::pipe().map_err(internal)?;
    let output = theirs.into_blocking_fd().map_err(internal)?;
    let errors = output.try_clone().map_err(internal)?;
    let input = std::fs::File::open("/dev/null").map_err(internal)?.into();
    let tag = fresh_tag(kind)?;
    let order = TaskOrder { tag: tag.clone(), argv, env: Vec::new(), timeout };
    let name = &instance.name;
    let mut leash = Leash::new(agent, name, tag, with);
    let stdio = Stdio::Handed([input, output, errors]);
    let mut run =
        agent.host.start_task(name, with, order, stdio).await.map_err(|e| refused(name, e))?;
    let (mut tail, mut buffer) = (Vec::new(), vec![0; PIECE]);
    let end = loop {
        tokio::select! {
            end = &mut run => break end,
            read = ours.read(&mut buffer) => match read {
                Ok(count @ 1..) => keep(&mut tail, &buffer[..count]),
                Ok(0) | Err(_) => break run.await,
            },
        }
    };
    let rest = async {
        while let Ok(count @ 1..) = ours.read(&mut buffer).await {
            keep(&mut tail, &buffer[..count]);
        }
    };
    let _ = tokio::time::timeout(REST, rest).await;
    leash.ended = end.is_ok();
    let end = end.map_err(|error| refused(name, error))?;
    Ok(Ended { end, output: String::from_utf8_lossy(&tail).into_owned() })
}

fn keep(tail: &mut Vec<u8>, piece: &[u8]) {
    tail.extend_from_slice(piece);
    let over = tail.len().saturating_sub(KEPT);
    tail.drain(..over);
}
