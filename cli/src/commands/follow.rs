//! A stream of the agent's, taken up again where it broke when the agent restarts.

use std::thread::sleep;
use std::time::Duration;

use crate::client::Agent;
use crate::error::{CliError, Kind, Result};
use crate::output::Output;

/// Silence after which a connection counts as dead: the agent says something every 15 s.
const SILENCE: Duration = Duration::from_secs(45);
/// Pauses between tries to reach an agent that restarts.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// What the last event began to say.
#[derive(Default)]
struct Reader {
    last: Option<String>,
    event: String,
}

/// Hands the name (empty for most) and the data of each event to `take`, until Ctrl-C.
pub fn run(
    agent: &Agent,
    out: Output,
    path: &str,
    after: Option<String>,
    take: &mut dyn FnMut(&str, &str) -> Result<()>,
) -> Result<()> {
    let mut reader = Reader { last: after, ..Reader::default() };
    let (mut connected, mut pause) = (false, PAUSE);
    loop {
        let resume = reader.last.clone();
        let mut heard = false;
        let ended = agent.lines(path, resume.as_deref(), Some(SILENCE), &mut |line| {
            heard = true;
            reader.take(line, take)
        });
        connected |= heard;
        match ended {
            Err(error) if !connected || !passes(&error) => return Err(error),
            _ => {}
        }
        if heard {
            out.say("the agent went away; waiting for it");
            pause = PAUSE;
        }
        sleep(pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Whether it is worth trying again.
fn passes(error: &CliError) -> bool {
    matches!(error.kind, Kind::Unreachable | Kind::TimedOut)
}

impl Reader {
    /// One line of an event stream.
    fn take(&mut self, line: &str, take: &mut dyn FnMut(&str, &str) -> Result<()>) -> Result<()> {
        let (field, value) = line.split_once(": ").unwrap_or((line, ""));
        match field {
            "id" => self.last = Some(value.to_owned()),
            "event" => self.event = value.to_owned(),
            "data" => take(&self.event, value)?,
            "" => self.event.clear(),
            _ => {}
        }
        Ok(())
    }
}
