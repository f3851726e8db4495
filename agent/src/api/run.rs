//! `POST /instances/{name}/run`: a command in an instance, over one request whose two bodies are streams of frames
//! ([`tenement_wire::frames`]).
//!
//! ```text
//! request body ─► Frames ─► task: Session::input     answer body ◄─ Feed ◄─ Session::output
//! ```
//!
//! Both ends of a session hang on the connection: when the client is gone, or silent for a minute, the command is
//! ended.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use futures_util::{Stream, StreamExt as _, stream};
use http::header::CONTENT_TYPE;
use tenement_wire::frames::{self, ALIVE_S, Decoder, Frame, Kind, MEDIA_TYPE};
use tenement_wire::tasks::{
    ARGV_BYTES_MAX, ARGV_MAX, ENV_BYTES_MAX, ENV_MAX, RunEnd, RunRequest, TIMEOUT_MAX_S, TIMEOUT_S,
    bad_word,
};
use tenement_wire::{FieldError, InstanceName};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use super::input::{Input as Query, object};
use super::problem::Problem;
use super::routes::{Name, collect};
use super::serve::{Stopping, stopped};
use crate::flows::events::{request as request_id, within};
use crate::flows::tasks::{Commands, Input, Output, RunAsk};
use crate::plan::{bad_variable, is_control};

/// From the head of the request to its first frame.
const FIRST: Duration = Duration::from_secs(10);
/// A client that says nothing for so long is gone: it says something every 15 s.
const SILENCE: Duration = Duration::from_secs(4 * ALIVE_S);
const HEARTBEAT: Duration = Duration::from_secs(ALIVE_S);

/// Frames, for the document.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "it is only described")]
struct Frames(Vec<u8>);

/// On an answer, for the event of it: which program was run.
#[derive(Debug, Clone)]
pub(super) struct Program(pub(super) String);

/// The route, below `/api/v1` and `/api`.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(
    commands: Arc<dyn Commands>,
) -> OpenApiRouter<S> {
    OpenApiRouter::new().routes(collect!(run_command)).with_state(commands)
}

/// Run a command once in an instance
///
/// As its user, in its sandbox, with its environment and data, beside the instance, which is not woken. Both bodies
/// are frames: one byte of kind, four bytes of length (big-endian), the payload. The first frame of the request (kind 1)
/// is a RunRequest as JSON, the last of the answer (kind 11) a RunEnd. `docs/API.md` has the others. The
/// command is ended when the connection is.
#[utoipa::path(post, path = "/instances/{name}/run", tag = "instances", security(("token" = ["admin"])),
    params(("name" = InstanceName, Path)),
    request_body(content((inline(Frames) = "application/vnd.tenement.run"), (inline(Frames) = "application/octet-stream"))),
    responses((status = 200, description = "Frames, until the command has ended",
        content_type = "application/vnd.tenement.run", body = inline(Frames))),
    extensions(("x-problems" = json!(["no_release", "start_failed"]))))]
async fn run_command(
    State(commands): State<Arc<dyn Commands>>,
    Name(name): Name,
    stopping: Option<Extension<Stopping>>,
    request: Request,
) -> Result<Response, Problem> {
    Query::of_query(request.uri())?.finish(Some(()))?;
    let mut frames = Incoming::new(request.into_body());
    let first = tokio::time::timeout(FIRST, frames.next()).await;
    let first = match first.map_err(|_| Problem::body_late())? {
        Some(Frame { kind: Kind::Request, payload }) => payload,
        _ => return Err(Problem::malformed("the body does not begin with a frame of kind 1")),
    };
    let ask: RunRequest = serde_json::from_value(object(&first)?.into())
        .map_err(|error| Problem::malformed(format!("the first frame: {error}")))?;
    let ask = checked(ask)?;
    let program = Program(ask.command[0].clone());
    // In a task of its own: should the client hang up now, what was begun must be known to be ended.
    let starting = tokio::spawn(within(request_id(), commands.run(&name, ask)));
    let session = starting.await.map_err(|error| Problem::internal(&error))??;
    let forwarding = tokio::spawn(forward(frames, session.input)).abort_handle();
    let stopping = stopping.map(|Extension(stopping)| stopping);
    let feed = Feed { output: session.output, forwarding, stopping, greeted: false, over: false };
    let body = Body::from_stream(feed.stream());
    Ok(([(CONTENT_TYPE, MEDIA_TYPE)], Extension(program), body).into_response())
}

/// The request with every bad field named.
fn checked(ask: RunRequest) -> Result<RunAsk, Problem> {
    let mut errors = Vec::new();
    let mut wrong = |field: &str, message: String| {
        errors.push(FieldError { field: field.to_owned(), message });
    };
    let words = &ask.command;
    if words.first().is_none_or(|program| program.is_empty() || program.contains(is_control)) {
        wrong("command", "must begin with the name of a program".into());
    }
    if words.len() > ARGV_MAX || words.iter().map(String::len).sum::<usize>() > ARGV_BYTES_MAX {
        wrong("command", format!("has more than {ARGV_MAX} words or {ARGV_BYTES_MAX} bytes"));
    }
    if let Some(why) = words.iter().find_map(|word| bad_word(word)) {
        wrong("command", why.into());
    }
    let bytes: usize = ask.env.iter().map(|(name, value)| name.len() + value.len()).sum();
    if ask.env.len() > ENV_MAX || bytes > ENV_BYTES_MAX {
        wrong("env", format!("has more than {ENV_MAX} variables or {ENV_BYTES_MAX} bytes"));
    }
    for (name, value) in ask.env.iter().take(ENV_MAX) {
        let field: String = format!("env.{name}").chars().take(100).collect();
        if let Some(why) = bad_variable(name) {
            wrong(&field, why.to_owned());
        } else if value.contains(is_control) {
            wrong(&field, "holds a control character".into());
        }
    }
    let timeout_s = ask.timeout_s.unwrap_or(TIMEOUT_S);
    if !(1..=TIMEOUT_MAX_S).contains(&timeout_s) {
        wrong("timeout_s", format!("must be from 1 to {TIMEOUT_MAX_S}"));
    }
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    let RunRequest { command, env, terminal, .. } = ask;
    Ok(RunAsk { command, env, timeout: Duration::from_secs(timeout_s), terminal })
}

