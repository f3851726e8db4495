//! What goes to and fro while a command runs.

use std::io::{self, Read as _, Write as _};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use tenement_wire::frames::{self, ALIVE_S, Decoder, Frame, Kind, WINDOW};
use tenement_wire::tasks::RunEnd;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, timeout_at};

use super::terminal;
use crate::client::{Agent, Duplex};
use crate::error::{CliError, Kind as Failure, Result};

/// Read at once.
const PIECE: usize = 32 * 1024;
/// Pieces that wait for our standard output.
const QUEUE: usize = 8;
const HEARTBEAT: Duration = Duration::from_secs(ALIVE_S);
/// An agent that says nothing for so long is gone: it says something every 15 s.
const SILENCE: Duration = Duration::from_secs(4 * ALIVE_S);
/// What `head` leaves behind of a program that goes on writing: 128 and SIGPIPE.
const BROKEN_PIPE: u8 = 141;

/// Signals that are passed on, while there is no terminal whose keys do it.
const PASSED_ON: [SignalKind; 6] = [
    SignalKind::interrupt(),
    SignalKind::quit(),
    SignalKind::terminate(),
    SignalKind::hangup(),
    SignalKind::user_defined1(),
    SignalKind::user_defined2(),
];

/// Something of ours happened.
enum Event {
    Frame(Result<Option<Frame>>),
    /// Of standard input; empty at its end.
    Input(Bytes),
    Written(bool),
    Signal(i32),
    Resized,
    Beat,
}

struct Talk<'a> {
    agent: &'a Agent,
    duplex: Duplex,
    decoder: Decoder,
    input: Option<mpsc::Receiver<Bytes>>,
    /// Bytes of input that may still be sent.
    window: usize,
    output: mpsc::Sender<(bool, Bytes)>,
    pending: Option<(bool, Bytes)>,
    heard: Instant,
}

/// Passes everything on until the command has ended.
pub(super) async fn until_the_end(agent: &Agent, duplex: Duplex, tty: bool) -> Result<RunEnd> {
    let (output, printed) = mpsc::channel(QUEUE);
    let printer = std::thread::spawn(move || print(printed));
    let mut talk = Talk {
        agent,
        duplex,
        decoder: Decoder::default(),
        input: Some(reader()),
        window: WINDOW,
        output,
        pending: None,
        heard: Instant::now(),
    };
    let end = talk.go(tty).await;
    let Talk { output, pending, .. } = talk;
    if let (Ok(_), Some(last)) = (&end, pending) {
        let _ = output.send(last).await;
    }
    drop(output);
    finish(printer, end).await
}

/// Lets what is left be printed.
async fn finish(printer: JoinHandle<()>, end: Result<RunEnd>) -> Result<RunEnd> {
    if end.is_ok() {
        let _ = tokio::task::spawn_blocking(move || printer.join()).await;
    }
    end
}

impl Talk<'_> {
    async fn go(&mut self, tty: bool) -> Result<RunEnd> {
        let mut signals = Signals::new(tty);
        let mut resized = tty.then(|| signal(SignalKind::window_change()).ok()).flatten();
        let mut beat = interval(HEARTBEAT);
        loop {
            let event = self.next(&mut signals, &mut resized, &mut beat).await;
            match event {
                Event::Frame(frame) => {
                    let Some(frame) = frame? else { return Err(cut_off()) };
                    if let Some(end) = self.take(frame)? {
                        return Ok(end);
                    }
                }
                Event::Input(bytes) if bytes.is_empty() => {
                    self.input = None;
                    self.send(Kind::StdinEnd, &[]).await?;
                }
                Event::Input(bytes) => {
                    self.window -= bytes.len();
                    self.send(Kind::Stdin, &bytes).await?;
                }
                Event::Written(true) => {}
                Event::Written(false) => {
                    let result = "success".into();
                    return Ok(RunEnd { exit_status: BROKEN_PIPE, result, error: None });
                }
                Event::Signal(number) => {
                    self.send(Kind::Signal, &[u8::try_from(number).unwrap_or(15)]).await?;
                }
                Event::Resized => {
                    if let Some(size) = terminal::size() {
                        self.send(Kind::Resize, &frames::of_size(size)).await?;
                    }
                }
                Event::Beat => self.send(Kind::Alive, &[]).await?,
            }
        }
    }

    /// Waits for whatever comes first. Input is read only while it may be sent, frames only while what came before
    /// is with the printer: so everything that waits is bounded.
    async fn next(
        &mut self,
        signals: &mut Signals,
        resized: &mut Option<Signal>,
        beat: &mut tokio::time::Interval,
    ) -> Event {
        let room = self.window >= PIECE;
        let output = &self.output;
        let pending = &mut self.pending;
        let is_pending = pending.is_some();
        let agent = self.agent;
        tokio::select! {
            permit = output.reserve(), if is_pending => match (permit, pending.take()) {
                (Ok(permit), Some(piece)) => {
                    permit.send(piece);
                    Event::Written(true)
                }
                _ => Event::Written(false),
            },
            frame = frame(agent, &mut self.duplex, &mut self.decoder, &mut self.heard), if !is_pending => {
                Event::Frame(frame)
            }
            bytes = input(&mut self.input), if room => Event::Input(bytes),
            number = signals.next() => Event::Signal(number),
            () = changed(resized) => Event::Resized,
            _ = beat.tick() => Event::Beat,
        }
    }

    /// Does what a frame says; the end, if it was the last.
    fn take(&mut self, frame: Frame) -> Result<Option<RunEnd>> {
        match frame.kind {
            Kind::Stdout => self.pending = Some((false, frame.payload.into())),
            Kind::Stderr => self.pending = Some((true, frame.payload.into())),
            Kind::Taken => {
                let taken = frames::number(&frame.payload).unwrap_or(0) as usize;
                self.window = (self.window + taken).min(WINDOW);
            }
            Kind::End => {
                let end = serde_json::from_slice(&frame.payload);
                return end.map(Some).map_err(|e| odd(&e.to_string()));
            }
            _ => {}
        }
        Ok(None)
    }

    async fn send(&mut self, kind: Kind, payload: &[u8]) -> Result<()> {
        // When the request can't be sent any more, the answer's end says why.
        let _ = self.duplex.to.send(frames::encode(kind, payload).into()).await;
        Ok(())
    }
}

