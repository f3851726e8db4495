//! `ten domain`, `ten weight` and `ten maintenance`.

use clap::builder::styling::Style;
use tenement_wire::InstanceName;
use tenement_wire::domains::{
    AddDomain, DomainList, DomainRemoved, DomainState, DomainView, ProcessRouting, RoutingChange,
};

use crate::args::{Domain, DomainAction, Maintenance, Share, Switch, Weight};
use crate::client::{Agent, path_with};
use crate::error::{CliError, Result};
use crate::human;
use crate::output::{BOLD, GOOD, Output, WARN};
use crate::table::{Listing, dash, pairs};

/// Domains of one page.
const PAGE: usize = 1000;

/// `ten domain`.
pub fn run(agent: &Agent, out: Output, args: &Domain) -> Result<()> {
    match &args.action {
        DomainAction::Add { domain, target } => {
            let wish = AddDomain { domain: domain.clone(), target: target.clone() };
            let view: DomainView = agent.post_json("/domains", &wish)?;
            report(out, &view)
        }
        DomainAction::Ls { target } => {
            let mut given = vec![("limit", PAGE.to_string())];
            given.extend(target.as_ref().map(|target| ("target", target.to_string())));
            list(agent, out, &given)
        }
        DomainAction::Show(which) => report(out, &agent.get(&path(&which.domain, ""))?),
        DomainAction::Check(which) => report(out, &agent.post(&path(&which.domain, "/check"))?),
        DomainAction::Rm(which) => {
            let gone: DomainRemoved = agent.delete(&path(&which.domain, ""))?;
            if out.json {
                return out.json(&gone);
            }
            out.say(&format!("{} is removed", gone.domain));
            Ok(())
        }
    }
}

/// A name may hold other letters than a path may.
fn path(domain: &str, verb: &str) -> String {
    let encoded: String = domain.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-.*".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
        text
    });
    format!("/domains/{encoded}{verb}")
}

fn list(agent: &Agent, out: Output, given: &[(&str, String)]) -> Result<()> {
    let mut list: DomainList = agent.get(&path_with("/domains", given))?;
    while let Some(cursor) = list.next.take() {
        let mut given = given.to_vec();
        given.push(("cursor", cursor));
        let page: DomainList = agent.get(&path_with("/domains", &given))?;
        list.domains.extend(page.domains);
        list.next = page.next;
    }
    if out.json {
        return out.json(&list);
    }
    if out.quiet {
        let names: String = list.domains.iter().map(|one| format!("{}\n", one.domain)).collect();
        return out.data(&names);
    }
    if list.domains.is_empty() {
        out.say("there are no custom domains: add one with ten domain add DOMAIN PROCESS:ID");
        return Ok(());
    }
    let now = human::now_ms();
    let mut listing =
        Listing::new(&["DOMAIN", "TARGET", "STATE", "DNS", "CERTIFICATE", "CHECKED", "FIX"]);
    for one in &list.domains {
        let style = if one.fix.is_empty() { Style::new() } else { WARN };
        let cells = [
            one.unicode.clone().unwrap_or_else(|| one.domain.clone()),
            one.target.to_string(),
            one.state.as_str().to_owned(),
            one.dns.state.as_str().to_owned(),
            certificate(one, now),
            one.checked_ms.map_or_else(dash, |then| human::ago(now, then)),
            one.fix.first().cloned().unwrap_or_default(),
        ];
        listing.row(style, &cells);
    }
    out.data(&listing.render())
}

fn certificate(domain: &DomainView, now: u64) -> String {
    let Some(certificate) = &domain.certificate else { return dash() };
    match certificate.expires_ms {
        Some(ends) if ends > now => {
            format!("{}, {} left", certificate.state, human::span((ends - now) / 1000))
        }
        _ => certificate.state.clone(),
    }
}

