//! A program of the operator's, for every DNS that is not known here.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// How long it may take.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Runs `command present|cleanup NAME TEXT`, with the same in its environment. It runs as the agent does, in its
/// sandbox, with nothing of its environment but a PATH.
pub(super) async fn run(
    command: &[String],
    add: bool,
    name: &str,
    text: &str,
) -> Result<(), String> {
    let verb = if add { "present" } else { "cleanup" };
    let [program, words @ ..] = command else { return Err("there is no command".into()) };
    let child = Command::new(program)
        .args(words)
        .args([verb, name, text])
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("TENEMENT_DNS_ACTION", verb)
        .env("TENEMENT_DNS_NAME", name)
        .env("TENEMENT_DNS_TEXT", text)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let child = child.map_err(|error| format!("{program}: {error}"))?;
    let ran = tokio::time::timeout(TIMEOUT, child.wait_with_output()).await;
    let ran = ran.map_err(|_| format!("{program} did not end in time"))?;
    let ran = ran.map_err(|error| format!("{program}: {error}"))?;
    if ran.status.success() {
        return Ok(());
    }
    let said: String = String::from_utf8_lossy(&ran.stderr).trim().chars().take(300).collect();
    let said: String = said.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    Err(format!("{program} {verb}: {}: {said}", ran.status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hook_gets_the_record_and_its_failure_is_told() {
        let script = "test \"$1 $2 $3\" = 'present _acme-challenge.a.example text' && test \"$TENEMENT_DNS_NAME\" = \"$2\" && test -z \"$HOME\" || { echo \"no: $1\" >&2; exit 3; }";
        let hook: Vec<String> = ["/bin/sh", "-c", script, "hook"].map(String::from).into();
        run(&hook, true, "_acme-challenge.a.example", "text").await.unwrap();
        let failed = run(&hook, false, "_acme-challenge.a.example", "text").await.unwrap_err();
        assert!(failed.contains("exit status: 3: no: cleanup"), "{failed}");
    }
}
