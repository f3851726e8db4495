//! `/metrics`, for Prometheus and whoever else scrapes.
//!
//! ```text
//! Accept → format    Figures::scrape → families (pure) → text → gzip, where it is taken, off the threads of the proxy
//! ```
//! A restricted token gets the series of its own instances alone. One scrape is made at a time: others wait for
//! their turn, which bounds what scrapers can cost.

mod host;
mod instances;
mod text;

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::Query;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderValue, StatusCode};
use tokio::sync::Semaphore;
use utoipa_axum::router::OpenApiRouter;

use super::access::Caller;
use super::metrics::problem;
use super::problem::Problem;
use super::routes::collect;
use crate::flows::metrics::{Figures, Scrape};
use text::{Format, Text};

/// Room for the families of the host and of one instance, in bytes.
const ROOM: usize = 32 * 1024;
const ROOM_EACH: usize = 6 * 1024;
/// How long a scrape waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// The route, at the root.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(
    figures: Arc<dyn Figures>,
) -> OpenApiRouter<S> {
    OpenApiRouter::new()
        .routes(collect!(metrics))
        .layer(Extension(figures))
        .layer(Extension(Turn(Arc::new(Semaphore::new(1)))))
}

#[derive(Clone)]
struct Turn(Arc<Semaphore>);

/// Everything that is counted and measured, for Prometheus
///
/// In OpenMetrics 1.0 if `Accept` prefers it, else in Prometheus's own text format; compressed if
/// `Accept-Encoding` takes gzip. A restricted token gets the series of its own instances alone.
#[utoipa::path(get, path = "/metrics", tag = "agent", security(("token" = ["read"])),
    responses((status = 200, description = "As it is now", body = String, content_type = "text/plain")),
    extensions(("x-problems" = json!(["metrics_off", "too_many"]))))]
async fn metrics(
    Extension(figures): Extension<Arc<dyn Figures>>,
    Extension(Turn(turn)): Extension<Turn>,
    caller: Caller,
    // Scrapers may be configured to send parameters, which mean nothing here.
    Query(_): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let waited = tokio::time::timeout(PATIENCE, turn.acquire_owned()).await;
    let Ok(Ok(turn)) = waited else { return Err(Problem::too_many()) };
    let mut scrape = figures.scrape().await.map_err(problem)?;
    scrape.instances.retain(|one| caller.sees(&one.name));
    scrape.backups.retain(|one| caller.sees(&one.name));
    let whole = caller.sees_all();
    let format = wanted(&headers);
    let gzip = takes_gzip(&headers);
    let written = tokio::task::spawn_blocking(move || {
        // Held until the work is done, even if whoever asked has gone.
        let _turn = turn;
        let text = render(&scrape, format, whole);
        match gzip.then(|| compressed(text.as_bytes())).flatten() {
            Some(bytes) => (Bytes::from(bytes), true),
            None => (Bytes::from(text), false),
        }
    });
    let (body, gzip) = written.await.map_err(|error| Problem::internal(&error))?;
    let mut response = (StatusCode::OK, body).into_response();
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    out.insert(header::VARY, HeaderValue::from_static("accept, accept-encoding"));
    if gzip {
        out.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

/// The text of one scrape; what is not of an instance only for those who may see the `whole`.
fn render(scrape: &Scrape, format: Format, whole: bool) -> String {
    let mut text = Text::new(format, ROOM + scrape.instances.len() * ROOM_EACH);
    if whole {
        host::write(&mut text, scrape);
    }
    host::backups(&mut text, scrape);
    instances::write(&mut text, scrape);
    text.finish()
}

/// The fastest level: the text repeats itself so much that better ones save little.
fn compressed(text: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 16), Compression::fast());
    encoder.write_all(text).ok()?;
    encoder.finish().ok()
}

/// The format that `Accept` (RFC 9110 section 12.5.1) prefers; Prometheus's own at a tie.
fn wanted(headers: &HeaderMap) -> Format {
    let weight = |kinds: &[&str]| -> f64 {
        let of = |(kind, q): (String, f64)| kinds.contains(&kind.as_str()).then_some(q);
        elements(headers, &header::ACCEPT).into_iter().filter_map(of).fold(0.0, f64::max)
    };
    match weight(&["application/openmetrics-text"]) > weight(&["text/plain", "text/*", "*/*"]) {
        true => Format::OpenMetrics,
        false => Format::Prometheus,
    }
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let encodings = elements(headers, &header::ACCEPT_ENCODING);
    let named = encodings.iter().find(|(coding, _)| coding == "gzip");
    let any = encodings.iter().find(|(coding, _)| coding == "*");
    named.or(any).is_some_and(|(_, q)| *q > 0.0)
}

/// The elements of a list with their weights, in lower case and without other parameters.
fn elements(headers: &HeaderMap, name: &header::HeaderName) -> Vec<(String, f64)> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let one = |element: &str| {
        let mut parts = element.split(';').map(str::trim);
        let word = parts.next().unwrap_or_default().to_ascii_lowercase();
        let q = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok()).unwrap_or(1.0);
        (word, q)
    };
    values.flat_map(|value| value.split(',')).map(one).collect()
}

#[cfg(test)]
mod tests;
