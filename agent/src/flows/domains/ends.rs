//! Domains that end with what they lead to, or because nobody ever proved them.

use tenement_wire::InstanceName;
use tenement_wire::domains::DomainState;
use tenement_wire::events::{Actor, Event, EventKind};

use super::loops::is_stale;
use super::{Domains, StoreError};
use crate::flows::clock::now_ms;
use crate::routes::DomainName;

/// Names that an event tells.
const NAMES_TOLD: usize = 10;

impl Domains {
    /// The domains that lead to this very instance, in order of name.
    pub(in crate::flows) fn leading_to(&self, name: &InstanceName) -> Vec<DomainName> {
        let held = self.read();
        let leads = |target: &tenement_wire::RouteTarget| {
            target.process == *name.process() && target.instance.as_ref() == Some(name.id())
        };
        let own = held.values().filter(|one| leads(&one.stored.target));
        own.map(|one| one.stored.name.clone()).collect()
    }

    /// Removes the domains that lead to this instance if its data goes too. With its data they are kept: both are for
    /// whoever is registered under its name next. Says which they are.
    pub(in crate::flows) async fn end_or_keep(
        &self,
        name: &InstanceName,
        purge: bool,
    ) -> Result<Vec<String>, StoreError> {
        let names = if purge { self.end_with(name).await? } else { self.leading_to(name) };
        Ok(names.iter().map(ToString::to_string).collect())
    }

    /// Removes the domains that lead to this instance, which is deleted with its data: whoever gets its name later is
    /// somebody else. Says which they were.
    pub(in crate::flows) async fn end_with(
        &self,
        name: &InstanceName,
    ) -> Result<Vec<DomainName>, StoreError> {
        let _turn = self.changes.lock().await;
        let ended = self.leading_to(name);
        self.end(&ended).await?;
        if !ended.is_empty() {
            let message = format!("{name} was deleted, and with it its {}", listed(&ended));
            self.tell(Event::new(EventKind::Change, message).by(Actor::agent()).about(name));
        }
        Ok(ended)
    }

    /// Forgets domains that nobody has proven for so long that nobody will.
    pub(super) async fn end_stale(&self) -> Result<(), StoreError> {
        let now = now_ms();
        let stale = || -> Vec<DomainName> {
            let held = self.read();
            let stale = held.values().filter(|one| one.state() == DomainState::Pending);
            let stale = stale.filter(|one| is_stale(&one.stored, now));
            stale.map(|one| one.stored.name.clone()).collect()
        };
        if stale().is_empty() {
            return Ok(());
        }
        let _turn = self.changes.lock().await;
        let ended = stale();
        self.end(&ended).await?;
        let message = format!("nobody has proven the {}: forgotten", listed(&ended));
        self.tell(Event::new(EventKind::Change, message).by(Actor::agent()));
        Ok(())
    }

    async fn end(&self, names: &[DomainName]) -> Result<(), StoreError> {
        for name in names {
            if let Some(store) = &self.store {
                store.remove_domain(name.clone()).await?;
            }
            self.write().remove(name);
        }
        if !names.is_empty() {
            self.publish();
        }
        Ok(())
    }

    fn tell(&self, event: Event) {
        if let Some(home) = self.home.get() {
            home.tell(event);
        }
    }
}

fn listed(names: &[DomainName]) -> String {
    let some: Vec<_> = names.iter().take(NAMES_TOLD).map(ToString::to_string).collect();
    let more = names.len() - some.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let what = if names.len() == 1 { "custom domain" } else { "custom domains" };
    format!("{what} {}{more}", some.join(", "))
}
