//! From events of systemd to reports of the flows.

use crate::flows::host::Active;
use crate::flows::observe::{Report, Unit};
use crate::plan::PARK_STATUS;
use crate::systemd::{ActiveState, UnitEvent, UnitKind};

/// Whether an event says that an active service is frozen, or that it is not.
#[must_use]
pub fn freezer(event: &UnitEvent) -> Option<bool> {
    match event {
        UnitEvent::Changed {
            kind: UnitKind::Service, active: ActiveState::Active, frozen, ..
        } => Some(*frozen),
        _ => None,
    }
}

/// A report of one event; `None` for a resync, and for what is no instance's own.
#[must_use]
pub fn report(event: UnitEvent) -> Option<Report> {
    let unit = |kind| match kind {
        UnitKind::Service => Unit::Service,
        UnitKind::Socket => Unit::Socket,
    };
    match event {
        UnitEvent::Changed { name, kind, active: state, sub, result, status, .. } => Some(Report {
            name,
            unit: unit(kind),
            // systemd 254 passes through these on its way to `auto-restart`, which counts alone.
            active: match sub.ends_with("-before-auto-restart") {
                true => Active::Activating,
                false => active(Some(state)),
            },
            auto_restart: sub.starts_with("auto-restart"),
            result,
            parked: state == ActiveState::Active && status == PARK_STATUS,
        }),
        UnitEvent::Removed { name, kind } => Some(Report::of(name, unit(kind), Active::Absent)),
        UnitEvent::Resync | UnitEvent::Job { .. } => None,
    }
}

pub(super) fn active(state: Option<ActiveState>) -> Active {
    match state {
        None => Active::Absent,
        Some(ActiveState::Inactive) => Active::Inactive,
        Some(ActiveState::Activating) => Active::Activating,
        Some(ActiveState::Deactivating) => Active::Deactivating,
        Some(ActiveState::Failed) => Active::Failed,
        Some(ActiveState::Active | ActiveState::Reloading | ActiveState::Unknown) => Active::Active,
    }
}
