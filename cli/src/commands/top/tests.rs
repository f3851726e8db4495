//! Keys and the screen, on a terminal that is a buffer.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tenement_wire::dto::{State, Tier};

use super::draw;
use super::feed::{Host, News, Row, Snapshot, Summary};
use super::model::{Model, Wish};
use crate::args::TopSort;

fn row(name: &str, tier: Tier, cpu: Option<f64>, memory: Option<u64>, rate: f64) -> Row {
    let state = if tier == Tier::Running { State::Running } else { State::Asleep };
    Row {
        name: name.parse().unwrap(),
        state,
        tier,
        cpu_cores: cpu,
        memory_bytes: memory,
        requests_per_second: Some(rate),
        in_flight: 0,
        wakes: 3,
    }
}

fn model() -> Model {
    let mut model = Model::new(TopSort::Cpu, String::new());
    let host = Host {
        load: vec![0.5, 0.25, 0.1],
        cpus: 2,
        memory_bytes: 4 << 30,
        memory_available_bytes: Some(1 << 30),
        uptime_seconds: 86_400,
    };
    let summary = Summary {
        instances: 3,
        tiers: [("running".to_owned(), 2), ("dormant".to_owned(), 1)].into(),
        requests_per_second: Some(7.25),
        host: Some(host),
        ..Summary::default()
    };
    let rows = vec![
        row("api:busy", Tier::Running, Some(0.75), Some(10 << 20), 1.0),
        row("api:fat", Tier::Running, Some(0.25), Some(90 << 20), 5.0),
        row("web:idle", Tier::Dormant, None, None, 0.0),
    ];
    model.take(Snapshot { summary, rows });
    model
}

fn press(model: &mut Model, code: KeyCode) -> Option<Wish> {
    model.key(KeyEvent::new(code, KeyModifiers::NONE))
}

fn names(model: &Model) -> Vec<String> {
    model.rows().iter().map(|row| row.name.id().to_string()).collect()
}

fn screen(model: &mut Model, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw::draw(frame, model, true)).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol().to_owned()).collect::<String>();
    (0..height).map(|y| line(y).trim_end().to_owned()).collect()
}

#[test]
fn keys_sort_by_what_they_name_and_the_same_key_turns_it_round() {
    let mut model = model();
    assert_eq!(names(&model), ["busy", "fat", "idle"]);
    press(&mut model, KeyCode::Char('m'));
    assert_eq!(names(&model), ["fat", "busy", "idle"]);
    press(&mut model, KeyCode::Char('m'));
    assert_eq!(names(&model), ["idle", "busy", "fat"]);
    press(&mut model, KeyCode::Char('r'));
    assert_eq!(names(&model), ["fat", "busy", "idle"]);
    press(&mut model, KeyCode::Char('t'));
    assert_eq!(names(&model), ["busy", "fat", "idle"]);
}

#[test]
fn wake_and_sleep_are_for_the_selected_instance_wherever_it_is_sorted_to() {
    let mut model = model();
    press(&mut model, KeyCode::Down);
    press(&mut model, KeyCode::Char('m'));
    assert_eq!(
        press(&mut model, KeyCode::Char('s')),
        Some(Wish::Sleep("api:fat".parse().unwrap()))
    );
    press(&mut model, KeyCode::End);
    assert_eq!(
        press(&mut model, KeyCode::Char('w')),
        Some(Wish::Wake("web:idle".parse().unwrap()))
    );
    press(&mut model, KeyCode::PageUp);
    assert_eq!(model.at(), Some(0));
}

#[test]
fn the_filter_takes_every_key_until_it_is_done() {
    let mut model = model();
    for code in [KeyCode::Char('/'), KeyCode::Char('w'), KeyCode::Char('e'), KeyCode::Enter] {
        assert_eq!(press(&mut model, code), None);
    }
    assert_eq!(names(&model), ["idle"]);
    assert_eq!(press(&mut model, KeyCode::Esc), None, "clears it");
    assert_eq!(names(&model).len(), 3);
    assert_eq!(press(&mut model, KeyCode::Char('q')), Some(Wish::Quit));
}

