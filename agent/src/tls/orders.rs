//! What is had from the CA: the domain's certificates before anybody asks, custom domains' when somebody does.
//!
//! ```text
//!   wanted names ──► due? ─┐                          ┌─► file ─► served
//!   client ─► allowed? ────┼─► one order for a name ──┤
//!   files of before ───────┘   (back-off, bucket)     └─► failure: event, tried again later
//! ```

use std::sync::{Arc, MutexGuard, PoisonError};

use tenement_wire::events::{Actor, Event, EventKind};
use tokio::sync::watch;

use super::acme::{Acme, Way};
use super::certificate::Certificate;
use super::kept::{Flight, Kept, Orders, chance};
use super::limits::pause;
use super::memory::Memory;
use super::{Tls, Wanted, now, shelf};

/// Renewals begun at once.
const RENEWALS: usize = 32;
/// How often it is said that the orders of an hour are used up, in seconds.
const SAID_EVERY: u64 = 60;
/// Files read between two looks of others at the table.
const SCAN_STEP: usize = 100;

impl Tls {
    pub(super) fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes on the CA and the names that the config has now.
    pub(super) fn adopt_orders(&self, wanted: &Wanted) {
        let mut orders = self.orders();
        let settings = wanted.settings.acme.as_ref();
        let same = orders.acme.as_ref().map(|acme| &acme.settings) == settings;
        if !same || orders.error.is_some() {
            if let Some(before) = orders.acme.clone() {
                orders.memory().save(&before.dir);
            }
            *orders = Orders::default();
            // They may be another CA's.
            self.certificates.drop_all_custom();
            if let Some(settings) = settings {
                let dir = shelf::dir_of(&self.dir, &settings.directory);
                orders.recall(Memory::load(&dir));
                match Acme::new(settings.clone(), dir, self.challenges.clone()) {
                    Ok(acme) => orders.acme = Some(Arc::new(acme)),
                    Err(error) => {
                        log::error!("[acme] can't be used: {error}");
                        orders.error = Some(error);
                    }
                }
            }
        }
        let Some(acme) = orders.acme.clone() else { return };
        let names = wanted.orders();
        orders.kept.retain(|_, kept| !kept.managed || names.contains(&kept.names));
        for names in names {
            let Some(name) = names.first().cloned() else { continue };
            if orders.kept.get(&name).is_some_and(|kept| kept.managed) {
                continue;
            }
            let read = shelf::load(&acme.dir, &name).unwrap_or_else(|error| {
                log::error!("{error}; another is ordered");
                None
            });
            // One for fewer names than are wanted now does not do.
            let certificate = read.filter(|one| one.facts.names.len() == names.len()).map(Arc::new);
            let facts = certificate.as_ref().map(|one| one.facts.clone());
            let due = facts.as_ref().map_or(0, |facts| facts.due(chance(&name)));
            let kept = Kept { names, managed: true, certificate, facts, due, ..Kept::default() };
            orders.kept.insert(name, kept);
        }
    }

    /// Begins what is due, and forgets custom domains that are none any more.
    pub(super) async fn order_due(self: &Arc<Self>) {
        self.scan().await;
        self.remember().await;
        let now = now();
        let (mut gone, mut due) = (Vec::new(), Vec::new());
        let mut room = {
            let mut orders = self.orders();
            orders.kept.retain(|_, kept| {
                kept.managed
                    || kept.wished
                    || kept.facts.is_some()
                    || !kept.is_over(now)
                    || kept.flight.is_some()
            });
            let under_way = orders.kept.values().filter(|kept| kept.flight.is_some()).count();
            let idle =
                orders.kept.iter().filter(|(_, kept)| kept.due <= now && kept.flight.is_none());
            for (name, kept) in idle {
                if !kept.managed && (kept.is_over(now) || (self.hooks.allowed)(name).is_none()) {
                    gone.push(name.clone());
                } else if kept.is_renewed(now) {
                    due.push(name.clone());
                }
            }
            RENEWALS.saturating_sub(under_way)
        };
        for name in gone {
            self.forget(&name);
        }
        for name in due {
            if room == 0 {
                break;
            }
            // One that may not be ordered now holds up no other.
            room -= usize::from(self.begin(&name, false).is_some());
        }
    }

