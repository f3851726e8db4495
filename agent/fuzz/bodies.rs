// What the fuzz targets try, for libFuzzer and for the short run on every test (agent/tests/fuzz_seeds.rs).

use tenement_agent::config::{self, SourceFile};
use tenement_agent::framing::host;
use tenement_agent::routes::{Route, RouteTable};
use tenement_agent::token::{Token, hash};
use tenement_logs::query;

/// A host is taken apart in one way only, and only what the grammar of names allows reaches an instance.
pub fn host(data: &[u8]) {
    let Some(parsed) = host::parse(data) else { return };
    assert!(!parsed.name.is_empty() && data.starts_with(parsed.name));
    assert!(parsed.port.is_none_or(|port| port.iter().all(u8::is_ascii_digit)));
    let again = host::parse(parsed.name).expect("a name is a host");
    assert_eq!((again.name, again.port), (parsed.name, None));
    assert!(parsed.same_as(&parsed));
    let name = String::from_utf8(parsed.name.to_ascii_lowercase()).expect("hosts are ASCII");
    let processes = [("api".parse().unwrap(), true)];
    let table = RouteTable::new("example.com", processes, [("api:prod".parse().unwrap(), ())]);
    match table.lookup(&name) {
        Route::Instance(()) => assert_eq!(name, "prod.api.example.com"),
        Route::Root => assert_eq!(name, "example.com"),
        Route::Spawnable(found, _) => assert_eq!(name, format!("{}.api.example.com", found.id())),
        _ => {}
    }
}

/// The config parser reads or refuses, it never panics, and a refusal can be shown.
pub fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // A second file as well: where a `\0` stands, `conf.d/` begins.
    let files = text.splitn(2, '\0').zip(["tenement.toml", "conf.d/b.toml"]);
    let files: Vec<_> = files.map(|(text, name)| SourceFile::new(name, text)).collect();
    if let Err(problems) = config::parse(&files) {
        assert!(!problems.is_empty(), "refused without a reason");
        assert!(!config::render(&problems).is_empty());
    }
}

/// The query language: a query finds or is refused with a reason.
pub fn query(data: &[u8]) {
    let (text, line) = match data.iter().position(|b| *b == 0) {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, data),
    };
    let (text, line) = (String::from_utf8_lossy(text), String::from_utf8_lossy(line));
    match query::parse(&text) {
        Ok(expr) => drop(expr.holds(tenement_logs::line::Level::Info, &line)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// What is taken for a token has one text only, and that is the one it was given; nothing shows its secret.
pub fn token(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Garbage is mostly refused at its first byte: try it behind a good beginning, too.
    for text in [text.to_owned(), format!("ten_{text}"), format!("ten_k3v7q2m5x4wa_{text}")] {
        let Ok(token) = Token::parse(&text) else { continue };
        assert_eq!(token.text(), text);
        assert_eq!(text.len(), 81);
        assert!(hash::passes(&token.secret, &hash::check(&token.secret)));
        assert!(!format!("{token:?}").contains(&text[17..]));
    }
}
