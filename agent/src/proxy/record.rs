//! What is kept of one request for its span and its line of the access log, until its answer has ended.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderValue, Method, Request, Response, Uri, Version, header};
use hyper::body::Incoming;

use super::error::Failure;
use super::forward::Wake;
use super::headers::Hop;
use super::root;
use super::state::{Active, Proxy};
use super::tracer::{Place, TRACEPARENT, TRACESTATE, Tracer, receive};
use crate::access::{AccessLog, Line, Wake as Found};
use crate::flows::metrics::meter::CLIENT_GONE;
use crate::flows::{Instance, Tenants};
use crate::framing::host;
use crate::otlp::{Kind, Span, Value};

/// How a wake stands whose browser was sent the waiting page.
const WAITING: &str = "waiting";
/// Longest `User-Agent` in a span, in bytes.
const AGENT_MAX: usize = 256;

/// One request that is watched. When it is dropped, its span and its line are handed over.
#[derive(Debug)]
pub(super) struct Record {
    tracer: Option<(Arc<Tracer>, Place)>,
    access: Option<Arc<AccessLog>>,
    instance: Arc<Instance>,
    method: Method,
    host: HeaderValue,
    uri: Uri,
    version: Version,
    client: IpAddr,
    https: bool,
    user_agent: Option<HeaderValue>,
    trace_state: String,
    /// Of the trace, whoever began it.
    trace_id: Option<[u8; 16]>,
    request_id: HeaderValue,
    bytes_in: Option<u64>,
    query: bool,
    begun: Instant,
    begun_at: SystemTime,
    wake: Option<Woken>,
    status: u16,
    error: Option<&'static str>,
    bytes: u64,
    complete: bool,
}

/// How the instance was found.
#[derive(Debug, Clone, Copy)]
struct Woken {
    tier: &'static str,
    begun: Duration,
    /// When it answered, or failed to.
    ended: Option<Duration>,
    outcome: Option<&'static str>,
}

/// Reads and sets the trace of `request`, and begins to watch it if anybody wants to know.
pub(super) fn begin<T: Tenants>(
    proxy: &Proxy<T>,
    active: &Active,
    instance: &Arc<Instance>,
    request: &mut Request<Incoming>,
    host: &HeaderValue,
    id: &HeaderValue,
    hop: &Hop,
) -> Option<Box<Record>> {
    let parent = if hop.traced { receive(request.headers_mut()) } else { None };
    if !proxy.watch.is_on() {
        return None;
    }
    let client = active.client();
    let mut random = proxy.ids.random();
    let wanted = instance.setup().definition.access;
    let access = if wanted.takes(random[0]) { proxy.watch.access() } else { None };
    let tracer = proxy.watch.tracer().and_then(|tracer| {
        random = proxy.ids.random();
        let place = tracer.place(parent, client.trusted, id, [random, proxy.ids.random()]);
        if parent.is_none() {
            // State of a trace that there is not (section 3.3.1 of the specification).
            request.headers_mut().remove(TRACESTATE);
        }
        if place.sampled || parent.is_none() {
            let onward = HeaderValue::from_bytes(&place.onward().render()).ok()?;
            request.headers_mut().insert(TRACEPARENT, onward);
        }
        place.sampled.then_some((tracer, place))
    });
    if access.is_none() && tracer.is_none() {
        return None;
    }
    let headers = request.headers();
    let visitor = root::visitor_of(active, headers);
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let mut trace_id = tracer.as_ref().map(|(_, place)| place.trace_id);
    trace_id = trace_id.or(parent.map(|parent| parent.trace_id));
    Some(Box::new(Record {
        trace_state: if tracer.is_some() { joined(request) } else { String::new() },
        user_agent: headers.get(header::USER_AGENT).filter(|_| tracer.is_some()).cloned(),
        tracer,
        access,
        instance: instance.clone(),
        method: request.method().clone(),
        host: host.clone(),
        uri: request.uri().clone(),
        version: request.version(),
        client: visitor.address,
        https: visitor.https,
        trace_id,
        request_id: id.clone(),
        bytes_in: length.and_then(|length| length.parse().ok()),
        query: wanted.query,
        begun: Instant::now(),
        begun_at: SystemTime::now(),
        wake: None,
        status: 0,
        error: None,
        bytes: 0,
        complete: false,
    }))
}