    /// Writes what is to be known after a restart, if that has changed.
    async fn remember(self: &Arc<Self>) {
        let (memory, acme) = {
            let mut orders = self.orders();
            let Some(acme) = orders.acme.clone() else { return };
            if !std::mem::take(&mut orders.changed) {
                return;
            }
            (orders.memory(), acme)
        };
        let _ = tokio::task::spawn_blocking(move || memory.save(&acme.dir)).await;
    }

    /// Drops a custom domain that is none any more, with its key.
    fn forget(&self, name: &str) {
        let mut orders = self.orders();
        orders.kept.remove(name);
        self.certificates.drop_custom(name);
        if let Some(acme) = &orders.acme {
            log::info!("{name} is no domain of this host any more: its certificate is removed");
            shelf::remove(&acme.dir, name);
        }
    }

    /// Learns which certificates lie in files, once, without holding anybody up.
    async fn scan(self: &Arc<Self>) {
        let acme = {
            let mut orders = self.orders();
            if std::mem::replace(&mut orders.scanned, true) {
                return;
            }
            orders.acme.clone()
        };
        let Some(acme) = acme else { return };
        let tls = self.clone();
        tokio::spawn(async move {
            acme.tidy().await;
            let dir = acme.dir.clone();
            let read = tokio::task::spawn_blocking(move || {
                for step in shelf::names(&dir).chunks(SCAN_STEP) {
                    let found: Vec<_> = step
                        .iter()
                        .filter_map(|name| Some((name, shelf::facts(&dir, name)?)))
                        .collect();
                    let mut orders = tls.orders();
                    for (name, facts) in found {
                        let due = facts.due(chance(name));
                        let kept = orders.kept.entry(name.clone()).or_default();
                        if !kept.managed && kept.facts.is_none() {
                            kept.names = vec![name.clone()];
                            kept.facts = Some(facts);
                            // One whose renewal has failed waits on.
                            kept.due = if kept.failures > 0 { kept.due } else { due };
                        }
                    }
                }
            });
            if let Err(error) = read.await {
                log::error!("reading the certificates broke off: {error}");
            }
        });
    }

    /// Has a custom domain's certificate in memory, from its file or from the CA. It comes back when that is done.
    pub(super) async fn bring(self: &Arc<Self>, host: &str) -> bool {
        if (self.hooks.allowed)(host).is_none() {
            self.certificates.drop_custom(host);
            return false;
        }
        let (acme, flight) = {
            let orders = self.orders();
            let Some(acme) = orders.acme.clone() else { return false };
            let flight = orders.kept.get(host).and_then(|kept| kept.flight.clone());
            (acme, flight)
        };
        let (dir, name) = (acme.dir.clone(), host.to_owned());
        let read = tokio::task::spawn_blocking(move || shelf::load(&dir, &name)).await;
        match read {
            Ok(Ok(Some(certificate))) if certificate.facts.not_after > now() => {
                self.put(host, certificate);
                return true;
            }
            Ok(Err(error)) => log::error!("{error}; another is ordered"),
            _ => {}
        }
        let flight = flight.or_else(|| self.begin(host, true));
        let Some(mut flight) = flight else { return false };
        let done = flight.wait_for(Option::is_some).await;
        done.is_ok_and(|done| *done == Some(true))
    }

    /// Serves a custom domain with this from now on.
    fn put(&self, name: &str, certificate: Certificate) {
        let certificate = Arc::new(certificate);
        let mut orders = self.orders();
        let kept = orders.kept.entry(name.to_owned()).or_default();
        if kept.names.is_empty() {
            kept.names = vec![name.to_owned()];
        }
        kept.facts = Some(certificate.facts.clone());
        kept.due = certificate.facts.due(chance(name));
        drop(orders);
        self.certificates.hold(name, certificate);
    }

