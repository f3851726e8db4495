//! Metrics: what is counted and measured of the instances, kept for a month and told as it is now.
//!
//! ```text
//! request ─► Meter (atomics in the instance) ─┐
//! reports ─► Awake, Wakes ────────────────────┼─► Book: what changed since the last look ─► a minute's rows ─► Series
//! control groups ─► Used ─────────────────────┘                                         └─► the step under way, rates
//! ```
//! Nothing here wakes an instance or asks systemd, and no request waits for it.

mod awake;
mod book;
mod ip;
mod live;
pub mod meter;
mod record;
mod scrape;
pub mod wakes;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tenement_wire::InstanceName;
use tenement_wire::metrics::{HostLive, MetricsHistory, MetricsLive};
use tokio::sync::Mutex;
use uuid::Uuid;

pub use awake::Awake;
use book::Book;
pub(in crate::flows) use ip::IpBytes;
use live::Looks;
pub use live::Measured;
pub use meter::Meter;
pub use scrape::{InstanceScrape, Runtime, Scrape, Sources};
pub use wakes::{Wakes, Waking};

use crate::store::series::Series;

/// What an agent counts, and where it keeps it.
#[derive(Default)]
pub struct Metrics {
    /// Wakes of all instances.
    pub wakes: Arc<Wakes>,
    /// What others count.
    pub sources: Sources,
    series: OnceLock<Series>,
    book: Mutex<Book>,
    looks: Mutex<Looks>,
}

impl Metrics {
    /// Has what is measured kept in `series`. Set before instances are admitted.
    pub fn keep(&self, series: Series) {
        // Nobody else has set it.
        let _ = self.series.set(series);
    }

    pub(in crate::flows) fn forget(&self, uuid: Uuid) {
        if let Some(series) = self.series.get() {
            series.forget(uuid);
        }
    }

    /// Rows of the history that could not be kept.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.series.get().map_or(0, Series::dropped)
    }
}

/// Which part of the past somebody asks for. Times are Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Whose; None is all together.
    pub instance: Option<InstanceName>,
    /// From when on.
    pub since: u64,
    /// Until when.
    pub until: u64,
    /// How long each step shall be: a multiple of a minute.
    pub step: u64,
}

/// Why there is no answer. Display is what the client reads.
#[derive(Debug, thiserror::Error)]
pub enum FiguresError {
    /// No such instance is registered.
    #[error("there is no instance {0}")]
    NotFound(InstanceName),
    /// The history can't be read.
    #[error("the history of metrics can't be read now")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// This agent measures nothing.
    #[error("this agent keeps no metrics")]
    Off,
}

/// What a caller of [`Figures`] waits for.
pub type Reply<'a, T> = BoxFuture<'a, Result<T, FiguresError>>;

/// What the API needs of the metrics. It holds an `Arc<dyn Figures>`, so that its routes can be tested without
/// an agent.
pub trait Figures: Send + Sync + 'static {
    /// The past, step by step.
    fn history(&self, ask: Ask) -> Reply<'_, MetricsHistory>;

    /// What instances do now. Looked at most once a second: who asks more often gets the same.
    fn live(&self) -> Reply<'_, MetricsLive>;

    /// Everything at once.
    fn scrape(&self) -> Reply<'_, Scrape>;

    /// How busy the host is.
    fn host(&self) -> Reply<'_, HostLive>;
}

/// Metrics of an agent that has none.
#[derive(Debug, Clone, Copy)]
pub struct NoFigures;

impl Figures for NoFigures {
    fn history(&self, _ask: Ask) -> Reply<'_, MetricsHistory> {
        Box::pin(std::future::ready(Err(FiguresError::Off)))
    }

    fn live(&self) -> Reply<'_, MetricsLive> {
        Box::pin(std::future::ready(Err(FiguresError::Off)))
    }

    fn scrape(&self) -> Reply<'_, Scrape> {
        Box::pin(std::future::ready(Err(FiguresError::Off)))
    }

    fn host(&self) -> Reply<'_, HostLive> {
        Box::pin(std::future::ready(Err(FiguresError::Off)))
    }
}

/// How long a look at the instances is good for.
const FRESH: Duration = Duration::from_secs(1);
