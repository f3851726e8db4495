//! The query language, as docs/LOGS.md has it.

use std::sync::Arc;

use proptest::prelude::*;

use super::{Expr, parse};
use crate::line::{Level, Line, Source};

fn finds(query: &str, text: &str) -> bool {
    finds_at(Level::Info, query, text)
}

fn finds_at(level: Level, query: &str, text: &str) -> bool {
    let line = Line {
        seq: 1,
        time_us: 0,
        instance: Arc::new("api:prod".parse().unwrap()),
        level,
        source: Source::Instance,
        text: text.into(),
    };
    parse(query).unwrap_or_else(|error| panic!("{query}: {error}")).matches(&line)
}

fn all(cases: &[(&str, &str, bool)]) {
    for (query, text, wanted) in cases {
        assert_eq!(finds(query, text), *wanted, "{query:?} in {text:?}: {:?}", parse(query));
    }
}

#[test]
fn words_are_whole_and_in_any_case_and_all_must_be_there() {
    all(&[
        ("", "anything", true),
        ("*", "anything", true),
        ("time", "Request TIMED out, time=5", true),
        ("time", "timed out", false),
        ("größe", "GRÖSSE GRÖßE", true),
        ("out timed", "timed out", true),
        ("out timer", "timed out", false),
        ("a AND b", "b a", true),
        ("AND", "a and b", true),
        ("connection-reset", "Connection reset by peer", true),
        ("connection-reset", "reset connection", false),
        ("10.0.0.7", "from 10.0.0.7:80", true),
        ("main()", "in main() at", true),
        ("--verbose", "with --verbose set", true),
        ("a - b", "a - b", true),
        ("/api/v1/users", "GET /api/v1/users/7", true),
    ]);
}

#[test]
fn phrases_are_words_directly_one_after_the_other() {
    all(&[
        ("\"timed out\"", "it timed, out", true),
        ("\"timed out\"", "timed was out", false),
        ("\"a a b\"", "a a a b", true),
        ("\"!!!\"", "stop!!!", true),
        ("\"say \\\"hi\\\"\"", "say \"hi\"", true),
        ("\"é ü\"", "É, Ü", true),
    ]);
}

#[test]
fn prefixes_begin_a_word_and_parts_stand_anywhere() {
    all(&[
        ("time*", "timeout", true),
        ("time*", "runtime", false),
        ("10.0.0.*", "from 10.0.0.77", true),
        ("10.0.0.*", "from 110.0.0.77", false),
        ("~time", "runtimes", true),
        ("*time*", "RunTimes", true),
        ("~\"a b\"", "xa bx", true),
        ("~\"a b\"", "a  b", false),
        ("~ÜB", "trüben", true),
        ("~İ", "xi̇", true),
    ]);
}

#[test]
fn not_or_and_parentheses_combine() {
    all(&[
        ("-debug", "an error", true),
        ("-debug", "a debug line", false),
        ("-\"a b\"", "b a", true),
        ("NOT a", "b", true),
        ("a OR b", "b", true),
        ("a or b", "b", false),
        ("a b OR c", "c", true),
        ("a (b OR c)", "a c", true),
        ("a (b OR c)", "c", false),
        ("-(a OR b) c", "c", true),
        ("((a))", "a", true),
        ("(main() OR x)", "main()", true),
    ]);
}

#[test]
fn levels_compare_by_how_bad_they_are() {
    for (query, wanted) in [
        ("level>=warn", [true, true, false]),
        ("level>warn", [true, false, false]),
        ("level=warn", [false, true, false]),
        ("level!=warn", [true, false, true]),
        ("level<=warn", [false, true, true]),
        ("level<warn", [false, false, true]),
        ("level>=WARNING", [true, true, false]),
        ("-level>=warn", [false, false, true]),
    ] {
        let found = [Level::Error, Level::Warn, Level::Info].map(|l| finds_at(l, query, "x"));
        assert_eq!(found, wanted, "{query}");
    }
}

#[test]
fn fields_are_those_of_json_and_of_key_value_text() {
    let json =
        r#"{"status":500,"user":{"name":"Ann","tags":["a","b"]},"ok":true,"a.b":"c","n":null}"#;
    all(&[
        ("status=500", json, true),
        ("status=50", json, false),
        ("user.name=ann", json, true),
        ("user.name=\"Ann\"", json, true),
        ("user.tags=b", json, true),
        ("a.b=c", json, true),
        ("ok=true n=null", json, true),
        ("status!=500", json, false),
        ("missing=", json, false),
        ("status=500", "GET / status=500 in 3ms", true),
        ("status=500", "laststatus=500", false),
        ("status=500", "status=5001", false),
        ("msg=\"not found\"", "level=warn msg=\"not found\"", true),
        ("a=b", "{broken a=b", true),
    ]);
}

