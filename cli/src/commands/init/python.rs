//! Python: Django, ASGI (uvicorn), WSGI (gunicorn), a plain script, a directory of static files.

use std::path::Path;

use super::{App, read};

const FD_NOTE: &str = "gunicorn takes the socket that systemd listens on (LISTEN_FDS) by itself.";
const UDS_NOTE: &str = "{socket} is the unix socket of the instance; the app binds it.";
const MODULES: [&str; 6] = ["main", "app", "asgi", "wsgi", "server", "api"];

/// A directory with pyproject.toml, requirements.txt, manage.py or Pipfile.
pub fn project(dir: &Path) -> Option<App> {
    if dir.join("manage.py").is_file() {
        return Some(django(dir));
    }
    let marks = ["pyproject.toml", "requirements.txt", "Pipfile", "setup.py"];
    if !marks.iter().any(|mark| dir.join(mark).is_file()) {
        return None;
    }
    script(dir).or_else(|| {
        let app = App::new("Python", &[&python(dir), "main.py"]);
        Some(app.listen("port", "Say here which file to run; it must listen on 127.0.0.1:$PORT."))
    })
}

/// A directory with main.py, app.py or the like.
pub fn script(dir: &Path) -> Option<App> {
    let deps = dependencies(dir);
    let sources = || MODULES.iter().filter_map(|m| Some((*m, read(dir, &format!("{m}.py"))?)));
    // The module with an application object wins over one that is only there.
    let (module, source) =
        sources().find(|(_, s)| object(s).is_some()).or_else(|| sources().next())?;
    let python = python(dir);
    let Some(object) = object(&source) else {
        return Some(plain(&python, module, &source));
    };
    let target = format!("{module}:{object}");
    let asgi = ["FastAPI(", "Starlette(", "Quart(", "Litestar(", "async def app("];
    let is_asgi = asgi.iter().any(|mark| source.contains(mark))
        || (deps.contains("uvicorn") && !source.contains("Flask("));
    Some(if is_asgi {
        let app =
            App::new("Python (ASGI)", &[&python, "-m", "uvicorn", &target, "--uds", "{socket}"]);
        needs(app.note(UDS_NOTE), &deps, "uvicorn")
    } else {
        wsgi(&python, &target, &deps)
    })
}

/// A directory with an index.html: Python's own file server.
pub fn static_site(dir: &Path) -> Option<App> {
    dir.join("index.html").is_file().then(|| {
        App::new(
            "static site",
            &["python3", "-m", "http.server", "--bind", "127.0.0.1", "{port}"],
        )
        .note("Python's http.server is fine for a few visitors. {port} is the instance's own port.")
    })
}

fn django(dir: &Path) -> App {
    let deps = dependencies(dir);
    let python = python(dir);
    let project = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join("wsgi.py").is_file() || path.join("asgi.py").is_file())
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .min();
    let project = project.unwrap_or_else(|| "project".to_owned());
    if deps.contains("uvicorn") && dir.join(&project).join("asgi.py").is_file() {
        let target = format!("{project}.asgi:application");
        let words = [python.as_str(), "-m", "uvicorn", &target, "--uds", "{socket}"];
        return App::new("Django (ASGI)", &words).note(UDS_NOTE);
    }
    let mut app = wsgi(&python, &format!("{project}.wsgi:application"), &deps);
    app.kind = "Django";
    app.note("Put the database of each instance under its own $DATA_DIR.")
}

fn wsgi(python: &str, target: &str, deps: &str) -> App {
    let app = App::new("Python (WSGI)", &[python, "-m", "gunicorn", target]);
    needs(app.listen("fd", FD_NOTE), deps, "gunicorn")
}

fn plain(python: &str, module: &str, source: &str) -> App {
    let app = App::new("Python", &[python, &format!("{module}.py")]);
    if source.contains("LISTEN_FDS") || source.contains("listen_fds") {
        app.listen("fd", "The script takes the socket that systemd listens on (LISTEN_FDS).")
    } else if source.contains("\"SOCKET\"") || source.contains("'SOCKET'") {
        app.listen("socket", "The script must bind the unix socket that $SOCKET names.")
    } else {
        app.listen("port", "The script must listen on 127.0.0.1:$PORT.")
    }
}

fn needs(app: App, deps: &str, server: &str) -> App {
    if deps.contains(server) {
        return app;
    }
    app.note(format!("It needs {server}, which its requirements don't name: pip install {server}"))
}

/// The name of a module's application object, assigned at top level.
fn object(source: &str) -> Option<&'static str> {
    ["app", "application", "api"].into_iter().find(|name| {
        source.lines().any(|line| {
            line.strip_prefix(name).is_some_and(|rest| {
                let rest = rest.trim_start();
                (rest.starts_with('=') && !rest.starts_with("==")) || rest.starts_with(':')
            }) || line.starts_with(&format!("async def {name}("))
                || line.starts_with(&format!("def {name}(environ"))
        })
    })
}

fn dependencies(dir: &Path) -> String {
    ["requirements.txt", "pyproject.toml", "Pipfile", "setup.py"]
        .iter()
        .filter_map(|file| read(dir, file))
        .collect::<String>()
        .to_lowercase()
}

/// The interpreter: that of the directory's virtual environment, else the host's.
fn python(dir: &Path) -> String {
    [".venv", "venv", "env"]
        .iter()
        .map(|env| dir.join(env).join("bin/python"))
        .find(|path| path.exists())
        .map_or_else(|| "python3".to_owned(), |path| path.to_string_lossy().into_owned())
}
