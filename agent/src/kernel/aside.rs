//! Work that nobody waits for with a request in hand.

use rustix::process::setpriority_process;
use tokio::sync::oneshot;

/// The nice value (setpriority(2)) of such work: where a processor is short, it gets a tenth of what the threads
/// of the proxy get.
const NICE: i32 = 10;

/// Does `work` on a thread of its own, of lower priority than the proxy's: one that is not kept, because nobody
/// without privileges can raise it again. `None` if no thread can be made, or the work panicked.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, result) = oneshot::channel();
    let act = move || {
        // On Linux of the calling thread alone. Where it is refused, the work is done all the same.
        let _ = setpriority_process(None, NICE);
        let _ = done.send(work());
    };
    std::thread::Builder::new().name("aside".into()).spawn(act).ok()?;
    result.await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_aside_has_a_lower_priority_and_ours_stays() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let before = nice();
        assert_eq!(aside(nice).await, Some(NICE));
        assert_eq!(nice(), before);
    }

    #[tokio::test]
    async fn a_panic_aside_is_told() {
        assert_eq!(aside(|| panic!("on purpose")).await, None::<()>);
    }
}
