//! `hello-static`: a web app that starts in under a millisecond and can be asked to misbehave.
//!
//! ```text
//! hello-static [--socket PATH | --port N] [--id TEXT] [--start-delay MS] [--label TEXT...]
//! ```
//! It listens where `LISTEN_FDS` says, else at `--socket`, `--port`, `$SOCKET` or `$PORT`. One thread for
//! each connection; on SIGTERM it takes no more connections, finishes open requests, and exits with 0.
//! [`answers`] lists what it can be asked. It is no example of a good web server: it trusts its client.

mod answers;
mod greedy;
mod http;
mod listen;

use std::net::TcpStream;
use std::os::fd::FromRawFd;
use std::process::ExitCode;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Small, since 10,000 instances of this may run at once; the I/O buffers live on the heap.
const STACK: usize = 64 * 1024;

/// How many requests are being answered, and a signal for when one has been.
#[derive(Default)]
struct Open {
    count: Mutex<usize>,
    changed: Condvar,
}

/// What the command line asked for.
#[derive(Default)]
struct Options {
    socket: Option<String>,
    port: Option<u16>,
    id: String,
    start_delay: Duration,
}

/// Tells systemd, as sd_notify(3) does.
fn notify(state: &str) {
    if let (Some(path), Ok(socket)) =
        (std::env::var_os("NOTIFY_SOCKET"), std::os::unix::net::UnixDatagram::unbound())
    {
        let _ = socket.send_to(state.as_bytes(), path);
    }
}

fn options() -> Result<Options, String> {
    let mut options = Options { id: "hello".into(), ..Options::default() };
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        // Labels mean nothing; `/env` shows them, which tells how an argument arrived.
        if flag == "--label" {
            break;
        }
        let value = args.next().ok_or(format!("{flag} wants a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{flag} {value}: not a number"));
        match flag.as_str() {
            "--socket" => options.socket = Some(value),
            "--port" => {
                options.port = Some(u16::try_from(number()?).map_err(|err| err.to_string())?);
            }
            "--id" => options.id = value,
            "--status" => notify(&format!("STATUS={value}")),
            "--sleep" => {
                std::thread::sleep(Duration::from_secs(number()?));
                std::process::exit(0);
            }
            "--start-delay" => options.start_delay = Duration::from_millis(number()?),
            _ => return Err(format!("unknown option {flag}")),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let result = options().and_then(|options| {
        // Before any thread exists, so that every thread has SIGTERM blocked and only the poll sees it.
        let signals = listen::sigterm_fd().map_err(|err| format!("signalfd: {err}"))?;
        std::thread::sleep(options.start_delay);
        let listener = listen::listener(options.socket.as_deref(), options.port)
            .map_err(|err| format!("cannot listen: {err}"))?;
        serve(listener, signals, options.id)
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("hello-static: {message}");
            ExitCode::FAILURE
        }
    }
}

fn serve(listener: i32, signals: i32, id: String) -> Result<(), String> {
    let open = Arc::new(Open::default());
    let id: Arc<str> = id.into();
    println!("listening as {id}");
    while listen::wait(listener, signals).map_err(|err| format!("poll: {err}"))? {
        let Some(fd) = listen::accept(listener) else { continue };
        // SAFETY: accept has just made this descriptor, and nothing else owns it. A TcpStream only reads
        // and writes it, which works for a unix socket just as well.
        #[expect(unsafe_code, reason = "one stream type for both kinds of socket")]
        let stream = unsafe { TcpStream::from_raw_fd(fd) };
        let (open, id) = (Arc::clone(&open), Arc::clone(&id));
        let thread = std::thread::Builder::new().stack_size(STACK);
        let spawned = thread.spawn(move || {
            // A client that goes away is no fault of ours.
            let _ = connection(&stream, &open, &id);
        });
        spawned.map_err(|err| format!("cannot start a thread: {err}"))?;
    }
    let mut count = open.count.lock().expect("no thread panics while it counts");
    while *count > 0 {
        count = open.changed.wait(count).expect("no thread panics while it counts");
    }
    Ok(())
}

fn connection(stream: &TcpStream, open: &Open, id: &str) -> std::io::Result<()> {
    // Fails on a unix socket, which has no such delay.
    let _ = stream.set_nodelay(true);
    let mut client = http::Client::new(stream);
    while let Some(request) = client.request()? {
        *open.count.lock().expect("no thread panics while it counts") += 1;
        let result = answers::answer(&mut client, &request, id);
        *open.count.lock().expect("no thread panics while it counts") -= 1;
        open.changed.notify_all();
        if !result? {
            break;
        }
    }
    Ok(())
}
