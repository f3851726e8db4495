//! What the view knows and what keys do to it; it draws nothing and asks nobody.

use std::cmp::Ordering;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tenement_wire::InstanceName;
use tenement_wire::dto::Tier;

use super::feed::{News, Row, Snapshot};
use crate::args::TopSort;
use crate::output::clean;

/// Rows that Page Up and Page Down move by.
const PAGE: usize = 10;
/// Longest filter, in characters.
const FILTER_MAX: usize = 60;

/// What a key asks for that the model can't do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// The end.
    Quit,
    /// Wake this instance.
    Wake(InstanceName),
    /// Put this one to sleep.
    Sleep(InstanceName),
    /// Read the log of this one, or of none any more.
    Logs(Option<InstanceName>),
}

/// Everything that is shown.
pub struct Model {
    snapshot: Snapshot,
    /// What the rows are sorted by.
    pub sort: TopSort,
    /// Whether the other way round.
    pub reverse: bool,
    /// Text that names must have.
    pub filter: String,
    /// Whether keys are typed into the filter.
    pub typing: bool,
    selected: Option<InstanceName>,
    /// The last thing that happened.
    pub message: Option<String>,
    /// Whether that is a trouble which the next good look ends.
    troubled: bool,
    /// The instance whose log is shown instead of the table, and its lines.
    pub log: Option<(InstanceName, Vec<String>)>,
}

impl Model {
    /// Nothing yet.
    pub fn new(sort: TopSort, filter: String) -> Self {
        Self {
            snapshot: Snapshot::default(),
            sort,
            reverse: false,
            filter,
            typing: false,
            selected: None,
            message: None,
            troubled: false,
            log: None,
        }
    }

    /// The last look at the host.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Takes a new look.
    pub fn take(&mut self, snapshot: Snapshot) {
        self.snapshot = snapshot;
    }

    /// Takes what another thread tells.
    pub fn hear(&mut self, news: News) {
        match news {
            News::Look(snapshot) => {
                if std::mem::take(&mut self.troubled) {
                    self.message = None;
                }
                self.take(*snapshot);
            }
            News::Lines(name, lines) => {
                if let Some((shown, old)) = &mut self.log
                    && *shown == name
                {
                    *old = lines;
                }
            }
            News::Trouble(text) => self.say(&text, true),
            News::Done(text) => self.say(&text, false),
        }
    }

    fn say(&mut self, text: &str, troubled: bool) {
        (self.message, self.troubled) = (Some(clean(text).into_owned()), troubled);
    }

    /// The rows that the filter leaves, in order.
    pub fn rows(&self) -> Vec<&Row> {
        let wanted = self.filter.to_lowercase();
        let all = self.snapshot.rows.iter();
        let mut rows: Vec<&Row> =
            all.filter(|row| row.name.to_string().contains(&wanted)).collect();
        rows.sort_by(|a, b| {
            let order = self.compare(a, b).then_with(|| a.name.cmp(&b.name));
            if self.reverse { order.reverse() } else { order }
        });
        rows
    }

    fn compare(&self, a: &Row, b: &Row) -> Ordering {
        let most = |a: Option<f64>, b: Option<f64>| {
            b.unwrap_or(-1.0).partial_cmp(&a.unwrap_or(-1.0)).unwrap_or(Ordering::Equal)
        };
        match self.sort {
            TopSort::Cpu => most(a.cpu_cores, b.cpu_cores)
                .then_with(|| b.memory_bytes.cmp(&a.memory_bytes))
                .then_with(|| warmth(a.tier).cmp(&warmth(b.tier))),
            TopSort::Memory => b.memory_bytes.cmp(&a.memory_bytes),
            TopSort::Requests => most(a.requests_per_second, b.requests_per_second)
                .then_with(|| b.in_flight.cmp(&a.in_flight)),
            TopSort::Tier => warmth(a.tier).cmp(&warmth(b.tier)),
            TopSort::Name => Ordering::Equal,
        }
    }

    /// Where the selected row is; the first one if there was none, or it has gone.
    pub fn at(&self) -> Option<usize> {
        let rows = self.rows();
        let found = rows.iter().position(|row| Some(&row.name) == self.selected.as_ref());
        found.or((!rows.is_empty()).then_some(0))
    }

    /// The instance that keys are about.
    pub fn current(&self) -> Option<InstanceName> {
        self.at().map(|at| self.rows()[at].name.clone())
    }

    fn step(&mut self, by: isize) {
        let Some(at) = self.at() else { return };
        let last = self.rows().len() - 1;
        let to = at.saturating_add_signed(by).min(last);
        self.selected = Some(self.rows()[to].name.clone());
    }

    /// Does what a key stands for.
    pub fn key(&mut self, key: KeyEvent) -> Option<Wish> {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control && matches!(key.code, KeyCode::Char('c' | 'd')) {
            return Some(Wish::Quit);
        }
        if self.typing {
            self.type_into_filter(key.code);
            return None;
        }
        if self.log.is_some() {
            if matches!(key.code, KeyCode::Char('q' | 'l') | KeyCode::Esc) {
                self.log = None;
                return Some(Wish::Logs(None));
            }
            return None;
        }
        self.message = None;
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc if self.filter.is_empty() => return Some(Wish::Quit),
            KeyCode::Char('q') => return Some(Wish::Quit),
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::Up | KeyCode::Char('k') => self.step(-1),
            KeyCode::PageDown => self.step(PAGE as isize),
            KeyCode::PageUp => self.step(-(PAGE as isize)),
            KeyCode::Home | KeyCode::Char('g') => self.step(isize::MIN / 2),
            KeyCode::End | KeyCode::Char('G') => self.step(isize::MAX / 2),
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Char('c') => self.sort_by(TopSort::Cpu),
            KeyCode::Char('m') => self.sort_by(TopSort::Memory),
            KeyCode::Char('r') => self.sort_by(TopSort::Requests),
            KeyCode::Char('t') => self.sort_by(TopSort::Tier),
            KeyCode::Char('n') => self.sort_by(TopSort::Name),
            KeyCode::Char('w') => return self.wish("waking", Wish::Wake),
            KeyCode::Char('s') => return self.wish("putting to sleep", Wish::Sleep),
            KeyCode::Char('l') | KeyCode::Enter => {
                let name = self.current()?;
                self.log = Some((name.clone(), Vec::new()));
                return Some(Wish::Logs(Some(name)));
            }
            _ => {}
        }
        None
    }

    fn wish(&mut self, doing: &str, wish: impl FnOnce(InstanceName) -> Wish) -> Option<Wish> {
        let name = self.current()?;
        (self.message, self.troubled) = (Some(format!("{doing}: {name}")), false);
        // It stays selected wherever it is sorted to.
        self.selected = Some(name.clone());
        Some(wish(name))
    }

    fn sort_by(&mut self, sort: TopSort) {
        self.reverse = self.sort == sort && !self.reverse;
        self.sort = sort;
    }

    fn type_into_filter(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.filter.clear();
                self.typing = false;
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(c) if !c.is_control() && self.filter.chars().count() < FILTER_MAX => {
                self.filter.push(c);
            }
            _ => {}
        }
    }
}

/// The warmest first.
fn warmth(tier: Tier) -> u8 {
    match tier {
        Tier::Running => 0,
        Tier::Reclaimed => 1,
        Tier::Frozen => 2,
        Tier::Parked => 3,
        Tier::Stopped => 4,
        Tier::Dormant => 5,
    }
}
