//! End-to-end tests: they drive an installed tenement on a throwaway host with a real systemd.
//!
//! `tests/e2e` boots such a host with `tests/host/tenhost`, installs the package, names the host in
//! `TENEMENT_TEST_HOST` and runs these tests. They speak to it as a user does: `ten`, HTTP,
//! `systemctl` and `journalctl`.

pub mod ca;
pub mod host;
pub mod http;
pub mod load;
pub mod nearby;
pub mod poll;
pub mod results;
pub mod rollout;
pub mod traffic;
pub mod websocket;

pub use host::Host;
pub use http::{Client, Response};
pub use load::Load;
pub use poll::until;
pub use traffic::Traffic;
