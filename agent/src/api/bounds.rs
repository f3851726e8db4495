//! What a request may be at most before anybody reads it: its path and query, and its headers. The body has
//! its own bound ([`super::input`]), and what is longer still the server refuses by itself.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;

/// Longest path and query, in bytes. A search may have 4 KiB, and three characters for each once encoded.
pub const URI_MAX: usize = 16 * 1024;
/// Most headers.
pub const HEADERS_MAX: usize = 64;
/// Longest headers together, in bytes.
pub const HEADERS_BYTES_MAX: usize = 32 * 1024;

/// Wraps every route.
pub(super) async fn bounds(request: Request, next: Next) -> Response {
    let uri = request.uri();
    if uri.path_and_query().map_or(0, |path| path.as_str().len()) > URI_MAX {
        return Problem::uri_too_long(URI_MAX).into_response();
    }
    let headers = request.headers();
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if headers.len() > HEADERS_MAX || bytes > HEADERS_BYTES_MAX {
        return Problem::headers_too_large(HEADERS_MAX, HEADERS_BYTES_MAX).into_response();
    }
    next.run(request).await
}