/// `tracestate`, which may stand in several fields.
fn joined(request: &Request<Incoming>) -> String {
    let values = request.headers().get_all(TRACESTATE).iter();
    values.filter_map(|value| value.to_str().ok()).collect::<Vec<_>>().join(",")
}

impl Record {
    /// The instance is about to be made reachable.
    pub(super) fn reaching(&mut self) {
        let (tier, begun) = (self.instance.tier().as_str(), self.begun.elapsed());
        self.wake = Some(Woken { tier, begun, ended: None, outcome: None });
    }

    /// The head of the answer is there.
    pub(super) fn answered<B>(&mut self, answer: &Response<B>, wake: Wake) {
        self.status = answer.status().as_u16();
        let elapsed = self.begun.elapsed();
        if let (Some(woken), Wake::Cold(_)) = (&mut self.wake, wake) {
            (woken.ended, woken.outcome) = (Some(elapsed), Some("ok"));
        }
    }

    /// The proxy answers by itself.
    pub(super) fn failed(&mut self, failure: Failure) {
        let elapsed = self.begun.elapsed();
        (self.status, self.error) = (failure.status().as_u16(), Some(failure.code()));
        if let (Some(woken), Some(outcome)) = (&mut self.wake, failure.wake_outcome()) {
            (woken.ended, woken.outcome) = (Some(elapsed), Some(outcome.as_str()));
        }
        self.complete = true;
    }

    /// A browser got a page that loads itself again, while the wake goes on.
    pub(super) fn paged<B>(&mut self, page: &Response<B>) {
        let elapsed = self.begun.elapsed();
        (self.status, self.error) = (page.status().as_u16(), Some("waiting_page"));
        if let Some(woken) = &mut self.wake {
            (woken.ended, woken.outcome) = (Some(elapsed), Some(WAITING));
        }
        self.complete = true;
    }

    /// The answer has come to its end, after so many bytes of its body.
    pub(super) fn end(&mut self, bytes: u64, complete: bool) {
        (self.bytes, self.complete) = (bytes, complete);
    }