    /// Begins an order, unless one for the name is under way. None: it may not be begun now.
    fn begin(self: &Arc<Self>, name: &str, on_demand: bool) -> Option<Flight> {
        let now = now();
        let mut orders = self.orders();
        let acme = orders.acme.clone()?;
        let per_hour = acme.settings.orders_per_hour;
        if let Some(kept) = orders.kept.get(name) {
            if let Some(flight) = &kept.flight {
                return Some(flight.clone());
            }
            // It has failed a while ago.
            if on_demand && kept.failures > 0 && kept.due > now {
                return None;
            }
        }
        let managed = orders.kept.get(name).is_some_and(|kept| kept.managed);
        if !managed {
            let domain = (self.hooks.allowed)(name)?;
            if !orders.allowance.take(per_hour, &domain, !on_demand, now) {
                if on_demand && orders.said + SAID_EVERY <= now {
                    orders.said = now;
                    log::warn!(
                        "no certificate for {name} now: of the {per_hour} orders an hour \
                         (orders_per_hour) none is left for {domain}"
                    );
                }
                return None;
            }
            orders.changed = true;
        }
        let kept = orders.kept.entry(name.to_owned()).or_default();
        if kept.names.is_empty() {
            kept.names = vec![name.to_owned()];
        }
        let (say, flight) = watch::channel(None);
        kept.flight = Some(flight.clone());
        kept.wished = false;
        let (names, failures) = (kept.names.clone(), kept.failures);
        let way = match kept.managed && acme.settings.dns.is_some() && self.is_below(&names) {
            true => Way::Dns,
            false => Way::Here(failures),
        };
        let (tls, name) = (self.clone(), name.to_owned());
        tokio::spawn(async move {
            let done = tls.carry_out(&acme, &name, &names, way).await;
            let good = done.is_ok();
            tls.ended(&acme, &name, done);
            let _ = say.send(Some(good));
        });
        Some(flight)
    }

    /// Whether all of `names` lie within the domain, whose zone the DNS provider has.
    fn is_below(&self, names: &[String]) -> bool {
        let wanted = self.wanted.load();
        let rest = |name: &str| {
            name.strip_suffix(wanted.domain.as_str())
                .map(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        names.iter().all(|name| rest(name) == Some(true))
    }

    async fn carry_out(
        &self,
        acme: &Arc<Acme>,
        name: &str,
        names: &[String],
        way: Way,
    ) -> Result<Certificate, String> {
        let pem = acme.obtain(names, way).await?;
        let certificate = Certificate::from_pem(pem.as_bytes(), pem.as_bytes())?;
        let (dir, shown) = (acme.dir.clone(), name.to_owned());
        let kept = tokio::task::spawn_blocking(move || shelf::keep(&dir, &shown, &pem)).await;
        match kept {
            Ok(Ok(())) => {}
            // It is good all the same, until the agent ends.
            Ok(Err(error)) => log::error!("a certificate can't be kept: {error}"),
            Err(error) => log::error!("keeping a certificate broke off: {error}"),
        }
        Ok(certificate)
    }

    /// Takes note of how an order went.
    fn ended(&self, acme: &Arc<Acme>, name: &str, done: Result<Certificate, String>) {
        let mut orders = self.orders();
        // The CA may be another by now.
        if !orders.acme.as_ref().is_some_and(|now| Arc::ptr_eq(now, acme)) {
            return;
        }
        orders.changed = true;
        let Some(kept) = orders.kept.get_mut(name) else { return };
        kept.flight = None;
        match done {
            Ok(certificate) => {
                (kept.failures, kept.error) = (0, None);
                let managed = kept.managed;
                log::info!(
                    "certificate for {} from {}",
                    kept.names.join(", "),
                    certificate.facts.issuer
                );
                if !managed {
                    drop(orders);
                    self.put(name, certificate);
                    return;
                }
                kept.facts = Some(certificate.facts.clone());
                kept.due = certificate.facts.due(chance(name));
                kept.certificate = Some(Arc::new(certificate));
                drop(orders);
                self.serve();
            }
            Err(error) => {
                kept.failures = kept.failures.saturating_add(1);
                let pause = pause(acme.settings.retry, kept.failures, chance(name));
                kept.due = now() + pause.as_secs().max(1);
                let left = if kept.is_good(now()) {
                    "the one before is still good"
                } else {
                    "there is none"
                };
                let message = format!("no certificate for {name} ({left}): {error}");
                let when = if kept.is_renewed(now()) { "" } else { "when a client asks, " };
                log::warn!("{message}; tried again {when}in {} s at the earliest", pause.as_secs());
                let event = Event::new(EventKind::Certificate, message).by(Actor::agent());
                let event = event.with("name", name).with("failures", kept.failures.to_string());
                kept.error = Some(error);
                drop(orders);
                (self.hooks.tell)(event);
            }
        }
    }

    /// Has an order begun at the next look, whatever its back-off.
    pub(super) fn order_soon(&self, name: &str) {
        if let Some(kept) = self.orders().kept.get_mut(name) {
            (kept.due, kept.failures, kept.wished) = (0, 0, true);
        }
    }
}
