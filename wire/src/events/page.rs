//! Several events.

use serde::{Deserialize, Serialize};

use super::Event;

/// A page of events, newest first unless asked otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct EventPage {
    /// The events.
    pub events: Vec<Event>,
    /// Where the next page begins, as `before` (or `after`, if the oldest come first); none at the end.
    pub next: Option<u64>,
    /// Events that could not be kept since the agent was started, because the disk was full, say.
    pub dropped: u64,
}

/// Events that a reader of the stream could not be given any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct EventsMissed {
    /// How many at most.
    pub count: u64,
}
