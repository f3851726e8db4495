//! What a test tells the played host to do.

use std::sync::{Arc, Weak};

use tenement_agent::flows::host::{HostError, Lacks, LeftOver};
use tenement_wire::{InstanceName, TaskTag};
use tokio::sync::Semaphore;

use super::FakeHost;

impl FakeHost {
    /// Makes `verb` fail from now on; `None` heals it.
    pub fn fail(&self, verb: &'static str, error: Option<HostError>) {
        self.script(|s| match error {
            Some(error) => drop(s.failing.insert(verb, error)),
            None => drop(s.failing.remove(verb)),
        });
    }

    /// Makes calls of `verb` wait until the result is closed.
    pub fn hold(&self, verb: &'static str) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        self.script(|s| s.held.insert(verb, gate.clone()));
        gate
    }

    /// Whether "systemd" has it frozen.
    pub fn frozen(&self, name: &InstanceName) -> bool {
        self.script(|s| s.frozen.contains(name))
    }

    /// `systemctl freeze` or `thaw` by hand; `told` = systemd reports it.
    pub fn freeze_by_hand(&self, name: &InstanceName, frozen: bool, told: bool) {
        self.script(|s| if frozen { s.frozen.insert(name.clone()) } else { s.frozen.remove(name) });
        if told && let Some(agent) = self.0.agent.get().and_then(Weak::upgrade) {
            agent.observe_freezer(name, frozen);
        }
    }

    pub fn lack(&self, lacks: Lacks) {
        self.script(|s| s.lacks = lacks);
    }

    /// What every app says that it is busy with.
    pub fn set_busy(&self, busy: Option<&'static str>) {
        self.script(|s| s.busy = busy);
    }

    /// Sets the local time: day (0 = Monday) and minute of the day.
    pub fn set_time(&self, time: (usize, u16)) {
        self.script(|s| s.time = time);
    }

    /// Makes the next call of `verb` panic.
    pub fn panic(&self, verb: &'static str) {
        self.script(|s| s.panics = Some(verb));
    }

    /// How much memory the host has, in bytes; 0 until said.
    pub fn has_memory(&self, bytes: u64) {
        self.script(|s| s.memory = bytes);
    }

    /// Units lack the stub from now on: what is to be parked starts in full.
    pub fn lacks_stub(&self) {
        self.script(|s| s.silent = true);
    }

    pub fn parks(&self) -> bool {
        !self.script(|s| s.silent)
    }

    /// The timers that were asked for: whose, whether any, which might be loaded.
    pub fn timers(&self) -> Vec<(InstanceName, bool, Vec<TaskTag>)> {
        self.script(|s| s.timers.clone())
    }

    /// What an agent finds at its start.
    pub fn leave(&self, left_over: LeftOver) {
        self.script(|s| s.left_over = left_over);
    }
}
