//! One pair of units, played by a task: a socket that starts its service, and the service's app.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tenement_agent::config::Listen;
use tenement_agent::flows::Instance;
use tenement_agent::flows::host::{Active, Units};
use tenement_agent::flows::observe::{Report, Unit};
use tenement_agent::upstream::Target;
use tenement_wire::InstanceName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::fake::{App, FakeHost};
use super::poll::takes;

/// What systemd can be told to do with a pair.
pub enum Command {
    /// Start the service.
    Start(oneshot::Sender<()>),
    /// Start the service with the flag there.
    Park(oneshot::Sender<()>),
    /// Stop the service.
    Stop(oneshot::Sender<()>),
    /// Stop both and unload them.
    Unload(oneshot::Sender<()>),
}

/// `RestartSec=` of systemd where a unit sets none.
const RESTART_SEC: Duration = Duration::from_millis(100);

pub struct Pair {
    host: FakeHost,
    name: InstanceName,
    fd: bool,
    target: Target,
    trigger: UnixListener,
    /// Connections that wait in the socket's queue.
    queue: Vec<UnixStream>,
    units: Arc<Mutex<Units>>,
    app: JoinSet<()>,
    serving: bool,
    again: bool,
}

impl Pair {
    pub fn bind(
        host: FakeHost,
        instance: &Instance,
        units: Arc<Mutex<Units>>,
    ) -> std::io::Result<Self> {
        let setup = instance.setup().clone();
        let Target::Unix(path) = &setup.trigger else { panic!("a trigger is a unix socket") };
        let trigger = bind(path)?;
        units.lock().unwrap().socket = Active::Active;
        Ok(Self {
            host,
            name: instance.name.clone(),
            fd: setup.definition.listen == Listen::Fd,
            // In mode `own`, these apps take the port.
            target: setup.alternative.clone().unwrap_or_else(|| setup.target.clone()),
            trigger,
            queue: Vec::new(),
            units,
            app: JoinSet::new(),
            serving: false,
            again: false,
        })
    }

