//! Floor 5: the privileged helper that turns names into units.
