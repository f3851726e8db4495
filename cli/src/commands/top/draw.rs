//! The screen: two lines of figures, the table or a log, a line of what happened, a line of keys.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Paragraph, Row as TableRow, Table, TableState};
use tenement_wire::dto::State;

use super::feed::{Row, Summary};
use super::model::Model;
use crate::args::TopSort;
use crate::human;

/// Keys, as far as they fit into 80 columns.
const KEYS: &str = "q quit  / filter  sort: c m r t n  w wake  s sleep  l log  arrows move";
/// The headings, and by what each sorts.
pub const HEADINGS: [(&str, Option<TopSort>); 8] = [
    ("NAME", Some(TopSort::Name)),
    ("STATE", None),
    ("TIER", Some(TopSort::Tier)),
    ("CPU%", Some(TopSort::Cpu)),
    ("MEMORY", Some(TopSort::Memory)),
    ("REQ/S", Some(TopSort::Requests)),
    ("OPEN", None),
    ("WAKES", None),
];
const NAME_MIN: u16 = 12;
const WIDTHS: [u16; 7] = [9, 9, 7, 9, 8, 5, 6];

/// Draws everything anew.
pub fn draw(frame: &mut Frame, model: &mut Model, colours: bool) {
    let areas: [Rect; 5] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let summary = &model.snapshot().summary;
    frame.render_widget(Line::from(host(summary)).style(bold), areas[0]);
    frame.render_widget(Line::from(tenants(summary)), areas[1]);
    let keys = match &model.log {
        Some((name, lines)) => {
            log(frame, areas[2], &name.to_string(), lines);
            "q back to the table".to_owned()
        }
        None => {
            table(frame, areas[2], model, colours);
            KEYS.to_owned()
        }
    };
    let filter = match (model.typing, model.filter.is_empty()) {
        (true, _) => format!("filter: {}_", model.filter),
        (false, false) => format!("filter: {} (Esc clears it)", model.filter),
        (false, true) => String::new(),
    };
    // A name that its column cuts is whole here.
    let cut = |name: &String| name.len() > usize::from(name_width(frame.area().width));
    let whole = model.current().map(|name| name.to_string()).filter(cut);
    let said = model.message.clone().or(whole.filter(|_| model.log.is_none())).unwrap_or_default();
    let line = [filter, said].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>();
    frame.render_widget(Line::from(line.join("  ")), areas[3]);
    let dim = Style::new().add_modifier(Modifier::REVERSED);
    frame.render_widget(Paragraph::new(keys).style(dim), areas[4]);
}

/// Columns for the name.
fn name_width(all: u16) -> u16 {
    let others: u16 = WIDTHS.iter().map(|width| width + 1).sum();
    all.saturating_sub(others).max(NAME_MIN)
}

/// `load 0.41 0.30 0.22 of 2 cpus  memory 1.2 GiB of 3.8 GiB  up 3d`.
pub fn host(summary: &Summary) -> String {
    let Some(host) = &summary.host else { return "ten top".to_owned() };
    let load: Vec<String> = host.load.iter().map(|load| format!("{load:.2}")).collect();
    let memory = match host.memory_available_bytes {
        Some(free) => format!(
            "memory {} of {}",
            human::bytes(host.memory_bytes.saturating_sub(free)),
            human::bytes(host.memory_bytes)
        ),
        None => format!("memory {}", human::bytes(host.memory_bytes)),
    };
    let up = human::span(host.uptime_seconds);
    format!("load {} of {} cpus  {memory}  up {up}", load.join(" "), host.cpus)
}

/// `12 instances  4.0 req/s  0.12 cores  120 MiB: 3 running, 1 frozen, 8 dormant`. What a narrow screen cuts is the
/// end of the tiers.
pub fn tenants(summary: &Summary) -> String {
    let tiers = summary.tiers.iter().filter(|(_, count)| **count > 0);
    let mut words: Vec<String> = tiers.map(|(word, count)| format!("{count} {word}")).collect();
    if let Some(failed) = summary.states.get("failed").filter(|count| **count > 0) {
        words.insert(0, format!("{failed} FAILED"));
    }
    let mut text = format!("{} instances", summary.instances);
    if let Some(rate) = summary.requests_per_second {
        text.push_str(&format!("  {rate:.1} req/s"));
    }
    if let Some(cores) = summary.cpu_cores {
        text.push_str(&format!("  {cores:.2} cores"));
    }
    if let Some(bytes) = summary.memory_bytes {
        text.push_str(&format!("  {}", human::bytes(bytes)));
    }
    if !words.is_empty() {
        text.push_str(&format!(": {}", words.join(", ")));
    }
    text
}

/// A row's cells, as text.
pub fn cells(row: &Row) -> [String; 8] {
    let dash = || "-".to_owned();
    [
        row.name.to_string(),
        row.state.as_str().to_owned(),
        row.tier.as_str().to_owned(),
        row.cpu_cores.map_or_else(dash, |cores| format!("{:.1}", cores * 100.0)),
        row.memory_bytes.map_or_else(dash, human::bytes),
        row.requests_per_second.map_or_else(dash, |rate| format!("{rate:.1}")),
        row.in_flight.to_string(),
        row.wakes.to_string(),
    ]
}

fn table(frame: &mut Frame, area: Rect, model: &Model, colours: bool) {
    let rows = model.rows();
    let body = rows.iter().map(|row| {
        let cells = cells(row).map(Cell::from);
        TableRow::new(cells).style(style(row.state, colours))
    });
    let heads = HEADINGS.map(|(word, sort)| {
        let mark = match sort {
            Some(sort) if sort == model.sort && model.reverse => "^",
            Some(sort) if sort == model.sort => "*",
            _ => "",
        };
        Cell::from(format!("{word}{mark}"))
    });
    let heads = TableRow::new(heads).style(Style::new().add_modifier(Modifier::BOLD));
    let widths = std::iter::once(Constraint::Min(NAME_MIN)).chain(WIDTHS.map(Constraint::Length));
    let table = Table::new(body, widths)
        .header(heads)
        .column_spacing(1)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = TableState::new().with_selected(model.at());
    frame.render_stateful_widget(table, area, &mut state);
}

/// The last lines that fit.
fn log(frame: &mut Frame, area: Rect, name: &str, lines: &[String]) {
    let room = usize::from(area.height.saturating_sub(1));
    let from = lines.len().saturating_sub(room);
    let head = if lines.is_empty() { format!("{name}: no lines yet") } else { format!("{name}:") };
    let mut text = vec![Line::from(head).style(Style::new().add_modifier(Modifier::BOLD))];
    text.extend(lines[from..].iter().map(|line| Line::from(line.as_str())));
    frame.render_widget(Paragraph::new(text), area);
}

fn style(state: State, colours: bool) -> Style {
    let style = Style::new();
    if !colours {
        return if state == State::Failed { style.add_modifier(Modifier::BOLD) } else { style };
    }
    match state {
        State::Running => style.fg(Color::Green),
        State::Starting | State::Stopping => style.fg(Color::Yellow),
        State::Failed => style.fg(Color::Red),
        State::Asleep => style,
    }
}
