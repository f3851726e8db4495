//! ten: the command line of tenement.
fn main() {}
