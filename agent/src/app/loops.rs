//! The loops that an agent can't be without, and their end.
//!
//! Each survives the errors of what it works with. One that ends nevertheless (a bug made it panic) would
//! leave an agent that looks alive and is deaf, so the whole agent ends then and systemd starts it anew.

use std::time::Duration;

use tokio::task::AbortHandle;

/// How often the loops are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// Returns the name of the first that has ended.
pub async fn until_one_ends(loops: Vec<(&'static str, AbortHandle)>) -> &'static str {
    loop {
        if let Some((name, _)) = loops.iter().find(|(_, task)| task.is_finished()) {
            return name;
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_panics_is_named() {
        let steady = tokio::spawn(std::future::pending::<()>());
        let broken = tokio::spawn(async {
            tokio::task::yield_now().await;
            panic!("a bug");
        });
        let loops = vec![("steady", steady.abort_handle()), ("broken", broken.abort_handle())];
        assert_eq!(until_one_ends(loops).await, "broken");
    }
}
