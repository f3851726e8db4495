//! Floor 2: connections to instances.

pub mod pool;
pub mod target;

pub use pool::Pool;
pub use target::Target;
