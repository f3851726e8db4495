//! What a test sets and counts.

use std::time::Duration;

use tenement_agent::plan::TaskEnd;
use tenement_wire::ResourceLimits;

use super::{App, FakeHost};

impl FakeHost {
    /// The overrides of the last `apply`.
    pub fn applied(&self) -> Option<ResourceLimits> {
        self.script(|s| s.applied.clone())
    }

    /// How large the data of every instance is from now on.
    pub fn data_is(&self, bytes: u64) {
        self.script(|s| s.data_bytes = bytes);
    }

    /// How one-off commands end from now on.
    pub fn tasks_end(&self, end: TaskEnd) {
        self.script(|s| s.task = Some(end));
    }

    /// What apps do from their next start on.
    pub fn runs(&self, app: App) {
        self.script(|s| s.app = Some(app));
    }

    pub fn app(&self) -> App {
        self.script(|s| s.app).unwrap_or(App::Serves(Duration::ZERO))
    }

    /// What apps answer to health checks; 200 unless told otherwise.
    pub fn says(&self, status: u16) {
        self.script(|s| s.status = Some(status));
    }

    pub fn status(&self) -> u16 {
        self.script(|s| s.status).unwrap_or(200)
    }

    /// How often `verb` was called; `"up"` is the starts of services.
    pub fn count(&self, verb: &'static str) -> usize {
        self.script(|s| s.counts.get(verb).copied().unwrap_or_default())
    }

    pub fn counted(&self, verb: &'static str) {
        self.script(|s| *s.counts.entry(verb).or_default() += 1);
    }
}