    pub async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Start(done)) => {
                        self.start().await;
                        let _ = done.send(());
                    }
                    Some(Command::Park(done)) => {
                        self.park().await;
                        let _ = done.send(());
                    }
                    Some(Command::Stop(done)) => {
                        self.stop().await;
                        let _ = done.send(());
                        self.wake_for_queue().await;
                    }
                    Some(Command::Unload(done)) => {
                        self.stop().await;
                        self.units.lock().unwrap().socket = Active::Absent;
                        self.report(Unit::Socket, Active::Absent, false);
                        let _ = done.send(());
                        return;
                    }
                    None => return,
                },
                Ok((stream, _)) = self.trigger.accept() => {
                    if self.fd && self.serving {
                        self.app.spawn(answer(stream, self.host.clone()));
                    } else {
                        self.queue.push(stream);
                        self.unpark().await;
                        self.start().await;
                    }
                }
                () = takes(RESTART_SEC), if self.again => self.start().await,
            }
        }
    }

    fn service(&self) -> Active {
        self.units.lock().unwrap().service
    }

    fn set(&self, active: Active, auto_restart: bool) {
        self.units.lock().unwrap().service = active;
        self.report(Unit::Service, active, auto_restart);
    }

    fn report(&self, unit: Unit, active: Active, auto_restart: bool) {
        let parked = unit == Unit::Service && self.units.lock().unwrap().parked;
        let report = Report::of(self.name.clone(), unit, active);
        self.host.report(Report { auto_restart, parked, ..report });
    }

    /// The stub starts; it waits unless a connection does.
    async fn park(&mut self) {
        if !self.host.parks() || !self.queue.is_empty() {
            return self.start().await;
        }
        if matches!(self.service(), Active::Active | Active::Activating) {
            return;
        }
        self.host.counted("parked");
        self.set(Active::Activating, false);
        // Type=exec: it is active before it has said anything.
        self.set(Active::Active, false);
        self.units.lock().unwrap().parked = true;
        self.set(Active::Active, false);
    }

    /// The stub becomes the app, of which systemd only hears that it is not parked any more.
    async fn unpark(&mut self) {
        if !std::mem::take(&mut self.units.lock().unwrap().parked) {
            return;
        }
        self.host.counted("unparked");
        self.set(Active::Active, false);
        match self.host.app_of(&self.name) {
            App::Serves(after) => {
                takes(after).await;
                self.serve().await;
            }
            App::DiesBadly => self.serve().await,
            App::Mute => {}
            App::Crashes => {
                self.set(Active::Activating, true);
                self.again = true;
            }
            App::Exits => {
                self.ended().await;
                self.again = !self.queue.is_empty();
            }
        }
    }

    async fn start(&mut self) {
        let again = std::mem::take(&mut self.again);
        if !again && matches!(self.service(), Active::Active | Active::Activating) {
            return;
        }
        self.host.counted("up");
        self.set(Active::Activating, false);
        match self.host.app_of(&self.name) {
            App::Serves(after) => {
                takes(after).await;
                self.serve().await;
            }
            App::DiesBadly => self.serve().await,
            App::Mute => self.set(Active::Active, false),
            App::Crashes => {
                self.set(Active::Active, false);
                self.set(Active::Activating, true);
                self.again = true;
            }
            App::Exits => {
                self.set(Active::Active, false);
                self.ended().await;
                self.again = !self.queue.is_empty();
            }
        }
    }

    async fn serve(&mut self) {
        self.serving = true;
        if self.fd {
            for stream in self.queue.drain(..) {
                self.app.spawn(answer(stream, self.host.clone()));
            }
        } else {
            match &self.target {
                Target::Unix(path) => {
                    let listener = bind(path).unwrap();
                    let host = self.host.clone();
                    self.app.spawn(async move {
                        let mut open = JoinSet::new();
                        while let Ok((stream, _)) = listener.accept().await {
                            open.spawn(answer(stream, host.clone()));
                        }
                    });
                }
                Target::Tcp(address) => {
                    let listener = TcpListener::bind(address).await.unwrap();
                    let host = self.host.clone();
                    self.app.spawn(async move {
                        let mut open = JoinSet::new();
                        while let Ok((stream, _)) = listener.accept().await {
                            open.spawn(answer(stream, host.clone()));
                        }
                    });
                }
            }
        }
        self.set(Active::Active, false);
    }

    async fn stop(&mut self) {
        self.again = false;
        if self.service() == Active::Absent || self.service() == Active::Inactive {
            return;
        }
        self.units.lock().unwrap().parked = false;
        self.set(Active::Deactivating, false);
        if self.host.app_of(&self.name) == App::DiesBadly {
            self.set(Active::Failed, false);
        }
        self.ended().await;
    }

    async fn ended(&mut self) {
        self.serving = false;
        // To its end, so that its port is free.
        self.app.shutdown().await;
        if !self.fd {
            // `FlushPending=yes`
            self.queue.clear();
        }
        self.set(Active::Inactive, false);
    }

    async fn wake_for_queue(&mut self) {
        if !self.queue.is_empty() {
            self.start().await;
        }
    }
}

fn bind(path: &Path) -> std::io::Result<UnixListener> {
    std::fs::create_dir_all(path.parent().unwrap())?;
    let _ = std::fs::remove_file(path);
    UnixListener::bind(path)
}

/// Gives a byte for a byte, and to a health check the status that the host is told to give.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, host: FakeHost) {
    let mut byte = [0];
    while stream.read_exact(&mut byte).await.is_ok() {
        if byte == *b"G" {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).await.is_ok() {
                head.push(byte[0]);
            }
            host.counted("check");
            let head = format!("HTTP/1.1 {} x\r\ncontent-length: 0\r\n\r\n", host.status());
            let _ = stream.write_all(head.as_bytes()).await;
            return;
        }
        if stream.write_all(b"a").await.is_err() {
            return;
        }
    }
}
