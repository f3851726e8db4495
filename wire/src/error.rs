//! The error that the management API answers with and `ten` prints.

use serde::{Deserialize, Serialize};

/// One bad field of a request or a config.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct FieldError {
    /// Which field, as the user wrote it.
    pub field: String,
    /// What is wrong with it, and what would be right.
    pub message: String,
}

/// Body of every error answer (RFC 9457 problem details, with our extensions).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ApiError {
    /// What kind of problem it is, as a URI: `urn:tenement:problem:` and the code.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// The kind in words, the same for every problem of it.
    #[serde(default)]
    pub title: String,
    /// HTTP status code.
    pub status: u16,
    /// Stable, machine-readable code, such as `unknown_instance`.
    pub code: String,
    /// What happened, for a person.
    pub detail: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Finds the request in the agent's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Every bad field at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

impl ApiError {
    /// An error without hint or fields.
    #[must_use]
    pub fn new(status: u16, code: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:tenement:problem:{code}"),
            title: String::new(),
            status,
            code: code.into(),
            detail: detail.into(),
            hint: None,
            request_id: None,
            errors: Vec::new(),
        }
    }

    /// The same error with its kind in words.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// The same error with what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for ApiError {}