/// The frames of a request.
struct Incoming {
    body: BodyDataStream,
    decoder: Decoder,
}

impl Incoming {
    fn new(body: Body) -> Self {
        Self { body: body.into_data_stream(), decoder: Decoder::default() }
    }

    /// The next one; none when the client is gone or sends what is no frame.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.decoder.next_frame().ok()? {
                return Some(frame);
            }
            let bytes = self.body.next().await?.ok()?;
            self.decoder.push(&bytes);
        }
    }
}

/// Hands on what the client sends, until it is gone. What it may not send ends it, and with it the command.
async fn forward(mut frames: Incoming, to: mpsc::Sender<Input>) {
    while let Ok(Some(frame)) = tokio::time::timeout(SILENCE, frames.next()).await {
        let input = match (frame.kind, &*frame.payload) {
            (Kind::Alive, _) => continue,
            (Kind::Stdin, _) => Some(Input::Stdin(frame.payload.into())),
            (Kind::StdinEnd, _) => Some(Input::StdinEnd),
            (Kind::Resize, payload) => frames::size(payload).map(Input::Resize),
            (Kind::Signal, [number]) => Some(Input::Signal(i32::from(*number))),
            _ => None,
        };
        let Some(input) = input else { return };
        if to.send(input).await.is_err() {
            return;
        }
    }
}

/// The answer in the making.
struct Feed {
    output: mpsc::Receiver<Output>,
    forwarding: AbortHandle,
    stopping: Option<Stopping>,
    greeted: bool,
    over: bool,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.forwarding.abort();
    }
}

impl Feed {
    fn stream(self) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
        stream::unfold(self, |mut feed| async move {
            let bytes = feed.next().await?;
            Some((Ok(bytes.into()), feed))
        })
    }

    async fn next(&mut self) -> Option<Vec<u8>> {
        if self.over {
            return None;
        }
        if !std::mem::replace(&mut self.greeted, true) {
            return Some(frames::encode(Kind::Started, &[]));
        }
        let output = tokio::select! {
            biased;
            () = stopped(&mut self.stopping) => None,
            output = self.output.recv() => output,
            () = tokio::time::sleep(HEARTBEAT) => return Some(frames::encode(Kind::Alive, &[])),
        };
        Some(match output {
            Some(Output::Stdout(bytes)) => frames::encode(Kind::Stdout, &bytes),
            Some(Output::Stderr(bytes)) => frames::encode(Kind::Stderr, &bytes),
            Some(Output::Taken(count)) => frames::encode(Kind::Taken, &count.to_be_bytes()),
            Some(Output::End(end)) => self.last(&end),
            None => self.last(&RunEnd {
                exit_status: 125,
                result: "canceled".into(),
                error: Some("the agent stops, and the command with it".into()),
            }),
        })
    }

    fn last(&mut self, end: &RunEnd) -> Vec<u8> {
        self.over = true;
        frames::encode(Kind::End, &serde_json::to_vec(end).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(command: &[&str]) -> RunRequest {
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        RunRequest { command, ..RunRequest::default() }
    }

    #[test]
    fn every_bad_field_of_a_command_is_named() {
        let mut bad = ask(&["", "a\u{1b}"]);
        bad.env.insert("TENEMENT_X".into(), "1".into());
        bad.env.insert("A".into(), "b\nc".into());
        bad.timeout_s = Some(0);
        let problem = checked(bad).unwrap_err();
        let fields: Vec<&str> = problem.api.errors.iter().map(|e| &*e.field).collect();
        assert_eq!(fields, ["command", "command", "env.A", "env.TENEMENT_X", "timeout_s"]);
        assert_eq!(checked(ask(&["sh", "-c", "a\nb"])).unwrap().timeout.as_secs(), TIMEOUT_S);
    }

    #[tokio::test]
    async fn frames_of_a_client_that_is_cut_off_end_what_is_handed_on() {
        let mut bytes = frames::encode(Kind::Stdin, b"abc");
        bytes.extend(frames::encode(Kind::Signal, &[2]));
        bytes.extend(frames::encode(Kind::Stdout, b"not from a client"));
        bytes.extend(frames::encode(Kind::Signal, &[15]));
        let (to, mut from) = mpsc::channel(8);
        forward(Incoming::new(Body::from(bytes)), to).await;
        assert_eq!(from.recv().await, Some(Input::Stdin("abc".into())));
        assert_eq!(from.recv().await, Some(Input::Signal(2)));
        assert_eq!(from.recv().await, None);
    }
}
