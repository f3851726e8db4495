//! Node: a package with a start script or a main file, or a bare server.js.

use std::path::Path;

use serde_json::Value;

use super::{App, read};

/// A directory with a package.json.
pub fn package(dir: &Path) -> Option<App> {
    let text = read(dir, "package.json")?;
    let package: Value = serde_json::from_str(&text).unwrap_or_default();
    if let Some(start) = package["scripts"]["start"].as_str() {
        return Some(match plain_node(start) {
            // Without npm and its shell between, the app itself gets SIGTERM, and it starts faster.
            Some(words) => listens(dir, App::new("Node", &words), words.get(1).copied()),
            None => listens(dir, App::new("Node (npm start)", &["npm", "start"]), None),
        });
    }
    let main = package["main"].as_str().filter(|main| dir.join(main).is_file());
    match main {
        Some(main) => Some(listens(dir, App::new("Node", &["node", main]), Some(main))),
        None => script(dir).or_else(|| {
            let app = App::new("Node", &["node", "server.js"]);
            Some(listens(dir, app.note("Say here which file to run."), None))
        }),
    }
}

/// A directory with a server.js or the like, without a package.json.
pub fn script(dir: &Path) -> Option<App> {
    let names = ["server.js", "index.js", "app.js", "main.js", "server.mjs", "index.mjs"];
    let file = names.into_iter().find(|name| dir.join(name).is_file())?;
    Some(listens(dir, App::new("Node", &["node", file]), Some(file)))
}

/// The words of `node file ...`, if it is no more than that.
fn plain_node(script: &str) -> Option<Vec<&str>> {
    let plain = |c: char| c.is_ascii_alphanumeric() || " ./_-=:@".contains(c);
    let words: Vec<&str> = script.split_whitespace().collect();
    (words.first() == Some(&"node") && words.len() > 1 && script.chars().all(plain))
        .then_some(words)
}

fn listens(dir: &Path, app: App, file: Option<&str>) -> App {
    let source = file.and_then(|file| read(dir, file)).unwrap_or_default();
    if source.contains("LISTEN_FDS") || source.contains("fd: 3") {
        app.listen("fd", "The app takes the socket that systemd listens on (LISTEN_FDS).")
    } else if source.contains("env.SOCKET") {
        app.listen("socket", "The app must bind the unix socket that $SOCKET names.")
    } else {
        app.listen("port", "The app must listen on 127.0.0.1:$PORT (process.env.PORT).")
    }
}
