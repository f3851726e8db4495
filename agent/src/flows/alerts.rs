//! Alerts: some kinds of events are posted to a webhook.
//!
//! ```text
//!   Events ─ follower ─► one for each instance and kind in a window, the others counted ─► bounded queue ─► post
//!                                                                                              └ back-off ┘
//! ```
//!
//! Nobody waits for it. What could not be delivered is given up after [`TRIES`] tries and is an event itself; alerts that
//! wait when the agent stops are lost, their events are not.

mod calm;
mod deliver;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tenement_wire::alerts::{AlertTried, AlertsView};
use tenement_wire::events::{Event, EventKind};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::events::{Events, Filter, Followed, Follower};
use crate::config::AlertSettings;
use crate::hook::{Answer, HookError, Order};
use calm::Calm;
use deliver::Waiting;

/// Alerts that wait at most; the oldest give way, and are counted as failed.
const QUEUE: usize = 256;
/// Tries of one alert: with the pauses between some 40 minutes.
const TRIES: u32 = 12;
/// The first pause, which doubles with each try, and the longest.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(600);
/// How often windows that are over are looked for.
const LOOK: Duration = Duration::from_secs(1);

/// How an order is carried out: [`crate::hook::post`], or a test's.
pub type Post = Box<dyn Fn(Order) -> BoxFuture<'static, Result<Answer, HookError>> + Send + Sync>;

/// Sends alerts. Clones are the same.
#[derive(Clone)]
pub struct Alerts(Arc<Inner>);

struct Inner {
    events: Events,
    host: String,
    post: Post,
    /// A number from 0 to 1, to spread tries.
    chance: Box<dyn Fn() -> f64 + Send + Sync>,
    desk: Mutex<Desk>,
    /// Something was put into the queue, or the settings have changed.
    news: Notify,
}

#[derive(Default)]
struct Desk {
    settings: Option<AlertSettings>,
    calm: Calm,
    queue: VecDeque<Waiting>,
    view: AlertsView,
}

impl Alerts {
    /// Alerts of `events`, in the name of `host`.
    #[must_use]
    pub fn new(events: Events, host: String, settings: Option<AlertSettings>) -> Self {
        Self::with(events, host, settings, Box::new(|order| Box::pin(crate::hook::post(order))))
    }

    /// The same with another way to post.
    #[must_use]
    pub fn with(events: Events, host: String, settings: Option<AlertSettings>, post: Post) -> Self {
        let desk = Mutex::new(Desk { settings, ..Desk::default() });
        // Random enough to keep hosts that fail together from trying together.
        let chance = || f64::from(uuid::Uuid::new_v4().as_bytes()[0]) / 255.0;
        let chance = Box::new(chance);
        Self(Arc::new(Inner { events, host, post, chance, desk, news: Notify::new() }))
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.0.desk.lock().expect("no panic while held")
    }

    /// Sends as the config says from now on.
    pub fn set(&self, settings: Option<AlertSettings>) {
        let mut desk = self.desk();
        if settings.is_none() {
            desk.queue.clear();
        }
        desk.settings = settings;
        drop(desk);
        self.0.news.notify_one();
    }

    /// How sending goes.
    #[must_use]
    pub fn view(&self) -> AlertsView {
        let desk = self.desk();
        let receiver = desk.settings.as_ref().map(|settings| {
            let scheme = settings.url.scheme_str().unwrap_or_default();
            format!("{scheme}://{}", settings.url.host().unwrap_or_default())
        });
        let waiting = u32::try_from(desk.queue.len()).unwrap_or(u32::MAX);
        AlertsView { configured: receiver.is_some(), receiver, waiting, ..desk.view.clone() }
    }

    /// Sends a test alert at once. None if no receiver is configured.
    pub async fn test(&self) -> Option<AlertTried> {
        let settings = self.desk().settings.clone()?;
        let alert = self.alert("test", "this is a test", 0, None);
        Some(self.attempt(&settings, &alert).await)
    }

    /// Follows the events and sends, until the agent stops.
    pub async fn run(self) {
        let delivering = tokio::spawn(self.clone().deliver());
        let filter = Filter { kinds: EventKind::ALERTING.to_vec(), ..Filter::default() };
        let mut follower = Follower::new(&self.0.events, filter, None).await;
        loop {
            let happened = tokio::time::timeout(LOOK, follower.next()).await;
            match happened {
                Ok(Some(Followed::Event(event))) => self.take(&event),
                Ok(Some(Followed::Missed(count))) => {
                    log::warn!("alerts of some events were not sent ({count} at most)");
                }
                Ok(None) => break,
                Err(_) => {}
            }
            self.end_windows();
        }
        delivering.abort();
    }

    /// Queues an alert for `event`, or counts it.
    fn take(&self, event: &Event) {
        let mut desk = self.desk();
        let Some(settings) = desk.settings.clone() else { return };
        if !settings.kinds.contains(&event.kind) {
            return;
        }
        if desk.calm.admits(event, settings.window, Instant::now()) {
            self.queue(&mut desk, event.clone(), 0);
        } else {
            desk.view.suppressed += 1;
        }
    }

    /// Tells of what was counted in windows that are over.
    fn end_windows(&self) {
        let mut desk = self.desk();
        let Some(window) = desk.settings.as_ref().map(|settings| settings.window) else { return };
        for (event, count) in desk.calm.due(window, Instant::now()) {
            self.queue(&mut desk, event, count);
        }
    }

    fn queue(&self, desk: &mut Desk, event: Event, suppressed: u64) {
        let (kind, message) = (event.kind.as_str(), event.message.clone());
        let alert = self.alert(kind, &message, suppressed, Some(event));
        if desk.queue.len() >= QUEUE {
            desk.queue.pop_front();
            desk.view.failed += 1;
            log::error!("too many alerts wait to be sent: the oldest was given up");
        }
        desk.queue.push_back(Waiting { alert, tries: 0, due: Instant::now() });
        self.0.news.notify_one();
    }
}

#[cfg(test)]
mod tests;
