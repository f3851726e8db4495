//! The thread of health checks.

use std::io;

use tokio::sync::oneshot;

use crate::flows::checks::Checks;

/// The thread, until dropped.
#[derive(Debug)]
pub struct Thread(
    #[expect(dead_code, reason = "the thread ends when it goes")] oneshot::Sender<()>,
);

impl Thread {
    /// Starts one and has `checks` run there.
    ///
    /// # Errors
    /// There is no thread or no descriptor left.
    pub fn start(checks: &Checks) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (here, gone) = oneshot::channel();
        let run = move || {
            // The sender says nothing, it goes away.
            let _ = runtime.block_on(gone);
        };
        std::thread::Builder::new().name("checks".into()).spawn(run)?;
        checks.move_to(handle);
        Ok(Self(here))
    }
}
