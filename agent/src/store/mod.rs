//! Floor 2: the state database.
