//! tenement-unitd: the privileged helper.
fn main() {}
