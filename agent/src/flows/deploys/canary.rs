//! A canary: the instance of a new release gets its share of the requests step by step, and is judged by what is
//! counted of it beside the others.

use std::sync::Arc;
use std::time::Duration;

use tenement_wire::InstanceName;
use tenement_wire::deploys::{DeployState, StepView};
use tokio::time::Instant;

use super::judge::{Next, Numbers, Share, Step};
use super::record::{Broken, Deploy};
use super::weights::shared;
use crate::flows::agent::Agent;
use crate::flows::health::Health;
use crate::flows::host::Host;

/// How often it is judged.
const LOOK: Duration = Duration::from_secs(1);
/// Looks after which its numbers are stored.
const SAVE_EVERY: u32 = 10;

/// Weights of instances; `None` is the default of their process.
type Weights = Vec<(InstanceName, Option<u32>)>;

impl<H: Host> Agent<H> {
    /// What the instances of a process weigh beside one, if any of them has a weight.
    pub(super) fn weights_beside(&self, own: Option<&InstanceName>) -> Weights {
        let Some(own) = own else { return Vec::new() };
        let mut all = self.all();
        all.retain(|one| one.name.process() == own.process() && one.name != *own);
        if all.iter().all(|one| self.weight_of(&one.name) == 0) {
            return Vec::new();
        }
        all.iter().map(|one| (one.name.clone(), self.domains.weight(&one.name))).collect()
    }

    /// The whole way.
    pub(super) async fn lead_canary(
        self: &Arc<Self>,
        deploy: &Arc<Deploy>,
    ) -> Result<DeployState, Broken> {
        let Some(own) = deploy.view().instance else {
            return Err(Broken::other("it has no instance"));
        };
        let led = self.lead(deploy, &own).await;
        if let Err(broken) = &led {
            deploy.rest().back = Some(broken.state);
            deploy.change(|view| {
                (view.reason, view.failed) = (Some(broken.why.clone()), broken.at.clone());
            });
            // In the next route table already; and should the agent be killed, the next one does not lead it again.
            let mut weights = self.still_there(deploy.rest().weights.clone());
            weights.push((own.clone(), Some(0)));
            weights.retain(|(name, _)| self.get(name).is_some());
            let (weighed, ()) = tokio::join!(self.domains.weigh(weights), self.save(deploy));
            if let Err(error) = weighed {
                self.say(deploy, format!("its weight can't be taken: {error}"));
            }
            self.say(deploy, format!("{own} gets no more requests: {}", broken.why));
        }
        led.map(|()| DeployState::Succeeded)
    }

    async fn lead(
        self: &Arc<Self>,
        deploy: &Arc<Deploy>,
        own: &InstanceName,
    ) -> Result<(), Broken> {
        if !deploy.rest().raised {
            self.raise_colour(deploy).await?;
            deploy.rest().raised = true;
            self.save(deploy).await;
        }
        let steps = deploy.rest().steps.clone();
        let over = |view: &StepView| view.verdict.is_some();
        let done = deploy.view().steps.iter().filter(|step| over(step)).count();
        for percent in steps.into_iter().skip(done) {
            if let Some(broken) = deploy.stopped() {
                return Err(broken);
            }
            self.share(deploy, own, percent).await?;
            if percent >= 100 {
                self.say(deploy, format!("{own} gets all requests"));
                return Ok(());
            }
            self.say(deploy, format!("{own} gets {percent} % of the requests"));
            self.take_step(deploy, own, percent).await?;
        }
        Ok(())
    }

    fn still_there(&self, weights: Weights) -> Weights {
        weights.into_iter().filter(|(name, _)| self.get(name).is_some()).collect()
    }

