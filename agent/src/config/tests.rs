use std::path::Path;

use proptest::prelude::*;

use super::*;

fn one(text: &str) -> Result<Config, Vec<ConfigProblem>> {
    parse(&[SourceFile::new("tenement.toml", text)])
}

fn good(text: &str) -> Config {
    one(text).unwrap_or_else(|problems| panic!("{}", render(&problems)))
}

const FULL: &str = r#"
[settings]
domain = "example.com"
trusted_proxies = ["10.0.0.0/8"]
[settings.limits]
body_bytes = "10M"
[process.api]
command = "node server.js '{port}' \"a b\""
args = ["--x={id}", "{{id}}"]
directory = "/app/api"
env = { NODE_ENV = "production", N = 1 }
env_file = "/etc/tenement/api.env"
health = "http://localhost:{port}/health"
idle_timeout = "1h30m"
[service.web]
command = ["/usr/bin/python3", "-m", "app", "{socket}"]
user = "www-data"
[instances]
api = ["prod", "staging"]
"#;

#[test]
fn an_empty_config_serves_localhost_on_8080() {
    let config = good("");
    assert_eq!(config.settings, Settings::default());
    assert_eq!((config.settings.domain.as_str(), config.settings.port), ("localhost", 8080));
    assert!(config.processes.is_empty() && config.instances.is_empty());
}

#[test]
fn the_example_config_as_shipped_is_the_default() {
    let text = include_str!("../../../packaging/tenement.toml");
    assert_eq!(good(text).settings, Settings::default());
    // Every key that it shows commented out must be right too, and what is shown as the default must be it.
    let uncommented: String = text
        .lines()
        .map(|line| line.strip_prefix("#= ").unwrap_or(line))
        .fold(String::new(), |mut all, line| {
            all.push_str(line);
            all.push('\n');
            all
        });
    assert_eq!(good(&uncommented).settings, Settings::default());
    assert_ne!(uncommented, format!("{text}\n"));
}

#[test]
fn listen_is_inferred_from_what_is_mentioned() {
    for (more, listen) in [
        ("", Listen::Fd),
        ("args = [\"{socket}\"]", Listen::Socket),
        ("env = { PORT = \"{port}\" }", Listen::Port),
        ("args = [\"{socket}\", \"{port}\"]", Listen::Socket),
        ("socket = \"/run/{id}.sock\"", Listen::Own),
        ("health = \"http://localhost:{port}/\"", Listen::Own),
        ("health = \"/up\"", Listen::Fd),
        ("args = [\"$PORT\", \"${port}\", \"{{socket}}\"]", Listen::Fd),
        ("listen = \"fd\"\nargs = [\"{port}\"]", Listen::Fd),
        ("listen = \"socket\"", Listen::Socket),
    ] {
        let config = good(&format!("[process.a]\ncommand = \"a\"\n{more}\n"));
        assert_eq!(config.processes.values().next().unwrap().listen, listen, "{more}");
    }
}

#[test]
fn paths_that_do_not_exist_are_named_where_they_are_written() {
    let config = good(FULL);
    let none = check_paths(&config, |_| PathState::Missing);
    let found: Vec<_> = none.iter().map(|p| (p.line, p.column, p.text.as_str())).collect();
    assert_eq!(
        found,
        [
            (10, 13, "\"/app/api\""),
            (12, 12, "\"/etc/tenement/api.env\""),
            (16, 12, "\"/usr/bin/python3\""),
        ]
    );
    let all = |path: &Path| match path.starts_with("/app") {
        true => PathState::Directory,
        false => PathState::File { executable: true, public: true },
    };
    assert_eq!(check_paths(&config, all), []);
    assert_eq!(check_paths(&config, |_| PathState::Unknown), []);
    assert_eq!(
        check_paths(&config, |_| PathState::File { executable: false, public: true }).len(),
        2
    );
}

#[test]
fn a_directory_that_differs_by_instance_is_not_looked_up() {
    for directory in ["/app/{id}", "{data_dir}/app"] {
        let config = good(&format!("[process.a]\ncommand = \"a\"\ndirectory = \"{directory}\"\n"));
        assert_eq!(check_paths(&config, |_| PathState::Missing), []);
    }
    let config = good("[process.a]\ncommand = \"a\"\ndirectory = \"/app/{process}\"\n");
    let problems = check_paths(&config, |path| {
        assert_eq!(path, Path::new("/app/a"));
        PathState::Missing
    });
    assert_eq!(problems.len(), 1);
}

