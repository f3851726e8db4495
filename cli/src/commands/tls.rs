//! `ten tls`: certificates.

use std::path::Path;
use std::process::Command;

use clap::builder::styling::Style;
use tenement_wire::tls::{CertificateList, CertificateView, RootCertificate};

use crate::args::{Tls, TlsAction};
use crate::client::{Agent, encoded};
use crate::error::{CliError, Kind, Result};
use crate::human;
use crate::output::{BAD, BOLD, Output};
use crate::table::{Listing, dash, pairs};

/// Where Debian's `update-ca-certificates` takes roots from.
const ROOTS: &str = "/usr/local/share/ca-certificates";
/// Where Fedora's `update-ca-trust` does.
const ANCHORS: &str = "/etc/pki/ca-trust/source/anchors";

/// Does what the verb says.
pub fn run(agent: &Agent, out: Output, args: &Tls) -> Result<()> {
    match &args.action {
        TlsAction::Ls => list(agent, out),
        TlsAction::Show(which) => {
            show(out, &agent.get(&format!("/tls/certificates/{}", encoded(&which.name)))?)
        }
        TlsAction::Renew(which) => {
            let path = format!("/tls/certificates/{}/renew", encoded(&which.name));
            let view: CertificateView = agent.post(&path)?;
            if out.json {
                return out.json(&view);
            }
            out.say(&format!(
                "renewing {BOLD}{}{BOLD:#}: `ten tls show` tells how it went",
                view.name
            ));
            Ok(())
        }
        TlsAction::Trust { out: file } => trust(agent, out, file.as_deref()),
    }
}

fn list(agent: &Agent, out: Output) -> Result<()> {
    let list: CertificateList = agent.get("/tls/certificates")?;
    if out.json {
        return out.json(&list);
    }
    if !list.enabled {
        out.say("HTTPS is off: add [tls] or [acme] to the config (TLS.md)");
        return Ok(());
    }
    if list.listeners == 0 {
        out.say("no socket for HTTPS: systemctl enable tenement-https.socket tenement-http.socket && systemctl restart tenement");
    }
    let mut listing = Listing::new(&["NAME", "FROM", "EXPIRES", "RENEWED", "STATE"]);
    let now = human::now_ms();
    for one in &list.certificates {
        let more = one.names.len().saturating_sub(1);
        let name = if more > 0 { format!("{} +{more}", one.name) } else { one.name.clone() };
        let expired = one.expires_ms.is_some_and(|at| at <= now);
        let state = match (&one.error, one.expires_ms) {
            (Some(error), _) => error.clone(),
            (None, None) => "not there yet".to_owned(),
            (None, Some(_)) if expired => "expired".to_owned(),
            (None, Some(_)) => "good".to_owned(),
        };
        let style = if expired || one.error.is_some() { BAD } else { Style::new() };
        let cells = [
            name,
            one.source.as_str().to_owned(),
            ahead(now, one.expires_ms),
            ahead(now, one.renew_ms),
            state,
        ];
        listing.row(style, &cells);
    }
    out.data(&listing.render())
}

/// How long until then.
fn ahead(now: u64, at: Option<u64>) -> String {
    match at {
        None => dash(),
        Some(at) if at <= now => "now".to_owned(),
        Some(at) => format!("in {}", human::span((at - now) / 1000)),
    }
}

fn show(out: Output, view: &CertificateView) -> Result<()> {
    if out.json {
        return out.json(view);
    }
    let time = |ms: Option<u64>| ms.map_or_else(dash, human::utc);
    out.data(&pairs(&[
        ("names", view.names.join(", ")),
        ("from", view.source.as_str().to_owned()),
        ("issuer", view.issuer.clone().unwrap_or_else(dash)),
        ("valid from", time(view.from_ms)),
        ("valid to", time(view.expires_ms)),
        ("renewed", time(view.renew_ms)),
        ("file", view.file.clone().unwrap_or_else(dash)),
        ("error", view.error.clone().unwrap_or_else(|| "none".to_owned())),
    ]))
}

fn trust(agent: &Agent, out: Output, file: Option<&Path>) -> Result<()> {
    let root: RootCertificate = agent.get("/tls/root")?;
    if out.json {
        return out.json(&root);
    }
    if let Some(file) = file {
        std::fs::write(file, &root.pem).map_err(|error| CliError::file("write", file, &error))?;
        out.say(&format!("the root is in {}", file.display()));
        return Ok(());
    }
    let (dir, program) = [(ROOTS, "update-ca-certificates"), (ANCHORS, "update-ca-trust")]
        .into_iter()
        .find(|(dir, _)| Path::new(dir).is_dir())
        .ok_or_else(|| {
            let hint =
                "apt install ca-certificates, or write it to a file: ten tls trust --out root.crt";
            CliError::failure("this host has no store of roots that is known here", hint)
        })?;
    let path = Path::new(dir).join("tenement.crt");
    std::fs::write(&path, &root.pem).map_err(|error| {
        if error.kind() == std::io::ErrorKind::PermissionDenied {
            let detail = format!("{} can't be written: {error}", path.display());
            return CliError::new(Kind::Denied, "permission_denied", detail, "sudo ten tls trust");
        }
        CliError::file("write", &path, &error)
    })?;
    let ran = Command::new(program).output();
    let ran =
        ran.map_err(|error| CliError::failure(format!("{program}: {error}"), "run it yourself"))?;
    if !ran.status.success() {
        let said = String::from_utf8_lossy(&ran.stderr).trim().to_owned();
        return Err(CliError::failure(format!("{program} failed: {said}"), "run it yourself"));
    }
    out.say(&format!("programs of this host believe its CA now ({})", path.display()));
    Ok(())
}
