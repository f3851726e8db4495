//! Floor 1: definition + instance to the typed properties of its unit pair.

pub mod value;

pub use value::{Property, UnitPlan, UnitSpec, Value};
