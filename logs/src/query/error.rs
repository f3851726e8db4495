//! What is wrong with a query, where, and what would be right.

/// Why a query can't be understood. Display says it all: place, trouble and fix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}; {fix}")]
pub struct QueryError {
    /// The character where it is, counted from 1.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
    /// What to write instead.
    pub fix: String,
}

impl QueryError {
    /// An error at the byte `at` of `text`.
    pub(super) fn new(
        text: &str,
        at: usize,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let column = text.char_indices().take_while(|(place, _)| *place < at).count() + 1;
        Self { column, message: message.into(), fix: fix.into() }
    }
}
