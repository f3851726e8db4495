//! Config problems as text, the same in the agent's log and in `ten`.

use std::fmt::Write as _;

use crate::dto::ConfigProblem;

/// The problems as text for a terminal: place, line, caret and fix of each.
#[must_use]
pub fn render_problems(problems: &[ConfigProblem]) -> String {
    let mut out = String::new();
    for problem in problems {
        let gutter = problem.line.to_string().len();
        let column = problem.column as usize;
        let before: String = problem
            .source
            .chars()
            .take(column.saturating_sub(1))
            .map(|c| if c == '\t' { c } else { ' ' })
            .collect();
        let carets = "^".repeat(problem.text.chars().count().max(1));
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "error: {message}\n{pad}--> {file}:{line}:{column}\n{pad} |\n{line} | {source}\n\
             {pad} | {before}{carets}\n{pad} = fix: {fix}\n\n",
            message = problem.message,
            pad = " ".repeat(gutter),
            file = problem.file,
            line = problem.line,
            source = problem.source,
            fix = problem.fix,
        );
    }
    let noun = if problems.len() == 1 { "problem" } else { "problems" };
    let _ = writeln!(out, "{} {noun} in the config", problems.len());
    out
}
