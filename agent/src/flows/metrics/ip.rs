//! Bytes over IP: only systemd knows them, and asking costs it more than reading a file costs us. So those that
//! run are asked about once a minute, a few side by side.

use std::sync::Mutex;

use futures_util::StreamExt as _;

use super::record::has_processes;
use crate::flows::agent::Agent;
use crate::flows::host::Host;

/// Questions to systemd side by side.
const AT_ONCE: usize = 4;

/// What systemd last said: received and sent.
#[derive(Debug, Default)]
pub struct IpBytes(Mutex<Option<(u64, u64)>>);

impl IpBytes {
    pub(super) fn get(&self) -> Option<(u64, u64)> {
        *self.0.lock().expect("no panic while held")
    }

    fn set(&self, bytes: Option<(u64, u64)>) {
        *self.0.lock().expect("no panic while held") = bytes;
    }
}

impl<H: Host> Agent<H> {
    pub(super) async fn ask_for_ip_bytes(&self) {
        futures_util::stream::iter(self.all_known())
            .for_each_concurrent(AT_ONCE, |instance| async move {
                if has_processes(&instance) {
                    instance.ip.set(self.host.ip_bytes(&instance.name).await);
                } else {
                    instance.ip.set(None);
                }
            })
            .await;
    }
}
