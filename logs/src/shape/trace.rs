//! Stack traces, which come as several lines and mean something only together.

/// A language's way to print them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `Traceback (most recent call last):` … `ValueError: x`
    Python,
    /// `java.lang.IllegalStateException: x`, `TypeError: x`, then `at …`
    Calls,
    /// The place and the source line that Node prints before it: `/app/index.js:3`
    Node,
    /// `panic: x`, then `goroutine 1 [running]:` …
    Go,
    /// `thread 'main' panicked at src/main.rs:2:5:` …
    Rust,
}

/// The kind of the trace that `text` is the first line of.
#[must_use]
pub fn head(text: &str) -> Option<Kind> {
    if text.ends_with("Traceback (most recent call last):") {
        return Some(Kind::Python);
    }
    if text.starts_with("thread '") && text.contains("panicked at ") {
        return Some(Kind::Rust);
    }
    if text.starts_with("panic: ") || text.starts_with("fatal error: ") || goroutine(text) {
        return Some(Kind::Go);
    }
    if exception(text) {
        return Some(Kind::Calls);
    }
    node_place(text).then_some(Kind::Node)
}

/// A trace that is being read.
#[derive(Debug)]
pub struct Trace {
    kind: Kind,
    /// Lines of any form that may still come.
    free: u8,
    /// Its last line was seen; only what continues it with another trace belongs to it.
    over: bool,
}

impl Trace {
    /// One that begins with `text`, if one does.
    #[must_use]
    pub fn begin(text: &str) -> Option<Self> {
        head(text).map(Self::of)
    }

    fn of(kind: Kind) -> Self {
        let free = match kind {
            // The message stands on a line of its own since Rust 1.73.
            Kind::Rust => 1,
            // A line of source, a caret, an empty line.
            Kind::Node => 3,
            Kind::Python | Kind::Calls | Kind::Go => 0,
        };
        Self { kind, free, over: false }
    }

    /// Whether `text` belongs to it.
    pub fn takes(&mut self, text: &str) -> bool {
        let indented = text.starts_with([' ', '\t']);
        match self.kind {
            Kind::Python => self.python(text, indented),
            Kind::Go => {
                indented
                    || text.is_empty()
                    || goroutine(text)
                    || go_call(text)
                    || ["created by ", "exit status ", "[signal ", "panic: "]
                        .iter()
                        .any(|word| text.starts_with(word))
            }
            Kind::Rust => {
                indented
                    || text.starts_with("note: ")
                    || text.starts_with("stack backtrace:")
                    || self.spend(text)
            }
            Kind::Node if exception(text) => {
                *self = Self::of(Kind::Calls);
                true
            }
            Kind::Node => indented || self.spend(text),
            Kind::Calls => {
                indented
                    || text == "}"
                    || text.starts_with("Caused by: ")
                    || text.starts_with("Node.js v")
            }
        }
    }

    fn python(&mut self, text: &str, indented: bool) -> bool {
        let joint = text.starts_with("During handling of the above exception")
            || text.starts_with("The above exception was the direct cause")
            || text.starts_with("Traceback (most recent call last):");
        if joint {
            self.over = false;
            self.free = 1;
            return true;
        }
        if self.over {
            // Between two traces that belong together stands an empty line.
            return text.is_empty() && self.spend(text);
        }
        if indented || (text.is_empty() && self.spend(text)) {
            return true;
        }
        self.over = true;
        self.free = 1;
        exception(text) || is_name(text.split(':').next().unwrap_or_default())
    }

    fn spend(&mut self, text: &str) -> bool {
        let has = self.free > 0 && Self::begin(text).is_none();
        self.free = self.free.saturating_sub(1);
        has
    }
}

/// `java.lang.IllegalStateException: x`, `Exception in thread "main" …`, `TypeError: x`, `Uncaught Error`.
fn exception(text: &str) -> bool {
    if text.starts_with("Exception in thread \"") {
        return true;
    }
    let text = text.strip_prefix("Uncaught ").unwrap_or(text);
    let name = text.split([':', ' ']).next().unwrap_or_default();
    let kind = ["Exception", "Error", "Throwable"].iter().any(|end| name.ends_with(end));
    let rest = &text[name.len()..];
    kind && is_name(name) && (rest.is_empty() || rest.starts_with(':') || rest.starts_with(" ["))
}

fn is_name(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || ['.', '_', '$'].contains(&c);
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(inner)
}

fn goroutine(text: &str) -> bool {
    text.starts_with("goroutine ") && text.ends_with("]:")
}

/// `main.f(0x1, {0x2, 0x3})`, `main.(*T).f(...)`
fn go_call(text: &str) -> bool {
    let Some(open) = text.find('(') else { return false };
    text.ends_with(')') && text[..open].contains('.') && !text[..open].contains(' ')
}

/// `/app/index.js:3`, `file:///app/x.mjs:3`, `node:internal/errors:496`
fn node_place(text: &str) -> bool {
    let Some((path, line)) = text.rsplit_once(':') else { return false };
    let place = ["/", "file://", "node:"].iter().any(|start| path.starts_with(start));
    let script = [".js", ".mjs", ".cjs", ".ts"].iter().any(|end| path.ends_with(end));
    place
        && (script || path.starts_with("node:"))
        && !line.is_empty()
        && line.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of the lines belong to the trace that the first of them begins.
    fn together(text: &str) -> usize {
        let mut lines = text.lines();
        let mut trace = Trace::begin(lines.next().expect("a line")).expect("a trace");
        1 + lines.take_while(|line| trace.takes(line)).count()
    }

    #[test]
    fn the_traces_of_five_languages_are_taken_whole_and_no_more() {
        let python = "Traceback (most recent call last):\n  File \"x.py\", line 1, in <module>\n    f()\nValueError: bad\n";
        let chained = format!(
            "{python}\nDuring handling of the above exception, another exception occurred:\n\n{python}"
        );
        let java = "Exception in thread \"main\" java.lang.RuntimeException: x\n\tat a.B.c(B.java:1)\nCaused by: java.io.IOException: y\n\tat a.B.d(B.java:2)\n\t... 1 more\n";
        let node = "/app/index.js:3\n  throw new TypeError('x');\n  ^\n\nTypeError: x\n    at f (/app/index.js:3:9)\n    at node:internal/main:1:1 {\n  code: 'E'\n}\n";
        let go = "panic: boom\n\ngoroutine 1 [running]:\nmain.f(...)\n\t/app/main.go:5\nmain.main()\n\t/app/main.go:9 +0x1d\nexit status 2\n";
        let rust = "thread 'main' panicked at src/main.rs:2:5:\nindex out of bounds\nstack backtrace:\n   0: rust_begin_unwind\n             at /rustc/x\nnote: Some details are omitted\n";
        for trace in [python, &chained, java, node, go, rust] {
            let with_more = format!("{trace}listening on 8080\nGET / 200\n");
            assert_eq!(together(&with_more), trace.lines().count(), "{trace}");
        }
    }

    #[test]
    fn ordinary_lines_begin_no_trace() {
        for line in [
            "",
            "listening on /run/x.sock:3",
            "Error while reading",
            "GET /a.js:1 200",
            "12:00:01 TypeError: x",
            "  at lunch",
            "thread 7 started",
        ] {
            assert_eq!(head(line), None, "{line}");
        }
    }
}
