//! The API as a client on another host meets it: no peer credentials, a token or none.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::{Request, header};
use http_body_util::BodyExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use tenement_agent::api::{self, Services, Where};
use tenement_agent::flows::events::Events;
use tenement_agent::flows::logbook::Logs;
use tenement_agent::flows::tokens::{Clocks, Tokens, Wish};
use tenement_agent::token::Reach;
use tenement_wire::tokens::TokenView;
use tenement_wire::{InstanceName, Scope};

use super::Fake;

/// The router, without a socket.
pub struct Outside {
    pub fake: Arc<Fake>,
    pub tokens: Arc<Tokens>,
    router: axum::Router,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or("")
    }
}

impl Outside {
    pub fn new() -> Self {
        Self::serving(|services| services)
    }

    pub fn with(logs: Arc<dyn Logs>) -> Self {
        Self::serving(|services| Services { logs, ..services })
    }

    pub fn with_events(events: Events) -> Self {
        Self::serving(|services| Services { events: Some(events), ..services })
    }

    fn serving(change: impl FnOnce(Services) -> Services) -> Self {
        let fake = Arc::new(Fake::default());
        // Lock-outs that last until the test has ended, however slow the machine is.
        let steady = Box::new(|| Duration::from_secs(1));
        let clocks = Clocks { steady, ..Clocks::default() };
        let tokens = Arc::new(Tokens::in_memory(clocks).unwrap());
        let services = change(Services { tokens: tokens.clone(), ..Services::none().unwrap() });
        let router = api::router_with(fake.clone(), services);
        Self { fake, tokens, router }
    }

    /// A token, by its text.
    pub async fn token(&self, scope: Scope, reach: Reach) -> (String, TokenView) {
        let wish = Wish { name: None, scope, reach, life: None };
        let (token, view) = self.tokens.create(wish, "a test".into(), None).await.unwrap();
        (token.text(), view)
    }

    /// The head of an answer; its body is still to come.
    pub async fn open(&self, line: &str, token: Option<&str>, body: &str) -> Response {
        let (method, path) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let from: IpAddr = "192.0.2.7".parse().unwrap();
        let request = request.extension(Where(from)).body(Body::from(body.to_owned())).unwrap();
        TowerToHyperService::new(self.router.clone()).call(request).await.unwrap()
    }

    /// `line` is `GET /api/v1/...`. Of a stream without an end only the beginning is read.
    pub async fn ask(&self, line: &str, token: Option<&str>, body: &str) -> Answer {
        let response = self.open(line, token, body).await;
        let (parts, body) = response.into_parts();
        let whole = tokio::time::timeout(Duration::from_millis(500), body.collect());
        let bytes = whole.await.ok().map(|body| body.unwrap().to_bytes()).unwrap_or_default();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: serde_json::from_slice(&bytes).unwrap_or_default(),
        }
    }
}

/// `""`, `api` or `api:prod`.
pub fn reach(text: &str) -> Reach {
    match text {
        "" => Reach::Host,
        name if name.contains(':') => Reach::Instance(name.parse::<InstanceName>().unwrap()),
        process => Reach::Process(process.parse().unwrap()),
    }
}