    fn span(&self, tracer: &Tracer, place: &Place, ended: Duration) -> Span {
        let (method, original) = known(&self.method);
        let name = if original.is_some() { "HTTP" } else { method };
        let status = if self.status == 0 { None } else { Some(self.status) };
        let failed = self.status >= 500;
        let error: Option<Cow<'static, str>> = match (self.error, status) {
            (Some(code), _) if failed => Some(code.into()),
            (_, None) => Some("client_gone".into()),
            (_, Some(status)) if failed => Some(status.to_string().into()),
            _ if !self.complete => Some("incomplete".into()),
            _ => None,
        };
        let mut attributes: Vec<(&'static str, Value)> = vec![
            ("http.request.method", method.into()),
            ("url.path", self.uri.path().to_owned().into()),
            ("url.scheme", if self.https { "https" } else { "http" }.into()),
            ("client.address", self.client.to_string().into()),
            ("network.protocol.version", crate::access::protocol(self.version).into()),
            ("http.response.body.size", self.bytes.into()),
            ("tenement.process", self.instance.name.process().as_str().to_owned().into()),
            ("tenement.instance", self.instance.name.to_string().into()),
            ("tenement.request_id", text(&self.request_id).into()),
        ];
        attributes.extend(self.server());
        attributes.extend(original.map(|word| ("http.request.method_original", word.into())));
        attributes.extend(status.map(|code| ("http.response.status_code", u64::from(code).into())));
        attributes.extend(self.bytes_in.map(|bytes| ("http.request.body.size", bytes.into())));
        if let Some(query) = self.uri.query().filter(|_| tracer.query) {
            attributes.push(("url.query", query.to_owned().into()));
        }
        if let Some(agent) = &self.user_agent {
            let agent = &agent.as_bytes()[..agent.len().min(AGENT_MAX)];
            let agent = String::from_utf8_lossy(agent).into_owned();
            attributes.push(("user_agent.original", agent.into()));
        }
        if let Some(wake) = &self.wake {
            let found = if wake.outcome.is_some() { wake.tier } else { "hot" };
            attributes.push(("tenement.wake", found.into()));
        }
        attributes.extend(error.map(|error| ("error.type", Value::Text(error))));
        Span {
            trace_id: place.trace_id,
            span_id: place.span_id,
            parent: place.parent.map(|id| (id, true)),
            trace_state: self.trace_state.clone(),
            kind: Kind::Server,
            name: name.into(),
            start: self.begun_at,
            end: self.begun_at + ended,
            attributes,
            failed,
        }
    }

    /// `server.address` and `server.port`: the host that was asked for.
    fn server(&self) -> Vec<(&'static str, Value)> {
        let text = text(&self.host);
        let name = host::parse(text.as_bytes()).map_or(0, |host| host.name.len());
        let port = text.rsplit_once(':').and_then(|(_, port)| port.parse::<u64>().ok());
        let address = text.get(..name).unwrap_or_default().to_owned();
        let mut server = vec![("server.address", address.into())];
        server.extend(port.map(|port| ("server.port", port.into())));
        server
    }

    fn wake_span(&self, place: &Place, random: u64) -> Option<Span> {
        let Woken { tier, begun, ended: Some(ended), outcome: Some(outcome) } = self.wake? else {
            return None;
        };
        Some(Span {
            trace_id: place.trace_id,
            span_id: random.max(1).to_be_bytes(),
            parent: Some((place.span_id, false)),
            trace_state: self.trace_state.clone(),
            kind: Kind::Internal,
            name: "wake".into(),
            start: self.begun_at + begun,
            end: self.begun_at + ended,
            attributes: vec![
                ("tenement.instance", self.instance.name.to_string().into()),
                ("tenement.wake.tier", tier.into()),
                ("tenement.wake.outcome", outcome.into()),
            ],
            failed: outcome != "ok" && outcome != WAITING,
        })
    }

    fn line(&self, duration: Duration) -> Line {
        let wake = self.wake.map(|wake| match wake.outcome {
            Some(_) => Found::Cold(wake.tier),
            None => Found::Hot,
        });
        Line {
            instance: self.instance.name.clone(),
            method: self.method.clone(),
            host: self.host.clone(),
            path: self.uri.path().to_owned(),
            query: self.uri.query().filter(|_| self.query).map(str::to_owned),
            version: self.version,
            status: if self.status == 0 { CLIENT_GONE } else { self.status },
            duration,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes,
            complete: self.complete,
            client: self.client,
            request_id: self.request_id.clone(),
            trace_id: self.trace_id,
            wake,
            error: self.error,
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let ended = self.begun.elapsed();
        if let Some(access) = &self.access {
            access.offer(self.line(ended));
        }
        let Some((tracer, place)) = &self.tracer else { return };
        // Another id of the same span: no bit of it need be random beyond that.
        let other = !u64::from_be_bytes(place.span_id);
        if let Some(wake) = self.wake_span(place, other) {
            tracer.exporter.offer(wake);
        }
        tracer.exporter.offer(self.span(tracer, place, ended));
    }
}

/// A method that everybody knows, or `_OTHER` and what it was: names of spans are few.
fn known(method: &Method) -> (&'static str, Option<String>) {
    const KNOWN: [&str; 9] =
        ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    match KNOWN.into_iter().find(|known| *known == method.as_str()) {
        Some(known) => (known, None),
        None => ("_OTHER", Some(method.as_str().chars().take(32).collect())),
    }
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}
