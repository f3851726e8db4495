//! `ten show --security`: what systemd-analyze says of the unit of an instance.

use std::process::Command;

use serde_json::{Value, json};
use tenement_wire::InstanceName;

use crate::endpoint::Mode;
use crate::error::{CliError, Result};
use crate::output::{Output, clean};

/// How many of the worst lines are shown.
const WORST: usize = 10;

/// Prints the exposure of the loaded unit: 0 is best, 10 is worst.
pub fn run(mode: Mode, out: Output, name: &InstanceName) -> Result<()> {
    let unit = name.service_unit();
    let text = analyze(mode, &unit, &[])?;
    let Some(overall) = overall(&text) else {
        return Err(CliError::failure(
            format!("{name} is dormant, or systemd-analyze does not know {unit}"),
            format!("load its unit with `ten wake {name}`, and ask again"),
        ));
    };
    let lines = worst(&analyze(mode, &unit, &["--json=short"])?)?;
    if out.json {
        return out.json(&json!({ "name": name, "exposure": overall, "worst": lines }));
    }
    if out.quiet {
        return out.data(&format!("{overall}\n"));
    }
    let mut shown = format!("exposure  {overall} of 10 (0 is best)\n");
    for line in &lines {
        let of = |key: &str| clean(line[key].as_str().unwrap_or_default()).into_owned();
        shown.push_str(&format!("{:>8}  {:<42} {}\n", of("exposure"), of("setting"), of("why")));
    }
    out.data(&shown)
}

fn analyze(mode: Mode, unit: &str, options: &[&str]) -> Result<String> {
    let mut command = Command::new("systemd-analyze");
    if mode == Mode::User {
        command.arg("--user");
    }
    let ran = command.args(["security", "--no-pager"]).args(options).arg(unit).output();
    let ran = ran.map_err(|error| {
        CliError::failure(
            format!("can't run systemd-analyze: {error}"),
            "it is a part of systemd: install that, or add it to PATH",
        )
    })?;
    Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
}

/// The figure of the last line: `→ Overall exposure level for UNIT: 1.2 OK`.
fn overall(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.contains("exposure level for"))?;
    line.rsplit_once(": ")?.1.split_whitespace().next()?.parse().ok()
}

/// The settings that add most, worst first.
fn worst(text: &str) -> Result<Vec<Value>> {
    let all: Vec<Value> = serde_json::from_str(text).map_err(|error| {
        CliError::failure(
            format!("systemd-analyze answered no JSON: {error}"),
            "look with `systemd-analyze security`",
        )
    })?;
    let mut found: Vec<(f64, Value)> = all
        .iter()
        .filter_map(|line| {
            let exposure = line["exposure"].as_str()?;
            let row =
                json!({"setting": line["name"], "exposure": exposure, "why": line["description"]});
            Some((exposure.parse().ok()?, row))
        })
        .collect();
    found.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    found.truncate(WORST);
    Ok(found.into_iter().map(|(_, row)| row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figure_and_the_worst_lines_are_found() {
        let text = "x\n\u{2192} Overall exposure level for ten-a@b.service: 1.3 OK \u{1f642}\n";
        assert_eq!(overall(text), Some(1.3));
        assert_eq!(overall("Unit x not found, cannot analyze."), None);
        let json = r#"[{"name":"A","description":"a","exposure":null},
            {"name":"B","description":"b","exposure":"0.1"},
            {"name":"C","description":"c","exposure":"0.5"}]"#;
        let lines = worst(json).unwrap();
        assert_eq!((lines.len(), lines[0]["setting"].as_str()), (2, Some("C")));
    }
}
