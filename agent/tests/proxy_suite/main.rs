//! The proxy, from a client's socket to a backend's, without systemd.

mod basics;
mod framing;
mod support;