#[test]
fn eighty_columns_hold_every_column_and_the_host() {
    let mut model = model();
    let shown = screen(&mut model, 80, 24);
    assert_eq!(shown[0], "load 0.50 0.25 0.10 of 2 cpus  memory 3.0 GiB of 4.0 GiB  up 1d");
    assert_eq!(shown[1], "3 instances  7.2 req/s: 1 dormant, 2 running");
    for (heading, _) in draw::HEADINGS {
        assert!(shown[2].contains(heading), "{heading}: {}", shown[2]);
    }
    assert!(shown[3].starts_with("api:busy") && shown[3].contains("75.0"), "{}", shown[3]);
    assert!(shown[23].contains("w wake  s sleep"), "{}", shown[23]);
    // Any other size is only another size.
    for (width, height) in [(1, 1), (20, 5), (200, 60)] {
        screen(&mut model, width, height);
    }
}

#[test]
fn the_figures_stay_on_eighty_columns_however_many_tiers_there_are() {
    let mut model = model();
    let tiers = ["running", "reclaimed", "frozen", "parked", "stopped", "dormant"];
    let summary = Summary {
        instances: 10_000,
        tiers: tiers.map(|tier| (tier.to_owned(), 1_666)).into(),
        states: [("failed".to_owned(), 12)].into(),
        requests_per_second: Some(12_345.6),
        cpu_cores: Some(31.25),
        memory_bytes: Some(60 << 30),
        ..Summary::default()
    };
    model.take(Snapshot { summary, rows: Vec::new() });
    let line = &screen(&mut model, 80, 24)[1];
    for figure in ["10000 instances", "12345.6 req/s", "31.25 cores", "60 GiB", "12 FAILED"] {
        assert!(line.contains(figure), "{figure}: {line}");
    }
}

#[test]
fn a_name_that_its_column_cuts_is_whole_below_the_table_while_it_is_selected() {
    let mut model = model();
    let names =
        ["customer-portal:europe-west-tenant-0001", "customer-portal:europe-west-tenant-0002"];
    let rows = names.map(|name| row(name, Tier::Running, None, None, 0.0));
    let snapshot = Snapshot { rows: rows.into(), ..model.snapshot().clone() };
    model.take(snapshot);
    press(&mut model, KeyCode::Char('n'));
    for name in names {
        let shown = screen(&mut model, 80, 24);
        assert!(!shown[3].contains(name) && shown[22] == name, "{shown:?}");
        press(&mut model, KeyCode::Down);
    }
    assert_eq!(screen(&mut model, 200, 24)[22], "", "nothing is cut");
}

#[test]
fn a_trouble_is_shown_until_the_next_good_look_and_a_deed_until_the_next_key() {
    let mut model = model();
    model.hear(News::Trouble("can't reach the agent".into()));
    assert!(screen(&mut model, 80, 24)[22].contains("can't reach"));
    let again = model.snapshot().clone();
    model.hear(News::Look(Box::new(again.clone())));
    assert_eq!(screen(&mut model, 80, 24)[22], "", "the agent is back");
    model.hear(News::Done("api:busy is asleep".into()));
    model.hear(News::Look(Box::new(again)));
    assert!(screen(&mut model, 80, 24)[22].contains("is asleep"));
}

#[test]
fn a_log_is_shown_until_it_is_left_and_its_newest_lines_are_at_the_bottom() {
    let mut model = model();
    let busy = "api:busy".parse().unwrap();
    let wish = press(&mut model, KeyCode::Char('l'));
    assert_eq!(wish, Some(Wish::Logs(Some("api:busy".parse().unwrap()))));
    let lines = (0..100).map(|n| format!("12:00:00 info   line {n}")).collect();
    model.hear(News::Lines(busy, lines));
    let shown = screen(&mut model, 80, 24);
    assert!(shown[21].ends_with("line 99"), "{shown:?}");
    assert_eq!(press(&mut model, KeyCode::Char('w')), None, "keys of the table are off");
    assert_eq!(press(&mut model, KeyCode::Char('q')), Some(Wish::Logs(None)));
    assert!(model.log.is_none());
}