#[test]
fn moving_a_line_changes_no_config() {
    assert_eq!(good(FULL), good(&format!("\n\n{FULL}")));
}

#[test]
fn the_caret_stands_below_the_text() {
    let problems = one("[settings]\n\tdömain = 1\n").unwrap_err();
    let text = render(&problems);
    assert!(text.contains("2 | \tdömain = 1"), "{text}");
    let problems = one("[settings]\n\t\"dömain\" = 1\n").unwrap_err();
    let text = render(&problems);
    assert!(text.contains("  | \t^^^^^^^^\n"), "{text}");
    assert!(text.ends_with("1 problem in the config\n"), "{text}");
}

#[test]
fn a_problem_never_carries_terminal_controls() {
    let problems = one("[settings]\n\"a\u{202e}b\u{9b}\" = 1\n\u{1b}]0;x\u{7}\n").unwrap_err();
    let text = render(&problems);
    assert!(text.chars().all(|c| !c.is_control() || c == '\n' || c == '\t'), "{text:?}");
    assert!(!text.contains('\u{202e}'), "{text:?}");
}

#[test]
fn interpolation_is_done_once() {
    let vars = template::Vars {
        process: "{id}",
        id: "{port}",
        data_dir: "$x",
        socket: "%i",
        port: "{{id}}",
        ..template::Vars::default()
    };
    assert_eq!(
        template::fill("{process}|{id}|{data_dir}|{socket}|{port}", &vars),
        "{id}|{port}|$x|%i|{{id}}"
    );
    assert_eq!(
        template::fill("{{id}} ${id} {\"a\":{\"b\":{port}}} {} { id }", &vars),
        "{id} ${id} {\"a\":{\"b\":{{id}}}} {} { id }"
    );
}

/// Never panics, and every problem is complete.
fn check(text: &str) {
    let files = [SourceFile::new("a.toml", text), SourceFile::new("b.toml", FULL)];
    for files in [&files[..1], &files[..]] {
        match parse(files) {
            Ok(config) => drop(check_paths(&config, |_| PathState::Missing)),
            Err(problems) => {
                assert!(!problems.is_empty());
                for p in &problems {
                    assert!(
                        !p.message.is_empty() && !p.fix.is_empty() && p.line > 0 && p.column > 0
                    );
                }
                assert!(!render(&problems).is_empty());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        check(&text);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn a_mutated_config_is_read_or_refused(
        at in 0..FULL.len(),
        cut in 0..40usize,
        put in r#"[\x00-\x7fé{}\[\]"'=#\n]{0,6}"#,
    ) {
        let end = (at + cut).min(FULL.len());
        check(&format!("{}{put}{}", &FULL[..at], &FULL[end..]));
    }

    #[test]
    fn text_without_placeholders_is_filled_with_itself(text in r#"[ $%'"\\{}:,a-c\[\]]{0,30}"#) {
        let placeholder = template::pieces(&text).any(|p| matches!(p, template::Piece::Placeholder(..)));
        // `{{a}}` is the one thing that stands for something else.
        if placeholder || text.contains("{{") {
            return Ok(());
        }
        let vars = template::Vars { process: "P", id: "I", data_dir: "D", socket: "S", port: "T", release: "R" };
        prop_assert_eq!(template::fill(&text, &vars), text);
    }

    #[test]
    fn quoted_words_reach_the_definition_literally(
        words in prop::collection::vec(r#"[ $%'"\\;|>&*#~!`()\[\]<?a-z=é-]{0,10}"#, 0..5),
    ) {
        let all: Vec<&str> = std::iter::once("app").chain(words.iter().map(String::as_str)).collect();
        let line = shell_words::join(&all);
        let quoted = line.replace('\\', "\\\\").replace('"', "\\\"");
        let config = good(&format!("[process.a]\ncommand = \"{quoted}\"\n"));
        prop_assert_eq!(&config.processes.values().next().unwrap().command, &all);
    }
}
