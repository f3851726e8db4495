//! Floor 4: the reverse proxy.