    async fn share(&self, deploy: &Deploy, own: &InstanceName, percent: u32) -> Result<(), Broken> {
        let before = self.still_there(deploy.rest().weights.clone());
        let default = self.config.load().processes.get(own.process()).map_or(0, |d| d.route.weight);
        let theirs: Vec<u32> = before.iter().map(|(_, set)| set.unwrap_or(default)).collect();
        let (mut weight, rest) = shared(&theirs, percent);
        if percent >= 100 {
            weight = theirs.iter().copied().max().unwrap_or(default).max(1);
        }
        let names = before.into_iter().map(|(name, _)| name);
        let mut weights: Weights = names.zip(rest.into_iter().map(Some)).collect();
        weights.push((own.clone(), Some(weight)));
        self.domains.weigh(weights).await.map_err(Broken::other)
    }

    async fn take_step(
        self: &Arc<Self>,
        deploy: &Arc<Deploy>,
        own: &InstanceName,
        percent: u32,
    ) -> Result<(), Broken> {
        let Some(definition) = self.config.load().processes.get(own.process()).cloned() else {
            return Err(Broken::other(format!("{} is not in the config any more", own.process())));
        };
        let resumed = deploy.view().steps.last().filter(|last| last.percent == percent).cloned();
        let elapsed = resumed.as_ref().map_or(0, |step| step.elapsed_ms);
        if resumed.is_none() {
            deploy.change(|view| view.steps.push(fresh(percent)));
        }
        let lasts = Duration::from_millis(deploy.rest().step_ms);
        let mut step = Step::new(
            definition.deploy.as_ref().into(),
            lasts,
            Duration::from_millis(elapsed),
            self.numbers(own),
        );
        self.save(deploy).await;
        let (mut looked, mut looks) = (Instant::now(), 0);
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = deploy.until_stopped() => {}
            }
            let now = Instant::now();
            let (numbers, next) = step.look(now - looked, self.numbers(own));
            looked = now;
            deploy.change(|view| note(view.steps.last_mut(), &step, &numbers, &next));
            if let Some(broken) = deploy.stopped() {
                return Err(broken);
            }
            if let Some(why) = self.unwell(own) {
                let lines = self.last_lines(own, deploy.view().started_ms).await;
                return Err(Broken::release(own, why, lines));
            }
            match next {
                Next::On => {}
                Next::Over(how) => {
                    self.say(deploy, format!("{percent} %: {how}"));
                    self.save(deploy).await;
                    return Ok(());
                }
                Next::Back(why) => {
                    return Err(Broken::release(own, format!("{percent} %: {why}"), Vec::new()));
                }
            }
            looks += 1;
            if looks % SAVE_EVERY == 0 {
                self.save(deploy).await;
            }
        }
    }

    fn unwell(&self, own: &InstanceName) -> Option<String> {
        let Some(instance) = self.get(own) else { return Some(format!("{own} has been removed")) };
        // One bad check may pass.
        if instance.care.health() == Health::Degraded {
            return None;
        }
        self.ill(&instance)
    }

    /// All that was counted so far.
    fn numbers(&self, own: &InstanceName) -> Numbers {
        let mut numbers = Numbers::default();
        for instance in self.all() {
            if instance.name.process() != own.process() {
                continue;
            }
            let share: &mut Share = match instance.name == *own {
                true => &mut numbers.canary,
                false => &mut numbers.others,
            };
            share.add(&instance.meter().read());
        }
        numbers
    }
}

fn fresh(percent: u32) -> StepView {
    let (canary, others) = Default::default();
    StepView { percent, elapsed_ms: 0, canary, others, verdict: None }
}

fn note(view: Option<&mut StepView>, step: &Step, numbers: &Numbers, next: &Next) {
    let Some(view) = view else { return };
    view.elapsed_ms = u64::try_from(step.elapsed().as_millis()).unwrap_or(u64::MAX);
    (view.canary, view.others) = (numbers.canary.view(), numbers.others.view());
    view.verdict = match next {
        Next::On => None,
        Next::Over(how) | Next::Back(how) => Some(how.clone()),
    };
}
