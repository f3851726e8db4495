//! A listing of all units: few questions at once, and an error of one is that one's alone.

use std::collections::HashMap;

use futures_util::{StreamExt as _, stream};
use tenement_wire::InstanceName;

use super::host::{Active, HostError, Listed, Units};

/// Questions to systemd side by side.
const ASKED_AT_ONCE: usize = 16;

/// Asks those that are up whether they are parked, a few side by side: they alone have anything to say.
pub(super) async fn who_is_parked<F>(
    pairs: HashMap<InstanceName, Units>,
    ask: impl Fn(InstanceName) -> F,
) -> Listed
where
    F: Future<Output = Result<bool, HostError>>,
{
    let ask = &ask;
    let asked = pairs.into_iter().map(|(name, units)| async move {
        if units.service != Active::Active {
            return (name, Ok(units));
        }
        let parked = ask(name.clone()).await;
        (name, parked.map(|parked| Units { parked, ..units }))
    });
    stream::iter(asked).buffer_unordered(ASKED_AT_ONCE).collect().await
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn an_error_of_one_unit_concerns_it_alone_and_few_questions_are_asked_at_once() {
        let units = Units { service: Active::Active, ..Units::default() };
        let name = |n: usize| -> InstanceName { format!("api:n{n}").parse().unwrap() };
        let pairs = (0..500).map(|n| (name(n), units)).collect();
        let (open, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (open, most) = (&open, &most);
        let listed = who_is_parked(pairs, |one| async move {
            most.fetch_max(open.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            open.fetch_sub(1, Ordering::Relaxed);
            match one == name(7) {
                true => Err(HostError::Failed("as scripted".into())),
                false => Ok(true),
            }
        })
        .await;
        assert_eq!((listed.len(), most.load(Ordering::Relaxed)), (500, ASKED_AT_ONCE));
        let (bad, good): (Vec<_>, Vec<_>) = listed.into_iter().partition(|(_, one)| one.is_err());
        assert_eq!(bad.iter().map(|(one, _)| one.clone()).collect::<Vec<_>>(), [name(7)]);
        assert!(good.iter().all(|(_, one)| one.as_ref().is_ok_and(|units| units.parked)));
    }
}