/// The next frame of the agent.
async fn frame(
    agent: &Agent,
    duplex: &mut Duplex,
    decoder: &mut Decoder,
    heard: &mut Instant,
) -> Result<Option<Frame>> {
    loop {
        if let Some(frame) = decoder.next_frame().map_err(|e| odd(&e.to_string()))? {
            return Ok(Some(frame));
        }
        match timeout_at(*heard + SILENCE, duplex.from.frame()).await {
            Err(_) => {
                let detail = format!("the agent said nothing for {} s", SILENCE.as_secs());
                let hint = "see how it is: ten doctor";
                return Err(CliError::new(Failure::TimedOut, "no_answer", detail, hint));
            }
            Ok(None) => return Ok(None),
            Ok(Some(Err(error))) => return Err(agent.broke(&error)),
            Ok(Some(Ok(piece))) => {
                *heard = Instant::now();
                if let Ok(bytes) = piece.into_data() {
                    decoder.push(&bytes);
                }
            }
        }
    }
}

fn odd(what: &str) -> CliError {
    CliError::failure(
        format!("the agent's answer can't be understood: {what}"),
        "ten and tenementd may be of different versions: compare them with ten version",
    )
}

fn cut_off() -> CliError {
    CliError::new(
        Failure::Unreachable,
        "broken_connection",
        "the connection to the agent ended before the command did; the command is stopped",
        "see how the agent is: ten doctor",
    )
}

async fn input(from: &mut Option<mpsc::Receiver<Bytes>>) -> Bytes {
    match from {
        Some(from) => from.recv().await.unwrap_or_default(),
        None => std::future::pending().await,
    }
}

async fn changed(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Signals that we get for the command.
struct Signals(Vec<(i32, Signal)>);

impl Signals {
    /// With a terminal, Ctrl-C is a key; what ends us ends the connection, and that the command.
    fn new(tty: bool) -> Self {
        let kinds = PASSED_ON.into_iter().filter(|kind| !tty || *kind != SignalKind::interrupt());
        Self(kinds.filter_map(|kind| Some((kind.as_raw_value(), signal(kind).ok()?))).collect())
    }

    async fn next(&mut self) -> i32 {
        std::future::poll_fn(|cx| {
            for (number, signal) in &mut self.0 {
                if signal.poll_recv(cx).is_ready() {
                    return std::task::Poll::Ready(*number);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}

/// Reads standard input in a thread, which ends with this program: nothing interrupts a read.
fn reader() -> mpsc::Receiver<Bytes> {
    let (to, from) = mpsc::channel(1);
    std::thread::spawn(move || {
        let (mut input, mut buffer) = (io::stdin(), vec![0; PIECE]);
        loop {
            let count = match input.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.unwrap_or(0),
            };
            if to.blocking_send(Bytes::copy_from_slice(&buffer[..count])).is_err() || count == 0 {
                return;
            }
        }
    });
    from
}

/// Prints in a thread, so that a signal is passed on while nobody reads what we print.
fn print(mut from: mpsc::Receiver<(bool, Bytes)>) {
    while let Some((is_error, bytes)) = from.blocking_recv() {
        let written = match is_error {
            true => io::stderr().write_all(&bytes),
            false => {
                let mut out = io::stdout().lock();
                out.write_all(&bytes).and_then(|()| out.flush())
            }
        };
        if written.is_err() {
            return;
        }
    }
}
