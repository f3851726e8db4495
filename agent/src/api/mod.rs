//! Floor 4: the management API on the admin socket (axum).
