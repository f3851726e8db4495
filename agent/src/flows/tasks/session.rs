//! One command for a caller who talks to it.
//!
//! A task for each direction, so that a signal gets through while nobody reads what the command prints. What is
//! held for the command is bounded by [`WINDOW`], which the caller keeps to; what is held for the caller by the
//! queue of [`Output`].

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tenement_wire::frames::WINDOW;
use tenement_wire::tasks::RunEnd;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::streams::{self, Ends, PIECE, Reader, Terminal, Writer};
use super::{Input, Leash, Output, RunAsk, Session, fresh_tag, refused};
use crate::flows::agent::Agent;
use crate::flows::host::{Host, HostError, TaskRun};
use crate::flows::instance::Instance;
use crate::flows::management::ManageError;
use crate::plan::TaskOrder;

/// Pieces of output that wait for the caller.
const QUEUE: usize = 8;
/// How long nothing more may come after the end until that is believed: systemd has killed all who could still
/// print. A caller who reads slowly gets all of it.
const REST: Duration = Duration::from_secs(2);

/// Starts it.
pub(super) async fn open<H: Host>(
    agent: Arc<Agent<H>>,
    instance: Arc<Instance>,
    ask: RunAsk,
) -> Result<Session, ManageError> {
    let name = &instance.name;
    instance.has_release()?;
    agent.tasks.must_not_be_still(name)?;
    let permit = agent.tasks.runs.clone().try_acquire_owned();
    let permit = permit.map_err(|_| ManageError::TooMany { what: "commands" })?;
    let streams = match ask.terminal {
        Some(size) => streams::terminal(size),
        None => streams::pipes(),
    };
    let (stdio, ends) = streams.map_err(|error| ManageError::Internal(error.into()))?;
    let tag = fresh_tag("run")?;
    let env = ask.env.into_iter().collect();
    let order = TaskOrder { tag: tag.clone(), argv: ask.command, env, timeout: ask.timeout };
    let with = agent.particulars_beside(&instance);
    let leash = Leash::new(&agent, name, tag, &with);
    let run = agent.host.start_task(name, &with, order, stdio).await;
    let run = run.map_err(|error| refused(name, error))?;
    let (input, from_caller) = mpsc::channel(QUEUE);
    let (to_caller, output) = mpsc::channel(QUEUE);
    tokio::spawn(attend(run, leash, ends, from_caller, to_caller, permit));
    Ok(Session { input, output })
}

/// Until the command has ended, or the caller is gone.
async fn attend<H: Host>(
    run: TaskRun,
    mut leash: Leash<H>,
    ends: Ends,
    from_caller: mpsc::Receiver<Input>,
    to_caller: mpsc::Sender<Output>,
    _permit: OwnedSemaphorePermit,
) {
    let Ends { input, output, errors, terminal } = ends;
    // Dropped with this, which ends them.
    let mut readers = JoinSet::new();
    let (over, ended) = watch::channel(false);
    readers.spawn(read(output, to_caller.clone(), Output::Stdout, ended.clone()));
    if let Some(errors) = errors {
        readers.spawn(read(errors, to_caller.clone(), Output::Stderr, ended));
    }
    let mut others = JoinSet::new();
    let held = Arc::new(AtomicUsize::new(0));
    let (bytes, queue) = mpsc::unbounded_channel();
    others.spawn(write(input, queue, held.clone(), to_caller.clone()));
    let listening = listen(&leash, from_caller, bytes, held, terminal);
    let end = tokio::select! {
        end = run => end,
        () = listening => return,
        () = to_caller.closed() => return,
    };
    // Nobody holds our side of the terminal but the readers, so that they see its end.
    drop(others);
    let _ = over.send(true);
    let rest = async { while readers.join_next().await.is_some() {} };
    tokio::select! {
        () = rest => {}
        () = to_caller.closed() => {}
    }
    leash.ended = end.is_ok();
    let _ = to_caller.send(Output::End(told(end))).await;
}

fn told(end: Result<crate::plan::TaskEnd, HostError>) -> RunEnd {
    match end {
        Ok(end) => RunEnd { exit_status: end.exit_status(), result: end.result, error: None },
        Err(error) => {
            let error = Some(error.to_string());
            RunEnd { exit_status: 125, result: "unknown".into(), error }
        }
    }
}

/// Hands on what the command prints, until it can print no more.
async fn read(
    mut from: Reader,
    to: mpsc::Sender<Output>,
    as_what: fn(Bytes) -> Output,
    mut ended: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; PIECE];
    loop {
        let silent = async {
            let _ = ended.wait_for(|ended| *ended).await;
            tokio::time::sleep(REST).await;
        };
        let count = tokio::select! {
            read = from.read(&mut buffer) => read.unwrap_or(0),
            () = silent => 0,
        };
        if count == 0 {
            return;
        }
        let piece = Bytes::copy_from_slice(&buffer[..count]);
        if to.send(as_what(piece)).await.is_err() {
            return;
        }
    }
}

/// Writes what the caller sends, and tells how much was taken. A command that has closed its input takes all.
async fn write(
    mut to: Writer,
    mut queue: mpsc::UnboundedReceiver<Option<Bytes>>,
    held: Arc<AtomicUsize>,
    told: mpsc::Sender<Output>,
) {
    let mut closed = false;
    while let Some(item) = queue.recv().await {
        let Some(bytes) = item else { break };
        closed = closed || to.write(&bytes).await.is_err();
        held.fetch_sub(bytes.len(), Ordering::AcqRel);
        let taken = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        if told.send(Output::Taken(taken)).await.is_err() {
            return;
        }
    }
    to.finish().await;
}

/// Does what the caller says, until the caller is gone or breaks the rules.
async fn listen<H: Host>(
    leash: &Leash<H>,
    mut from: mpsc::Receiver<Input>,
    bytes: mpsc::UnboundedSender<Option<Bytes>>,
    held: Arc<AtomicUsize>,
    terminal: Option<Terminal>,
) {
    let mut signals: Option<JoinHandle<()>> = None;
    let mut over = false;
    while let Some(input) = from.recv().await {
        match input {
            Input::Stdin(piece) if piece.is_empty() || over => {}
            Input::Stdin(piece) => {
                if held.fetch_add(piece.len(), Ordering::AcqRel) + piece.len() > WINDOW {
                    log::warn!("{}: a caller sent more input than it may", leash.name);
                    return;
                }
                let _ = bytes.send(Some(piece));
            }
            Input::StdinEnd if over => {}
            Input::StdinEnd => {
                over = true;
                let _ = bytes.send(None);
            }
            Input::Resize(size) => {
                if let Some(terminal) = &terminal
                    && let Err(error) = terminal.resize(size)
                {
                    log::debug!("{}: the size of a terminal: {error}", leash.name);
                }
            }
            Input::Signal(number) => {
                // One after the other, in their order.
                if let Some(before) = signals.take() {
                    let _ = before.await;
                }
                let (agent, name, tag) =
                    (leash.agent.clone(), leash.name.clone(), leash.tag.clone());
                signals = Some(tokio::spawn(async move {
                    if let Err(error) = agent.host.signal_task(&name, &tag, number).await {
                        log::debug!("{name}: signal {number} to {tag}: {error}");
                    }
                }));
            }
        }
    }
}
