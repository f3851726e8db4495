//! The management API behind the proxy's domain: joins two doors that don't know each other.

use std::sync::Arc;

use axum::body::Body;
use http_body_util::BodyExt as _;

use super::events::Happenings;
use super::{Places, backups, files, logs, tokens};
use crate::api::{AskedHost, Remote, RequestId, Services};
use crate::flows::agent::Agent;
use crate::flows::edge::Edge;
use crate::flows::metrics::Measured;
use crate::flows::releases::desk::Shelf;
use crate::flows::sessions::Sessions;
use crate::framing::Visitor;
use crate::proxy::{Root, RootBody, RootFuture, Visit};
use crate::tls::Tls;
use crate::token::Seal;

/// What the API answers from, as it was stored.
pub(super) async fn services(
    places: &Places,
    agent: &Arc<Agent<Edge>>,
    trail: &Happenings,
    tls: &Arc<Tls>,
) -> Result<Services, String> {
    let tokens = tokens::load(agent, &trail.events).await?;
    let checks = tokens.clone();
    let _ = agent.metrics.sources.tokens.set(Box::new(move || checks.checks()));
    let path = places.door_key();
    let key = match files::key(&path) {
        Ok(key) => key,
        Err(error) => {
            // On a full disk, say. Customers must not be without an agent for it: what the real key has
            // sealed stays closed, and sessions last as long as this agent.
            log::error!(file:% = path.display(), reason:% = error; "the key of browser sessions and second factors can't be read or made; until it can, logins end with this agent");
            let mut key = [0; crate::token::KEY_LEN];
            getrandom::fill(&mut key).map_err(|e| format!("no random bytes: {e}"))?;
            key
        }
    };
    let sessions = Sessions::load(&tokens, agent.store.clone(), Seal::new(key)).await;
    let sessions = Arc::new(sessions.map_err(|e| format!("browser sessions: {e}"))?);
    tokio::spawn(sessions.clone().keep_sweeping());
    let figures = Arc::new(Measured(agent.clone()));
    let (events, alerts) = (Some(trail.events.clone()), Some(trail.alerts.clone()));
    let (tls, domains) = (Some(tls.clone()), agent.domains.clone());
    let (logs, commands) = (logs::door(agent), Arc::new(agent.clone()));
    let releases = Arc::new(Shelf::new(agent.clone(), places.releases()));
    let archives = Arc::new(backups::start(places, agent).await?);
    let rollouts = Arc::new(agent.clone());
    Ok(Services {
        logs,
        figures,
        events,
        alerts,
        tokens,
        sessions,
        tls,
        domains,
        commands,
        releases,
        archives,
        rollouts,
    })
}

/// The API, as the proxy sees it.
#[derive(Debug)]
pub(super) struct Api(pub(super) Arc<Remote>);

impl Root for Api {
    fn is_open(&self) -> bool {
        self.0.is_open()
    }

    fn has_pages(&self) -> bool {
        self.0.has_pages()
    }

    fn answers_as(&self, host: &str, visitor: &Visitor) -> bool {
        self.0.answers_as(host, visitor)
    }

    fn answer(&self, visit: Visit) -> RootFuture {
        let remote = self.0.clone();
        Box::pin(async move {
            let text =
                |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
            let (host, id) = (AskedHost(text(&visit.host)), RequestId(text(&visit.id)));
            let request = visit.request.map(Body::new);
            let response = remote.answer(request, visit.visitor, host, id).await;
            response.map(|body| RootBody::new(body.map_err(Into::into)))
        })
    }
}
