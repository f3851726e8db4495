//! Sends what waits, and tries again.

use std::time::Duration;

use tenement_wire::alerts::{Alert, AlertTried};
use tenement_wire::events::{Actor, Event, EventKind};
use tokio::time::Instant;

use super::{Alerts, PAUSE, PAUSE_MAX, TRIES};
use crate::config::AlertSettings;
use crate::flows::instance::now_ms;
use crate::hook::Order;

/// An alert that waits for its first try or for the next.
pub(super) struct Waiting {
    pub(super) alert: Alert,
    pub(super) tries: u32,
    pub(super) due: Instant,
}

impl Alerts {
    pub(super) fn alert(
        &self,
        kind: &str,
        message: &str,
        suppressed: u64,
        event: Option<Event>,
    ) -> Alert {
        Alert {
            id: uuid::Uuid::new_v4().simple().to_string(),
            kind: kind.to_owned(),
            host: self.0.host.clone(),
            message: message.to_owned(),
            suppressed,
            event,
        }
    }

    /// Sends one after the other, in the order of their time.
    pub(super) async fn deliver(self) {
        loop {
            let news = self.0.news.notified();
            let Some(next) = self.next_due() else {
                news.await;
                continue;
            };
            tokio::select! {
                // An older one may have given way, or a new one be due before.
                () = news => continue,
                () = tokio::time::sleep_until(next) => {}
            }
            let Some((settings, waiting)) = self.take_due() else { continue };
            let tried = self.attempt(&settings, &waiting.alert).await;
            self.after(waiting, &tried);
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let desk = self.desk();
        desk.settings.as_ref()?;
        desk.queue.iter().map(|waiting| waiting.due).min()
    }

    fn take_due(&self) -> Option<(AlertSettings, Waiting)> {
        let mut desk = self.desk();
        let settings = desk.settings.clone()?;
        let now = Instant::now();
        let due = desk.queue.iter().enumerate().filter(|(_, waiting)| waiting.due <= now);
        let (at, _) = due.min_by_key(|(_, waiting)| waiting.due)?;
        Some((settings, desk.queue.remove(at)?))
    }

    /// One try.
    pub(super) async fn attempt(&self, settings: &AlertSettings, alert: &Alert) -> AlertTried {
        let time_ms = now_ms();
        let order = Order {
            url: settings.url.clone(),
            secret_file: settings.secret_file.clone(),
            id: alert.id.clone(),
            body: serde_json::to_vec(alert).unwrap_or_default().into(),
            now: time_ms / 1000,
            timeout: settings.timeout,
        };
        let tried = match (self.0.post)(order).await {
            Ok(answer) => AlertTried {
                time_ms,
                taken: (200..300).contains(&answer.status),
                status: Some(answer.status),
                said: answer.said,
            },
            Err(error) => {
                AlertTried { time_ms, taken: false, status: None, said: error.to_string() }
            }
        };
        self.desk().view.last = Some(tried.clone());
        tried
    }

    fn after(&self, mut waiting: Waiting, tried: &AlertTried) {
        waiting.tries += 1;
        let status = tried.status.unwrap_or(0);
        // What a receiver refuses it refuses again, but for a few that say "later".
        let final_word = (300..500).contains(&status) && !matches!(status, 408 | 425 | 429);
        if tried.taken {
            self.desk().view.sent += 1;
        } else if waiting.tries < TRIES && !final_word {
            waiting.due = Instant::now() + self.pause(waiting.tries);
            self.desk().queue.push_back(waiting);
            return;
        } else {
            self.desk().view.failed += 1;
            log::error!("an alert ({}) could not be sent: {}", waiting.alert.kind, said(tried));
        }
        self.tell(&waiting, tried);
    }

    /// The outcome is an event, too.
    fn tell(&self, waiting: &Waiting, tried: &AlertTried) {
        let alert = &waiting.alert;
        let outcome = match tried.taken {
            true => "sent".to_owned(),
            false => format!("given up: {}", said(tried)),
        };
        let what = alert.message.as_str();
        let mut event = Event::new(EventKind::Alert, format!("alert {outcome} ({what})"));
        if let Some(about) = &alert.event {
            (event.process, event.instance_id) = (about.process.clone(), about.instance_id.clone());
            event = event.with("event", about.id.to_string());
        }
        let tries = waiting.tries.to_string();
        let event = event.by(Actor::agent()).with("alert", &alert.id).with("tries", tries);
        self.0.events.record(event.with("type", &alert.kind));
    }

    /// The pause after so many tries: doubled each time, and spread by a quarter.
    fn pause(&self, tries: u32) -> Duration {
        let pause = PAUSE.saturating_mul(1 << (tries - 1).min(16)).min(PAUSE_MAX);
        pause.mul_f64(0.75 + 0.5 * (self.0.chance)())
    }
}

fn said(tried: &AlertTried) -> String {
    match tried.status {
        Some(status) => format!("the receiver answered {status} {}", tried.said),
        None => tried.said.clone(),
    }
}
