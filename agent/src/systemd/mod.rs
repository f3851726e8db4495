//! Floor 2: D-Bus to systemd.
