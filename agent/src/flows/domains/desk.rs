//! Adding, listing and removing domains.

use tenement_wire::RouteTarget;
use tenement_wire::domains::{DomainList, DomainState, DomainView};

use super::{DomainError, Domains, Held};
use crate::flows::ManageError;
use crate::flows::clock::now_ms;
use crate::routes::DomainName;
use crate::store::domains::StoredDomain;
use crate::token::Reach;

/// Random bytes of a token; twice as many digits.
const TOKEN_BYTES: usize = 20;

/// What is wanted of a new domain.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Its name.
    pub name: DomainName,
    /// Where it leads.
    pub target: RouteTarget,
    /// Who wants it.
    pub by: String,
    /// What they may know of.
    pub reach: Reach,
}

/// Which part of a list is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// The domain before it; none: it is the first page.
    pub after: Option<&'a str>,
    /// How many domains at most.
    pub limit: usize,
}

/// Whether `reach` covers where a domain leads.
pub(super) fn sees(reach: &Reach, target: &RouteTarget) -> bool {
    match target.instance_name() {
        Some(name) => reach.sees(&name),
        // All instances of a process are not one tenant's.
        None => {
            *reach == Reach::Host
                || (reach.instance().is_none() && reach.process() == Some(&target.process))
        }
    }
}

impl Domains {
    /// Adds a domain, which is pending then. The same one again, by who may know of it, stays as it is.
    ///
    /// # Errors
    /// See [`DomainError`]; [`ManageError`] if there is nothing where it leads.
    pub async fn add(&self, wish: Wish) -> Result<DomainView, DomainError> {
        self.check_target(&wish)?;
        let turn = self.changes.lock().await;
        // Again: it may have been removed while this waited, and its domains with it.
        self.check_target(&wish)?;
        if let Some(home) = self.home.get()
            && home.owns(&wish.name)
        {
            return Err(DomainError::Ours(wish.name));
        }
        let known = self.read().get(&wish.name).cloned();
        if let Some(known) = &known
            && known.stored.target == wish.target
        {
            return Ok(self.view(known));
        }
        self.check_room(&wish)?;
        match known {
            Some(known) if known.stored.verified.is_some() => {
                return Err(DomainError::Taken(wish.name));
            }
            // Nobody keeps a name from its owner by adding it and never proving it.
            Some(known) if known.next_ms.is_some() => {
                drop(turn);
                return self.contest(wish).await;
            }
            _ => {}
        }
        let now = now_ms();
        let covered = !wish.name.is_wildcard() && self.is_covered(&wish.name);
        let stored = StoredDomain {
            token: fresh_token()?,
            // Where a wildcard of somebody's leads here already, so does every name below it.
            http: wish.reach == Reach::Host && !wish.name.is_wildcard() && !covered,
            name: wish.name,
            target: wish.target,
            created_ms: now,
            created_by: wish.by,
            verified: None,
        };
        if let Some(store) = &self.store {
            store.put_domain(stored.clone()).await?;
        }
        let held = Held::new(stored, Some(now));
        let view = self.view(&held);
        self.write().insert(held.stored.name.clone(), held);
        self.publish();
        self.due.notify_one();
        Ok(view)
    }

    fn check_target(&self, wish: &Wish) -> Result<(), DomainError> {
        let unknown_process = |process| ManageError::UnknownProcess { process, known: Vec::new() };
        let process = &wish.target.process;
        if !sees(&wish.reach, &wish.target) {
            return Err(match wish.target.instance_name() {
                Some(name) => ManageError::NotFound { name, similar: Vec::new() }.into(),
                None => unknown_process(process.clone()).into(),
            });
        }
        let Some(home) = self.home.get() else { return Ok(()) };
        if !home.has_process(process) {
            return Err(unknown_process(process.clone()).into());
        }
        match wish.target.instance_name() {
            Some(name) if !home.has(&wish.target) => {
                Err(ManageError::NotFound { name, similar: Vec::new() }.into())
            }
            _ => Ok(()),
        }
    }

    fn is_covered(&self, name: &DomainName) -> bool {
        let Some((_, base)) = name.as_str().split_once('.') else { return false };
        let wildcard = format!("*.{base}").parse::<DomainName>();
        wildcard.is_ok_and(|wildcard| self.read().contains_key(&wildcard))
    }

    /// A page of those that `reach` may know of and that are `wanted`, in order of name.
    #[must_use]
    pub fn list(
        &self,
        reach: &Reach,
        wanted: impl Fn(&RouteTarget, DomainState) -> bool,
        page: Page<'_>,
    ) -> DomainList {
        // Cloned first: a view asks the agent, whose own locks come before this one. Only those of the page are.
        let (seen, total): (Vec<Held>, usize) = {
            let held = self.read();
            let good = |one: &&Held| {
                let target = &one.stored.target;
                sees(reach, target) && wanted(target, one.state())
            };
            let good: Vec<&Held> = held.values().filter(good).collect();
            let after =
                |one: &&&Held| page.after.is_none_or(|after| one.stored.name.as_str() > after);
            let rest = good.iter().filter(after).take(page.limit.saturating_add(1));
            (rest.map(|one| (*one).clone()).collect(), good.len())
        };
        let more = seen.len() > page.limit;
        let domains = self.views(&seen[..seen.len().min(page.limit)]);
        let next = domains.last().filter(|_| more).map(|view| view.domain.clone());
        DomainList { domains, total: total as u64, next }
    }

    /// One domain.
    ///
    /// # Errors
    /// [`DomainError::Unknown`].
    pub fn show(&self, name: &DomainName, reach: &Reach) -> Result<DomainView, DomainError> {
        self.find(name, reach).map(|held| self.view(&held))
    }

    pub(super) fn find(&self, name: &DomainName, reach: &Reach) -> Result<Held, DomainError> {
        let held = self.read().get(name).cloned();
        held.filter(|held| sees(reach, &held.stored.target))
            .ok_or_else(|| DomainError::Unknown(name.to_string()))
    }

    /// Forgets a domain: the next request to it is not routed any more.
    ///
    /// # Errors
    /// See [`DomainError`].
    pub async fn remove(&self, name: &DomainName, reach: &Reach) -> Result<(), DomainError> {
        let _turn = self.changes.lock().await;
        self.find(name, reach)?;
        if let Some(store) = &self.store {
            store.remove_domain(name.clone()).await?;
        }
        self.write().remove(name);
        self.publish();
        Ok(())
    }
}

pub(super) fn fresh_token() -> Result<String, ManageError> {
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| ManageError::Internal(Box::new(error)))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
