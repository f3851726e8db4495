//! What every request gets: an id, an entry in the log if it changed or broke something, and its
//! error written down.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method};

use super::access::Caller;
use super::peer::Peer;
use super::problem::Problem;

/// Header of the answer that carries the request id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Finds a request in the log. It is the door's, or made here; a client's own is not taken over.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

impl RequestId {
    /// A fresh one.
    #[must_use]
    pub fn fresh() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string())
    }
}

/// Wraps every route.
pub async fn trace(mut request: Request, next: Next) -> Response {
    let id = match request.extensions().get::<RequestId>() {
        Some(id) => id.clone(),
        None => RequestId::fresh(),
    };
    request.extensions_mut().insert(id.clone());
    let peer = request.extensions().get::<Peer>().map(|peer| format!("uid {}", peer.uid));
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    let problem = response.extensions_mut().remove::<Problem>();
    let caller = response.extensions().get::<Caller>().map(ToString::to_string);
    let caller = caller.or(peer).unwrap_or_else(|| "nobody".into());
    note(&id, &caller, &method, &path, response.status().as_u16(), problem.as_ref());
    if let Some(problem) = problem {
        response = merge(response, problem.render(&id.0));
    }
    let headers = response.headers_mut();
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        headers.insert(REQUEST_ID, value);
    }
    response
}

/// The rendered problem, with the headers (`Allow`) that the router gave the empty answer.
fn merge(empty: Response, mut rendered: Response) -> Response {
    for (name, value) in empty.headers() {
        if name != CONTENT_TYPE && name != CONTENT_LENGTH {
            rendered.headers_mut().insert(name, value.clone());
        }
    }
    rendered
}

/// Changes are logged whatever came of them, reads only when the agent is at fault.
fn note(
    id: &RequestId,
    caller: &str,
    method: &Method,
    path: &str,
    status: u16,
    problem: Option<&Problem>,
) {
    let id = id.0.as_str();
    let method_text = method.as_str();
    let cause = problem.map_or("", |p| p.cause.as_deref().unwrap_or(&p.api.detail));
    if status >= 500 {
        log::error!(request_id = id, caller = caller, method = method_text, path = path, status = status, cause = cause; "api request failed");
    } else if !matches!(*method, Method::GET | Method::HEAD) {
        log::info!(request_id = id, caller = caller, method = method_text, path = path, status = status, cause = cause; "api request");
    }
}
