//! tenementd: the unprivileged agent.
fn main() {}
