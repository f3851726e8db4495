//! The proxy, from a client's socket to a backend's, without systemd.

mod balancers;
mod basics;
mod breaker;
mod counted;
mod drain;
mod failing;
mod fields;
mod floods;
mod framing;
mod http2;
mod limits;
mod poll;
mod random;
mod raw;
mod root;
mod secure;
mod streams;
mod support;
mod throttle;
mod traces;
