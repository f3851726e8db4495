//! `ten init`: each kind of directory that it recognises.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use support::{Run, run, ten};

/// A directory called `shop` with these files.
fn app(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join("shop").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    dir
}

fn init(dir: &Path, args: &[&str]) -> Run {
    run(ten(dir).arg("init").args(args))
}

fn found(files: &[(&str, &str)]) -> Value {
    let dir = app(files);
    let found = init(dir.path(), &["shop", "--json"]).exits(0).json();
    assert_eq!(found["process"], "shop");
    let toml = found["toml"].as_str().unwrap();
    assert!(toml.contains("[process.shop]\n"), "{toml}");
    let directory = fs::canonicalize(dir.path().join("shop")).unwrap();
    assert!(toml.contains(&format!("directory = \"{}\"\n", directory.display())), "{toml}");
    found
}

#[track_caller]
fn recognised(files: &[(&str, &str)], kind: &str, command: &str, listen: &str) {
    let found = found(files);
    let words: Vec<&str> =
        found["command"].as_array().unwrap().iter().map(|w| w.as_str().unwrap()).collect();
    assert_eq!(found["kind"], kind);
    assert_eq!(words.join(" "), command);
    assert_eq!(found["listen"].as_str().unwrap_or(""), listen);
}

#[test]
fn a_fastapi_app_runs_under_uvicorn_on_its_own_socket() {
    let main = "from fastapi import FastAPI\napp = FastAPI()\n";
    recognised(
        &[("main.py", main), ("requirements.txt", "fastapi\nuvicorn\n")],
        "Python (ASGI)",
        "python3 -m uvicorn main:app --uds {socket}",
        "",
    );
}

#[test]
fn a_flask_app_runs_under_gunicorn_on_systemds_socket() {
    let main = "from flask import Flask\napplication = Flask(__name__)\n";
    let files = [("pyproject.toml", "[project]\ndependencies = ['flask']\n"), ("wsgi.py", main)];
    recognised(&files, "Python (WSGI)", "python3 -m gunicorn wsgi:application", "fd");
    let toml = found(&files)["toml"].as_str().unwrap().to_owned();
    assert!(toml.contains("pip install gunicorn"), "{toml}");
}

#[test]
fn a_django_project_is_found_by_its_package() {
    recognised(
        &[("manage.py", ""), ("mysite/wsgi.py", ""), ("requirements.txt", "Django\ngunicorn\n")],
        "Django",
        "python3 -m gunicorn mysite.wsgi:application",
        "fd",
    );
}

#[test]
fn a_plain_script_listens_as_its_source_says() {
    recognised(&[("app.py", "import http.server\n")], "Python", "python3 app.py", "port");
    recognised(&[("main.py", "os.environ['LISTEN_FDS']\n")], "Python", "python3 main.py", "fd");
    recognised(&[("main.py", "os.environ[\"SOCKET\"]\n")], "Python", "python3 main.py", "socket");
}

#[test]
fn a_virtual_environment_is_used() {
    let found = found(&[("main.py", ""), (".venv/bin/python", "")]);
    assert!(found["command"][0].as_str().unwrap().ends_with("/shop/.venv/bin/python"), "{found}");
}

#[test]
fn a_node_package_runs_its_start_script_without_npm_where_it_can() {
    let direct = r#"{"scripts": {"start": "node src/server.js"}}"#;
    recognised(&[("package.json", direct)], "Node", "node src/server.js", "port");
    let shell = r#"{"scripts": {"start": "NODE_ENV=x next start && echo"}}"#;
    recognised(&[("package.json", shell)], "Node (npm start)", "npm start", "port");
    let main = [("package.json", r#"{"main": "lib/a.js"}"#), ("lib/a.js", "listen({ fd: 3 })")];
    recognised(&main, "Node", "node lib/a.js", "fd");
    recognised(&[("server.js", "process.env.SOCKET")], "Node", "node server.js", "socket");
}

#[test]
fn go_and_rust_name_the_binary_that_their_build_makes() {
    let go = found(&[
        ("go.mod", "module example.org/team/tool/v2\n\ngo 1.23\n"),
        ("package.json", "{}"),
    ]);
    assert_eq!(go["kind"], "Go");
    assert!(go["command"][0].as_str().unwrap().ends_with("/shop/tool"), "{go}");
    assert!(go["toml"].as_str().unwrap().contains("not built yet: go build"), "{go}");
    let manifest = "[package]\nversion = \"1\"\nname = \"kiosk\"\n[dependencies]\nname = \"x\"\n";
    let files = [("Cargo.toml", manifest), ("target/release/kiosk", "")];
    let rust = found(&files);
    assert_eq!(rust["kind"], "Rust");
    assert!(rust["command"][0].as_str().unwrap().ends_with("/shop/target/release/kiosk"), "{rust}");
    assert!(!rust["toml"].as_str().unwrap().contains("not built"), "{rust}");
}

#[test]
fn a_binary_is_recognised_alone_or_in_its_directory() {
    let dir = app(&[("Server", "\x7fELF..."), ("notes.txt", "x")]);
    let binary = dir.path().join("shop/Server");
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    let inside = init(dir.path(), &["shop", "--json"]).exits(0).json();
    assert_eq!((&inside["kind"], &inside["process"]), (&"binary".into(), &"shop".into()));
    let itself = init(dir.path(), &["shop/Server", "--json"]).exits(0).json();
    assert_eq!(itself["process"], "server");
    assert_eq!(itself["command"], inside["command"]);
}

#[test]
fn a_directory_of_pages_gets_a_file_server() {
    recognised(
        &[("index.html", "<h1>hi</h1>")],
        "static site",
        "python3 -m http.server --bind 127.0.0.1 {port}",
        "",
    );
}

#[test]
fn what_is_not_recognised_says_what_would_be() {
    let dir = app(&[("readme.txt", "")]);
    let run = init(dir.path(), &["shop"]).exits(3);
    assert!(run.err.contains("package.json") && run.err.contains("go.mod"), "{}", run.err);
    init(dir.path(), &["nowhere"]).exits(3);
}

#[test]
fn output_is_written_once_and_never_over_a_file() {
    let dir = app(&[("index.html", "")]);
    let wrote = init(dir.path(), &["shop", "--name", "site", "--output", "site.toml"]).exits(0);
    assert!(
        wrote.out.is_empty() && wrote.err.contains("ten config check site.toml"),
        "{}",
        wrote.err
    );
    let text = fs::read_to_string(dir.path().join("site.toml")).unwrap();
    assert!(text.contains("[process.site]\n"), "{text}");
    init(dir.path(), &["shop", "--output", "site.toml"]).exits(6);
    assert_eq!(fs::read_to_string(dir.path().join("site.toml")).unwrap(), text);
}
