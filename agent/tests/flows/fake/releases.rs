//! What apps of different releases do.

use tenement_agent::flows::host::Active;
use tenement_wire::{InstanceName, ReleaseName};

use super::{App, FakeHost};

impl FakeHost {
    /// What apps of one release do.
    pub fn breaks(&self, release: &ReleaseName, app: App) {
        self.script(|s| s.broken = Some((release.clone(), app)));
    }

    /// What the app of an instance does.
    pub fn app_of(&self, name: &InstanceName) -> App {
        let broken = self.script(|s| {
            let made_from = s.made_from.get(name).cloned().flatten();
            s.broken.clone().filter(|(release, _)| made_from.as_ref() == Some(release))
        });
        broken.map_or_else(|| self.app(), |(_, app)| app)
    }

    /// The release that the service of an instance was made from.
    pub fn made_from(&self, name: &InstanceName) -> Option<ReleaseName> {
        self.script(|s| s.made_from.get(name).cloned().flatten())
    }

    pub(super) fn up(&self, name: &InstanceName) -> bool {
        !matches!(self.truth(name).service, Active::Absent | Active::Inactive | Active::Failed)
    }
}
