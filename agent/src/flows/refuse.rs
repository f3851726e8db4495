//! Refusals: what a request is told that can't be served now.

use std::time::Duration;

use super::WakeError;
use super::instance::{Failure, Instance};

/// Nobody waited for the start any more.
pub(super) fn given_up(instance: &Instance) -> WakeError {
    WakeError::Failed {
        name: instance.name.clone(),
        reason: "the wake was given up".into(),
        retry_after: Duration::from_secs(1),
    }
}

/// Refuses what has failed for good, and what failed a moment ago.
///
/// # Errors
/// Why, and when a new try makes sense.
pub fn refuse_while_backing_off(instance: &Instance) -> Result<(), WakeError> {
    if let Some(failed) = instance.care.failed() {
        return Err(WakeError::GaveUp { name: instance.name.clone(), reason: failed.reason });
    }
    match instance.failure() {
        Some(failure) if failure.at.elapsed() < failure.back_off() => {
            Err(refusal(instance, &failure))
        }
        _ => Ok(()),
    }
}

/// What a failed start means to those who waited for it.
pub(super) fn refusal(instance: &Instance, failure: &Failure) -> WakeError {
    if let Some(failed) = instance.care.failed() {
        return WakeError::GaveUp { name: instance.name.clone(), reason: failed.reason };
    }
    WakeError::Failed {
        name: instance.name.clone(),
        reason: failure.reason.clone(),
        retry_after: failure.back_off().saturating_sub(failure.at.elapsed()),
    }
}
