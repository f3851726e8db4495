//! `ten events`: who did what, and what happened by itself.

use clap::builder::styling::Style;
use jiff::tz::TimeZone;
use tenement_wire::events::{Event, EventKind, EventPage, EventsMissed};

use super::follow;
use crate::args::Events;
use crate::client::{Agent, path_with};
use crate::error::{CliError, Result};
use crate::human;
use crate::output::{BAD, BOLD, DIM, Output, WARN, clean};

/// Shows the newest, from old to new, and goes on if it is told to.
pub fn run(agent: &Agent, out: Output, args: &Events) -> Result<()> {
    let asked = asked(args);
    let page: EventPage = agent.get(&path("/events", &asked, Some(args.lines)))?;
    if page.dropped > 0 {
        out.say(&format!(
            "{} events could not be kept since the agent started: see its log",
            page.dropped
        ));
    }
    if out.json && !args.follow {
        return out.json(&page);
    }
    for event in page.events.iter().rev() {
        print(out, event)?;
    }
    if !args.follow {
        if page.events.is_empty() {
            out.say("no such event");
        }
        return Ok(());
    }
    // Where nothing was shown all that matches is new, also what came before the stream is open.
    let after = page.events.first().map_or(0, |event| event.id);
    let path = path("/events/stream", &asked, None);
    follow::run(agent, out, &path, Some(after.to_string()), &mut |event, data| {
        if event != "missed" {
            let event: Event = serde_json::from_str(data).map_err(|error| {
                CliError::failure(
                    format!("an event can't be understood: {error}"),
                    "ten and tenementd may be of different versions: compare them with ten version",
                )
            })?;
            return print(out, &event);
        }
        if let Ok(EventsMissed { count }) = serde_json::from_str(data) {
            out.say(&format!("some events were left out ({count} at most)"));
        }
        Ok(())
    })
}

/// What is asked for, as parameters.
fn asked(args: &Events) -> Vec<(&'static str, String)> {
    let mut asked = Vec::new();
    if let Some(target) = args.target.as_ref().or(args.instance.as_ref()) {
        match &target.id {
            Some(id) => asked.push(("instance", format!("{}:{id}", target.process))),
            None => asked.push(("process", target.process.to_string())),
        }
    }
    if !args.kind.is_empty() {
        let kinds: Vec<_> = args.kind.iter().map(|kind| kind.as_str()).collect();
        asked.push(("kind", kinds.join(",")));
    }
    let texts = [
        ("actor", &args.actor),
        ("since", &args.since),
        ("until", &args.until),
        ("text", &args.search),
    ];
    for (field, value) in texts {
        asked.extend(value.as_ref().map(|value| (field, value.clone())));
    }
    if args.since.is_some() || args.until.is_some() {
        asked.extend(TimeZone::system().iana_name().map(|zone| ("zone", zone.to_owned())));
    }
    asked
}

fn path(route: &str, asked: &[(&'static str, String)], limit: Option<u32>) -> String {
    let mut given = asked.to_vec();
    given.extend(limit.map(|limit| ("limit", limit.to_string())));
    path_with(route, &given)
}

/// One line: when, what kind, who from where, what.
fn print(out: Output, event: &Event) -> Result<()> {
    if out.json {
        let line = serde_json::to_string(event).unwrap_or_default();
        return out.data(&line);
    }
    if out.quiet {
        return out.data(&event.id.to_string());
    }
    let style = style(event);
    let who = event.actor.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
    let from = match event.address.as_deref() {
        None | Some("local") => String::new(),
        Some(address) => format!(" {DIM}from {}{DIM:#}", clean(address)),
    };
    let kind = event.kind.as_str();
    out.data(&format!(
        "{DIM}{}{DIM:#} {style}{kind:<12}{style:#} {BOLD}{}{BOLD:#}{from} {}",
        human::utc(event.time_ms),
        clean(&who),
        clean(&event.message)
    ))
}

fn style(event: &Event) -> Style {
    match event.kind {
        EventKind::Failed
        | EventKind::RestartLoop
        | EventKind::Oom
        | EventKind::WakeFailed
        | EventKind::Certificate => BAD,
        EventKind::Quota | EventKind::Lockout | EventKind::Refused => WARN,
        EventKind::Change if event.code.is_some() => WARN,
        EventKind::State | EventKind::Operation => DIM,
        _ => Style::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_arrives_as_it_is() {
        let args = Events {
            target: Some("api:prod".parse().unwrap()),
            kind: vec![EventKind::Oom, EventKind::RestartLoop],
            actor: Some("token:a b".into()),
            search: Some("50%".into()),
            ..Events::default()
        };
        assert_eq!(
            path("/events", &asked(&args), Some(5)),
            "/events?instance=api:prod&kind=oom%2Crestart-loop&actor=token:a%20b&text=50%25&limit=5"
        );
    }
}