fn report(out: Output, domain: &DomainView) -> Result<()> {
    if out.json {
        return out.json(domain);
    }
    if out.quiet {
        return out.data(&format!("{}\n", domain.domain));
    }
    let now = human::now_ms();
    let mut rows = vec![("domain", domain.domain.clone())];
    rows.extend(domain.unicode.clone().map(|text| ("in letters", text)));
    let proof = domain.proof.map(|proof| format!(", by {}", proof.as_str())).unwrap_or_default();
    rows.push(("leads to", domain.target.to_string()));
    rows.push(("state", format!("{}{proof}", domain.state.as_str())));
    let addresses = domain.dns.addresses.join(", ");
    let dns = domain.dns.state.as_str();
    rows.push((
        "DNS",
        if addresses.is_empty() { dns.into() } else { format!("{dns} ({addresses})") },
    ));
    rows.push(("certificate", certificate(domain, now)));
    rows.push((
        "added",
        format!("{} by {}", human::ago(now, domain.created_ms), domain.created_by),
    ));
    rows.push(("checked", domain.checked_ms.map_or_else(dash, |then| human::ago(now, then))));
    if let Some(challenge) = &domain.challenge {
        rows.push(("TXT name", challenge.txt_name.clone()));
        rows.push(("TXT value", challenge.txt_value.clone()));
    }
    out.data(&pairs(&rows))?;
    let next = match domain.next_check_ms {
        Some(at) if domain.state == DomainState::Pending => {
            format!("; it is checked by itself in {}", human::span(at.saturating_sub(now) / 1000))
        }
        _ => String::new(),
    };
    for fix in &domain.fix {
        out.say(&format!("{WARN}to do:{WARN:#} {fix}"));
    }
    match domain.state {
        DomainState::Verified => out.say(&format!("{GOOD}it routes{GOOD:#}")),
        DomainState::Pending => out.say(&format!("{BOLD}it does not route yet{BOLD:#}{next}")),
    }
    Ok(())
}

/// `ten weight`.
pub fn weight(agent: &Agent, out: Output, args: &Weight) -> Result<()> {
    let path = format!("/processes/{}/routing", args.target.process);
    let routing: ProcessRouting = match (&args.target.instance, args.weight) {
        (_, None) => agent.get(&path)?,
        (None, Some(_)) => {
            let hint = format!("name one: ten weight {}:ID WEIGHT", args.target.process);
            return Err(CliError::usage("a process has no weight, its instances have", &hint));
        }
        (Some(id), Some(share)) => {
            let weight = match share {
                Share::Of(weight) => Some(weight),
                Share::Default => None,
            };
            let change = RoutingChange { instance: Some(id.clone()), weight, maintenance: None };
            agent.patch(&path, &change)?
        }
    };
    weights(out, &routing, args.target.instance_name().filter(|_| args.weight.is_none()))
}

/// Shows weights, or that of one instance.
pub fn weights(out: Output, routing: &ProcessRouting, only: Option<InstanceName>) -> Result<()> {
    if out.json {
        return out.json(routing);
    }
    let mut listing = Listing::new(&["INSTANCE", "WEIGHT", "SHARE"]);
    for one in routing.weights.iter().filter(|one| only.as_ref().is_none_or(|n| one.name == *n)) {
        let set = if one.set { "" } else { " (default)" };
        let cells =
            [one.name.to_string(), format!("{}{set}", one.weight), format!("{:.1} %", one.percent)];
        listing.row(Style::new(), &cells);
    }
    out.data(&listing.render())
}

/// `ten maintenance`.
pub fn maintenance(agent: &Agent, out: Output, args: &Maintenance) -> Result<()> {
    let path = format!("/processes/{}/routing", args.process);
    let routing: ProcessRouting = match args.switch {
        None => agent.get(&path)?,
        Some(switch) => {
            let maintenance = Some(switch == Switch::On);
            agent.patch(&path, &RoutingChange { maintenance, ..RoutingChange::default() })?
        }
    };
    if out.json {
        return out.json(&routing);
    }
    let since = routing.since_ms.map(|then| human::ago(human::now_ms(), then)).unwrap_or_default();
    out.data(&match routing.maintenance {
        true => format!("{} is in maintenance, since {since}\n", args.process),
        false => format!("{} serves requests\n", args.process),
    })
}
