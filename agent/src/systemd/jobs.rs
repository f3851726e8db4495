//! Waiting for systemd's jobs to end.
//!
//! A job may end before the caller has read the reply that names it: the two travel to different
//! tasks. So ends are kept while any call is between its sending and its reply.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

#[derive(Debug, Default)]
pub(super) struct Jobs(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    calls: usize,
    ended: HashMap<String, String>,
    waiting: HashMap<String, oneshot::Sender<String>>,
}

/// From before a call that makes a job until its reply is read.
pub(super) struct Call<'a>(&'a Jobs);

impl Jobs {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that a call which makes a job is about to be sent.
    pub(super) fn expect(&self) -> Call<'_> {
        self.table().calls += 1;
        Call(self)
    }

    /// Notes the end of a job (JobRemoved).
    pub(super) fn ended(&self, job: &str, result: &str) {
        let mut table = self.table();
        if let Some(waiter) = table.waiting.remove(job) {
            // The waiter may have given up meanwhile; then nobody wants to know.
            let _ = waiter.send(result.to_owned());
        } else if table.calls > 0 {
            table.ended.insert(job.to_owned(), result.to_owned());
        }
    }

    /// Drops every waiter: they learn that the connection is gone.
    pub(super) fn fail_all(&self) {
        let mut table = self.table();
        table.waiting.clear();
        table.ended.clear();
    }
}

impl Call<'_> {
    /// The end of `job`, whether it is past or to come.
    pub(super) fn wait_for(&self, job: &str) -> oneshot::Receiver<String> {
        let (sender, receiver) = oneshot::channel();
        let mut table = self.0.table();
        table.waiting.retain(|_, waiter| !waiter.is_closed());
        match table.ended.remove(job) {
            Some(result) => drop(sender.send(result)),
            None => drop(table.waiting.insert(job.to_owned(), sender)),
        }
        receiver
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let mut table = self.0.table();
        table.calls -= 1;
        if table.calls == 0 {
            table.ended.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_ends_before_its_reply_is_read_is_not_missed() {
        let jobs = Jobs::default();
        let call = jobs.expect();
        jobs.ended("/job/1", "done");
        assert_eq!(call.wait_for("/job/1").try_recv().as_deref(), Ok("done"));
        let mut later = call.wait_for("/job/2");
        drop(call);
        jobs.ended("/job/2", "failed");
        assert_eq!(later.try_recv().as_deref(), Ok("failed"));
    }

    #[test]
    fn ends_that_nobody_expects_are_not_kept() {
        let jobs = Jobs::default();
        jobs.ended("/job/1", "done");
        drop(jobs.expect());
        let call = jobs.expect();
        assert!(call.wait_for("/job/1").try_recv().is_err());
        assert!(jobs.table().ended.is_empty());
    }

    #[test]
    fn a_lost_connection_ends_every_wait() {
        let jobs = Jobs::default();
        let mut waiter = jobs.expect().wait_for("/job/1");
        jobs.fail_all();
        assert_eq!(waiter.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    }
}
