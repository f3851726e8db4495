//! `ten top`: what runs on the host, live.
//!
//! ```text
//! feed thread ─ snapshots ─►  loop: keys, snapshots, resize ─► draw
//! hand thread ◄─ wake, sleep ─┘  └ answers of the hand ◄──
//! ```
//! The two threads have a connection of their own each, so that a wake of many seconds holds up nothing. Only the
//! management API is used. Whatever ends the program (a key, SIGTERM, a panic), the terminal is given back as it was.

mod draw;
mod feed;
mod model;
mod once;
#[cfg(test)]
mod tests;

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::signal::unix::{SignalKind, signal};

use self::feed::{Ask, News};
use self::model::{Model, Wish};
use crate::args::Top;
use crate::client::Agent;
use crate::endpoint::Endpoint;
use crate::error::{CliError, Result};
use crate::output::Output;

/// How long a key may wait at most: snapshots and signals are looked for in between.
const TICK: Duration = Duration::from_millis(100);

/// Shows the table once, or the live view.
pub fn run(endpoint: &Endpoint, timeout: Duration, out: Output, args: &Top) -> Result<()> {
    let agent = Agent::new(endpoint.clone(), timeout)?;
    let model = Model::new(args.sort, args.filter.clone().unwrap_or_default());
    let live = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    if args.once || out.json || out.quiet || !live {
        return once::print(&agent, out, model);
    }
    // Before the screen is taken: an agent that is not there is said as any other command says it.
    let first = feed::snapshot(&agent, true)?;
    let (news, incoming) = channel();
    let (asks, asked) = channel();
    let interval = Duration::from_secs(args.interval);
    let own = Agent::new(endpoint.clone(), timeout)?;
    let told = news.clone();
    std::thread::spawn(move || feed::watch(&agent, interval, &told, &asked));
    let (wishes, wished) = channel();
    std::thread::spawn(move || feed::act(&own, &wished, &news));
    let ended = until_signalled()?;
    let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let terminal = ratatui::try_init().map_err(|error| {
        CliError::failure(format!("the terminal can't be used: {error}"), "try ten top --once")
    })?;
    let mut view = View { model, incoming, asks, wishes, ended, colours };
    view.model.take(first);
    let shown = view.run(terminal);
    ratatui::restore();
    shown
}

struct View {
    model: Model,
    incoming: Receiver<News>,
    asks: Sender<Ask>,
    wishes: Sender<Wish>,
    ended: Arc<AtomicBool>,
    colours: bool,
}

impl View {
    fn run(&mut self, mut terminal: DefaultTerminal) -> Result<()> {
        let broken = |error: std::io::Error| {
            CliError::failure(format!("the terminal broke: {error}"), "try ten top --once")
        };
        loop {
            terminal
                .draw(|frame| draw::draw(frame, &mut self.model, self.colours))
                .map_err(broken)?;
            let mut changed = false;
            while !changed {
                if self.ended.load(Ordering::Relaxed) {
                    return Ok(());
                }
                if hung_up(TICK).map_err(broken)? {
                    return Ok(());
                }
                while event::poll(Duration::ZERO).map_err(broken)? {
                    let event = event::read().map_err(broken)?;
                    if let Event::Key(key) = event
                        && key.kind != KeyEventKind::Release
                        && self.key(key)
                    {
                        return Ok(());
                    }
                    changed = true;
                }
                while let Ok(news) = self.incoming.try_recv() {
                    self.model.hear(news);
                    changed = true;
                }
            }
        }
    }

    /// Whether it was the last one.
    fn key(&mut self, key: event::KeyEvent) -> bool {
        let Some(wish) = self.model.key(key) else { return false };
        match &wish {
            Wish::Quit => return true,
            Wish::Logs(of) => drop(self.asks.send(Ask::Logs(of.clone()))),
            Wish::Wake(_) | Wish::Sleep(_) => drop(self.wishes.send(wish)),
        }
        false
    }
}

/// Waits for something to read, at most this long. Whether the terminal is gone: crossterm would read its end
/// again and again.
fn hung_up(bound: Duration) -> std::io::Result<bool> {
    let stdin = std::io::stdin();
    let mut files = [PollFd::new(&stdin, PollFlags::IN)];
    let bound = Timespec::try_from(bound).map_err(std::io::Error::other)?;
    match poll(&mut files, Some(&bound)) {
        Ok(_) => Ok(files[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)),
        // A resized terminal, say.
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A flag that SIGTERM, SIGHUP and SIGINT set: the screen is given back before the program ends.
fn until_signalled() -> Result<Arc<AtomicBool>> {
    let failed = |error: std::io::Error| {
        CliError::failure(format!("can't wait for signals: {error}"), "try ten top --once")
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let ended = Arc::new(AtomicBool::new(false));
    let told = ended.clone();
    let mut signals = {
        let _inside = runtime.enter();
        let of = |kind| signal(kind).map_err(failed);
        (of(SignalKind::terminate())?, of(SignalKind::hangup())?, of(SignalKind::interrupt())?)
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = signals.0.recv() => {}
                _ = signals.1.recv() => {}
                _ = signals.2.recv() => {}
            }
        });
        told.store(true, Ordering::Relaxed);
    });
    Ok(ended)
}
