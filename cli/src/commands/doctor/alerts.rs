//! Whether alerts reach their receiver.

use tenement_wire::alerts::AlertsView;

use super::Check;
use crate::commands::alerts::tried;

/// That the last alert was taken.
pub fn alerts(view: &AlertsView) -> Check {
    const NAME: &str = "alerts";
    let Some(receiver) = &view.receiver else {
        return Check::ok(NAME, "none are sent: the config has no [alerts]");
    };
    match &view.last {
        None => Check::ok(NAME, format!("to {receiver}; none was needed yet (ten alerts test)")),
        Some(last) if last.taken => Check::ok(NAME, format!("to {receiver}; {}", tried(last))),
        Some(last) => Check::warn(
            NAME,
            format!("to {receiver}; {}", tried(last)),
            "mend the receiver or [alerts] in the config, then: ten alerts test",
        ),
    }
}

#[cfg(test)]
mod tests {
    use tenement_wire::alerts::AlertTried;

    use super::super::Status;
    use super::*;

    #[test]
    fn a_receiver_that_does_not_take_alerts_is_a_warning() {
        let mut view = AlertsView::default();
        assert_eq!(alerts(&view).status, Status::Ok);
        view.receiver = Some("https://alerts.example.com".into());
        assert_eq!(alerts(&view).status, Status::Ok);
        let said = "can't connect".to_owned();
        view.last = Some(AlertTried { time_ms: 1, taken: false, status: None, said });
        let check = alerts(&view);
        assert_eq!(check.status, Status::Warn);
        assert!(check.detail.contains("can't connect"), "{}", check.detail);
    }
}
