//! A request as its instance gets it.

use http::{HeaderMap, HeaderValue, Request, Version, header};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

use super::headers::Hop;
use super::state::Active;
use crate::flows::Instance;
use crate::upstream::UploadBody;

/// The request as the instance gets it, and the client's side of a switch of protocols if the
/// request asks for one.
pub(super) fn prepare(
    request: Request<Incoming>,
    hop: &Hop,
    active: &Active,
    body_max: u64,
    instance: &Instance,
) -> (Request<UploadBody>, Option<OnUpgrade>) {
    let limits = active.client().policy.limits;
    let (mut parts, body) = request.into_parts();
    let on_upgrade = parts.extensions.remove::<OnUpgrade>();
    let mut upgrade = None;
    // `h2c` is refused by ignoring it (RFC 9110 section 7.8): HTTP/2 comes by prior knowledge.
    // A request with a body switches only after it, which no protocol needs.
    if let Some(protocol) = hop.upgrade.as_ref()
        && body.is_end_stream()
        && !protocol.as_bytes().eq_ignore_ascii_case(b"h2c")
    {
        upgrade = on_upgrade;
        parts.headers.insert(header::UPGRADE, protocol.clone());
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    } else if hop.trailers {
        parts.headers.insert(header::TE, HeaderValue::from_static("trailers"));
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
    let count = || instance.meter().received();
    let body = UploadBody::new(body, body_max, limits.body_timeout, count);
    (Request::from_parts(parts, body), upgrade)
}

/// Event streams are silent for as long as nothing happens; nothing else has a reason to be.
pub(super) fn is_events(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    kind.len() >= 17 && kind[..17].eq_ignore_ascii_case(b"text/event-stream")
}
