//! Bodies that are refused, and read all the same.

use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body_util::BodyExt as _;

/// Bytes of a refused body that are read all the same, and for how long.
const DRAINED: usize = 256 << 20;
const DRAINING: Duration = Duration::from_secs(10);

/// Reads what still comes of a refused body, within bounds: a client that is writing would otherwise see a broken
/// connection instead of the answer.
pub(super) async fn drain(body: &mut Body) {
    let rest = async {
        let mut left = DRAINED;
        while let Some(Ok(frame)) = body.frame().await {
            let read = frame.data_ref().map_or(0, Bytes::len);
            let Some(less) = left.checked_sub(read) else { return };
            left = less;
        }
    };
    let _ = tokio::time::timeout(DRAINING, rest).await;
}
