//! A fake agent: HTTP on a unix socket, with canned answers, that remembers what it was asked.
//!
//! It shares no code with the real agent, only the transfer types, so a test here fails when `ten`
//! and the documented API drift apart.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::convert::Infallible;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;

/// What an answer function gets: `GET /api/v1/...` and the body.
pub struct Asked {
    pub line: String,
    pub body: String,
    pub last_event_id: Option<String>,
}

/// A running fake agent; its thread ends with the test process.
pub struct Fake {
    pub dir: TempDir,
    pub socket: PathBuf,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    /// Answers every request with what `answer` says.
    pub fn start(answer: impl Fn(&Asked) -> (u16, Value) + Send + Sync + 'static) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("admin.sock");
        let listener = StdListener::bind(&socket).unwrap();
        listener.set_nonblocking(true).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
            runtime.block_on(accept(listener, Arc::new(answer), seen));
        });
        Self { dir, socket, asked }
    }

    /// Everything asked so far: request line and body.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// Runs `ten` against it.
    pub fn ten(&self, args: &[&str]) -> Run {
        run(ten(self.dir.path()).env("TENEMENT_SOCKET", &self.socket).args(args))
    }
}

type Answer = Arc<dyn Fn(&Asked) -> (u16, Value) + Send + Sync>;

async fn accept(listener: StdListener, answer: Answer, seen: Arc<Mutex<Vec<String>>>) {
    let listener = tokio::net::UnixListener::from_std(listener).unwrap();
    while let Ok((stream, _)) = listener.accept().await {
        let service = service_fn(|request: Request<Incoming>| {
            let (answer, seen) = (answer.clone(), seen.clone());
            async move {
                let line = format!("{} {}", request.method(), request.uri());
                let last_event_id = request.headers().get("last-event-id");
                let last_event_id = last_event_id.map(|id| id.to_str().unwrap().to_owned());
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let body = String::from_utf8_lossy(&body).into_owned();
                let asked = Asked { line, body, last_event_id };
                seen.lock()
                    .unwrap()
                    .push(format!("{} {}", asked.line, asked.body).trim_end().to_owned());
                let (status, value) = answer(&asked);
                // A text is the body itself, such as an event stream.
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let body = Full::new(Bytes::from(text));
                Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
            }
        });
        let io = TokioIo::new(stream);
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
    }
}

/// `ten` with nothing of the tester's own environment that changes what it does.
pub fn ten(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ten"));
    command
        .env_remove("TENEMENT_SOCKET")
        .env_remove("TENEMENTD")
        .env("XDG_RUNTIME_DIR", dir.join("none"))
        .current_dir(dir)
        .stdin(Stdio::null());
    command
}

/// What a run of `ten` did.
pub struct Run {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Run {
    /// Its stdout as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|e| panic!("{e}: stdout {:?}, stderr {:?}", self.out, self.err))
    }

    /// Fails unless it ended with `code`.
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout {:?}, stderr {:?}", self.out, self.err);
        self
    }
}

/// Runs to the end.
pub fn run(command: &mut Command) -> Run {
    let Output { status, stdout, stderr } = command.output().unwrap();
    Run {
        code: status.code().unwrap_or(-1),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

/// An instance as the API shows it.
pub fn view(name: &str, state: &str) -> Value {
    let (process, id) = name.split_once(':').unwrap();
    json!({
        "name": name, "uuid": "7b0e5c0e-0000-4000-8000-000000000001", "state": state, "tier": "running",
        "since_ms": 1_700_000_000_000_u64, "pid": 4711,
        "url": format!("http://{id}.{process}.example.com:8080/"),
        "unit": format!("ten-{process}@{id}.service"), "listen": "fd",
        "address": format!("/run/tenement/{process}/{id}.sock"),
        "data_dir": format!("/var/lib/tenement/{process}/{id}"),
        "in_flight": 2, "last_used_ms": null, "idle_timeout_s": 300, "memory_bytes": 9_961_472,
        "wakes": 3, "last_wake_ms": 12.5, "health": null,
        "service": {
            "active_state": "active", "sub_state": "running", "result": "success", "main_pid": 4711,
            "invocation_id": "0123456789abcdef0123456789abcdef", "since_ms": 1_700_000_000_000_u64,
            "restarts": 2, "exit_code": null, "exit_signal": null,
        },
        "usage": {
            "memory_bytes": 9_961_472, "memory_peak_bytes": 20_971_520, "cpu_us": 1_250_000,
            "tasks": 3, "io_read_bytes": 0, "io_write_bytes": 4096, "ip_in_bytes": null,
            "ip_out_bytes": null,
        },
    })
}

/// An error as the API answers it.
pub fn problem(status: u16, code: &str, detail: &str, hint: &str) -> (u16, Value) {
    (
        status,
        json!({"status": status, "code": code, "detail": detail, "hint": hint, "request_id": "r-1"}),
    )
}
