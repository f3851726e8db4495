//! Recovery: probes an instance whose breaker is open, until it answers.

use std::sync::Arc;
use std::time::Duration;

use super::agent::Agent;
use super::checkup::{check, connects};
use super::host::Host;
use super::instance::{Instance, Phase};

impl<H: Host> Agent<H> {
    /// Probes until the breaker is closed or the process is gone, which closes it too.
    pub(super) fn probe_until_closed(&self, instance: &Arc<Instance>) {
        log::warn!(TENEMENT_INSTANCE = instance.name.to_string(); "{} does not answer: its requests are refused until it does", instance.name);
        let instance = instance.clone();
        tokio::spawn(async move {
            probe(&instance, |one| one.phase() == Phase::Running).await;
        });
    }
}

/// Probes while the breaker is open: with the health check if there is one, else with a bare
/// connection. `may` says whether a connection would reach a process, and wake none.
pub async fn probe(instance: &Instance, may: impl Fn(&Instance) -> bool) {
    while let Some(pause) = instance.breaker.refuses() {
        // It may be closed meanwhile, and opened again by others: then they probe.
        tokio::time::sleep(pause.max(Duration::from_millis(1))).await;
        if instance.breaker.refuses().is_none() {
            return;
        }
        let setup = instance.setup().clone();
        let rules = &setup.definition.supervision;
        let good = match &setup.check {
            Some(question) => {
                check(instance, question, rules.health_timeout, &may).await.map(|o| o.is_good())
            }
            None => connects(instance, rules.health_timeout, &may).await,
        };
        match good {
            Some(true) => {
                log::info!("{} answers a probe: requests are let through again", instance.name);
                return instance.breaker.half_open(rules.breaker_threshold);
            }
            Some(false) => instance.breaker.stay_open(),
            // A stop is under way, or another check: its end tells more.
            None if may(instance) => instance.breaker.stay_open(),
            None => return instance.breaker.reset(),
        }
    }
}