#[test]
fn patterns_are_regular_expressions() {
    all(&[
        ("/time(d|r) out/", "timed out", true),
        ("/TIMED/", "timed out", false),
        ("/TIMED/i out", "timed out", true),
        ("/^b$/", "a\nb\nc", true),
        ("/a\\/b/", "a/b", true),
        ("(/a/ OR /b/)", "b", true),
        ("-/a/", "b", true),
    ]);
}

#[test]
fn what_is_wrong_is_named_with_its_column_and_a_fix() {
    let long = "a ".repeat(3000);
    let many = "a ".repeat(65);
    let deep = format!("{}a{}", "(".repeat(17), ")".repeat(17));
    let patterns = "/a/ ".repeat(9);
    for (query, column, words) in [
        ("say \"hi", 5, "never closed"),
        ("é \"hi", 3, "never closed"),
        ("(a OR b", 1, "this ( is never closed"),
        ("a OR", 3, "OR has a side missing"),
        ("OR a", 1, "OR has a side missing"),
        ("a OR OR b", 3, "OR has a side missing"),
        ("x ()", 3, "empty"),
        ("a NOT", 3, "nothing follows"),
        ("level>=bad", 8, "must be one of emerg"),
        ("status>=500", 9, ">= works for level only"),
        ("a*b", 1, "/a.*b/"),
        ("/a(/", 1, "can't be read"),
        ("/\\w{500}/", 1, "too large"),
        ("~", 1, "no text"),
        ("\"\"", 1, "no text"),
        (long.as_str(), 4097, "longer than 4096 bytes"),
        (many.as_str(), 129, "more than 64 terms"),
        (deep.as_str(), 17, "more than 16 parentheses"),
        (patterns.as_str(), 33, "more than 8 patterns"),
    ] {
        let error = parse(query).expect_err(query);
        assert_eq!(error.column, column, "{query}: {error}");
        assert!(error.to_string().contains(words), "{query}: {error}");
        assert!(!error.fix.is_empty());
    }
}

#[test]
fn text_made_to_reach_sql_or_fts_is_only_text() {
    for text in [
        "'; DROP TABLE blocks; --",
        "NEAR(a b)",
        "tokens MATCH 'x'",
        "\\\" OR 1=1",
        "{tokens}: x",
        "^a + b",
        "\u{0}a",
    ] {
        let line = format!("before {text} after");
        assert!(finds(&format!("~{}", quote(text)), &line), "{text}");
        assert!(finds(&quote(text), &line), "{text}");
    }
}

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[test]
fn a_hostile_pattern_ends_soon() {
    let text = "a".repeat(64 * 1024);
    for query in ["/(a*)*b/", "/(a|aa)+$b/", "/(?:a?){100}a{100}b/", "/(.*){20}x/"] {
        match parse(query) {
            Ok(expr) => assert!(!expr.holds(Level::Info, &text), "{query}"),
            Err(error) => assert!(error.message.contains("too large"), "{query}: {error}"),
        }
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(query in any::<String>(), text in any::<String>()) {
        if let Ok(expr) = parse(&query) {
            let _ = expr.holds(Level::Info, &text);
        }
    }

    #[test]
    fn no_mix_of_marks_makes_it_panic(query in "[-()\"~*/=<>! aORNT\\\\él.]{0,60}", text in "[ a/(é)\"=-]{0,40}") {
        if let Ok(expr) = parse(&query) {
            let _ = expr.holds(Level::Info, &text);
        }
    }

    #[test]
    fn quoted_text_finds_the_line_that_holds_it(before in "[ a-z.]{0,5}", text in any::<String>(), after in "[ .,]?") {
        prop_assume!(!text.is_empty() && text.len() < 1000);
        let line = format!("{before} {text} {after}");
        let part = parse(&format!("~{}", quote(&text))).unwrap();
        prop_assert!(matches!(&part, Expr::Substring(found) if *found == text));
        prop_assert!(part.holds(Level::Info, &line));
        prop_assert!(parse(&quote(&text)).unwrap().holds(Level::Info, &line));
    }
}
