//! Spans and the access log: begun, replaced and ended as the config says.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::access::AccessLog;
use crate::config::{AccessMode, Config, Tracing};
use crate::flows::agent::Agent;
use crate::flows::edge::Edge;
use crate::otlp::{Exporter, Target};
use crate::proxy::{Proxy, Tracer};

/// How long the agent's end waits for the collector, and for the journal.
const SPANS_BOUND: Duration = Duration::from_secs(3);
const LINES_BOUND: Duration = Duration::from_secs(1);

/// What the proxy watches, and for whom.
pub(super) struct Watching {
    pub(super) proxy: Arc<Proxy<Arc<Agent<Edge>>>>,
    now: Mutex<Now>,
}

#[derive(Debug, Default)]
struct Now {
    config: Option<Tracing>,
    tracer: Option<Arc<Tracer>>,
    access: Option<Arc<AccessLog>>,
}

impl Watching {
    pub(super) fn new(proxy: Arc<Proxy<Arc<Agent<Edge>>>>) -> Self {
        Self { proxy, now: Mutex::default() }
    }

    /// A config is in force. What can't be begun is said, and requests are served without it.
    pub(super) fn adopt(&self, config: &Config) {
        let mut now = self.now();
        if now.config != config.settings.tracing {
            // The old way ends with the last request that goes it, and sends what waits before.
            now.config.clone_from(&config.settings.tracing);
            now.tracer = now.config.as_ref().and_then(|tracing| {
                let counts = self.proxy.counters.spans.clone();
                let exporter = Exporter::start(target(tracing), counts);
                let said = exporter.inspect_err(|error| log::error!("no spans are sent: {error}"));
                Some(Arc::new(Tracer::new(said.ok()?, tracing)))
            });
        }
        let wanted = config.processes.values().any(|one| one.access.mode != AccessMode::Off);
        if !wanted {
            now.access = None;
        } else if now.access.is_none() {
            let log = AccessLog::start(self.proxy.counters.access.clone());
            let said = log.inspect_err(|error| log::error!("no access log is written: {error}"));
            now.access = said.ok().map(Arc::new);
        }
        self.proxy.watch.set(now.tracer.clone(), now.access.clone());
    }

    /// Sends and writes what waits, within bounds.
    pub(super) async fn close(&self) {
        let Now { tracer, access, .. } = std::mem::take(&mut *self.now());
        let spans = async {
            if let Some(tracer) = tracer {
                tracer.exporter().close(SPANS_BOUND).await;
            }
        };
        let lines = async {
            if let Some(access) = access {
                access.close(LINES_BOUND).await;
            }
        };
        tokio::join!(spans, lines);
    }

    fn now(&self) -> std::sync::MutexGuard<'_, Now> {
        // A panic while it was held leaves nothing half done that matters.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn target(tracing: &Tracing) -> Target {
    Target {
        endpoint: tracing.endpoint.clone(),
        headers_file: tracing.headers_file.clone(),
        timeout: tracing.timeout,
        service_name: tracing.service_name.clone(),
        host_name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
    }
}
