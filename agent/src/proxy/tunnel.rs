//! Another protocol, after the instance has agreed to it.

use std::sync::atomic::Ordering;

use http::Response;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional_with_sizes;

use super::metered::Metered;
use super::record::Record;
use super::state::Active;
use crate::flows::Lease;
use crate::upstream::{AnswerBody, Link};

/// Bytes in flight, each way.
const BUFFER: usize = 16 * 1024;

/// Copies both ways, with half-close, until both ends are closed. The lease and the connection's
/// place among the admitted ones last as long.
pub(super) fn start(
    client: OnUpgrade,
    answer: Response<AnswerBody>,
    link: Link,
    lease: Lease,
    active: Active,
    mut record: Option<Box<Record>>,
) {
    let lease = lease.of_tunnel();
    active.client().switched.store(true, Ordering::Release);
    tokio::spawn(async move {
        let (client, instance) = tokio::join!(client, link.into_upgraded(answer));
        if let (Ok(client), Ok(instance)) = (client, instance) {
            let (mut client, instance) = (TokioIo::new(client), TokioIo::new(instance));
            let mut instance = Metered::new(instance, lease.instance().clone());
            // Either side may break at any time: that ends the tunnel, and is nobody's error.
            let copied = copy_bidirectional_with_sizes(&mut client, &mut instance, BUFFER, BUFFER);
            let copied = copied.await;
            if let Some(record) = &mut record {
                record.end(instance.sent(), copied.is_ok());
            }
        }
        drop((lease, active, record));
    });
}
