//! The index: exact, in trouble and over time, and by SQL.

mod care;
mod exact;
mod sql;
mod support;
