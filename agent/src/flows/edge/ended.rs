//! How a run of a service ended.

use tenement_wire::status::ServiceView;

/// How a run ended, in words: systemd.exec(5) "Process Exit Codes" for the codes from 200 on.
pub(super) fn ended(service: &ServiceView) -> Option<String> {
    match service.result.as_str() {
        "" | "success" => None,
        "exit-code" if let Some(code) = service.exit_code => Some(match code {
            200 => "its directory can't be entered (200/CHDIR)".into(),
            203 => "its command can't be executed (203/EXEC)".into(),
            217 => "its user does not exist (217/USER)".into(),
            226 => "its sandbox can't be set up (226/NAMESPACE)".into(),
            _ => format!("it exited with status {code}"),
        }),
        "signal" | "core-dump" => {
            Some(format!("it was killed by signal {}", service.exit_signal.unwrap_or_default()))
        }
        "oom-kill" => Some("it ran out of its memory and was killed".into()),
        "watchdog" => Some("its watchdog timed out and it was killed".into()),
        "timeout" => Some("it did not start or stop in time".into()),
        other => Some(other.to_owned()),
    }
}
