//! Signals and the watchdog.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

/// Returns a future that is done at SIGTERM or SIGINT. They count from this call on, and not from the
/// future's first poll: whoever tells others that it is there listens before that.
pub fn terminated() -> impl Future<Output = ()> {
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    async {
        let (Ok(mut term), Ok(mut int)) = signals else {
            // Without handlers the default action ends the process, which is what is asked for.
            return std::future::pending().await;
        };
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
    }
}

/// Calls `reload` at each SIGHUP.
pub async fn on_hangup<F: Future<Output = ()>>(mut reload: impl FnMut() -> F) {
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => {
            return log::error!("SIGHUP can't be heard, so use `ten config reload`: {error}");
        }
    };
    while hangup.recv().await.is_some() {
        reload().await;
    }
}

/// Tells systemd that this process is alive, twice within each watchdog period. It runs on the same
/// runtime as everything else, so a runtime that is stuck misses it and systemd restarts the agent.
pub async fn watchdog() {
    let Some(period) = sd_notify::watchdog_enabled() else { return };
    let mut tick = tokio::time::interval((period / 2).max(Duration::from_millis(100)));
    loop {
        tick.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

/// Tells systemd something; outside systemd it is heard by nobody.
pub fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        log::warn!("systemd could not be notified: {error}");
    }
}
