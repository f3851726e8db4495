//! Asking the helper, patiently.

use std::time::Duration;

use super::from_units;
use crate::flows::host::HostError;
use crate::units::UnitsError;

/// Between tries of a call that was cut off. Together they outlast a restart of the bus.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_millis(600),
];

/// Asks the helper, again if it or the bus went away during the call. Every verb is idempotent, so that it
/// does no harm if the first call was carried out and only its answer was lost.
pub(super) async fn steadily<T, F>(mut call: impl FnMut() -> F) -> Result<T, HostError>
where
    F: Future<Output = Result<T, UnitsError>>,
{
    let mut pauses = PAUSES.iter();
    loop {
        let error = match call().await {
            Err(error @ UnitsError::Unreachable(_)) => error,
            other => return other.map_err(from_units),
        };
        let Some(pause) = pauses.next() else { return Err(from_units(error)) };
        log::info!("asking the unit helper again: {error}");
        tokio::time::sleep(*pause).await;
    }
}
