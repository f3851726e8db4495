//! Who makes a request, and what they may know of.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tenement_wire::{InstanceName, ProcessName, Scope};

use super::peer::Peer;
use super::problem::Problem;
use crate::token::{Grant, Reach};

/// Who made a request. Doors put it into the request's extensions; the layer puts it into those of the
/// answer too, for what wraps the layer.
#[derive(Debug, Clone)]
pub enum Caller {
    /// Somebody on the admin socket, who may do everything.
    Local(Peer),
    /// Somebody at an address from which `/metrics` may be read without a token, and only that.
    Scraper,
    /// The holder of a token, or a browser session that stands for one.
    Token(Arc<Grant>),
}

impl Caller {
    /// What they may know of.
    #[must_use]
    pub fn reach(&self) -> &Reach {
        match self {
            Self::Local(_) | Self::Scraper => &Reach::Host,
            Self::Token(grant) => &grant.reach,
        }
    }

    /// Whether they may do what needs `scope`.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        match self {
            Self::Local(_) => true,
            Self::Scraper => scope == Scope::Read,
            Self::Token(grant) => grant.may(scope),
        }
    }

    /// That they may do what needs `scope`.
    ///
    /// # Errors
    /// The answer that they may not.
    pub fn must(&self, scope: Scope) -> Result<(), Problem> {
        match self {
            Self::Token(grant) if !grant.may(scope) => {
                Err(Problem::forbidden_scope(scope, grant.scope))
            }
            Self::Scraper if scope > Scope::Read => Err(Problem::unauthenticated()),
            Self::Local(_) | Self::Scraper | Self::Token(_) => Ok(()),
        }
    }

    /// Whether they may know of `name`.
    #[must_use]
    pub fn sees(&self, name: &InstanceName) -> bool {
        self.reach().sees(name)
    }

    /// Whether they may know of `process`.
    #[must_use]
    pub fn sees_process(&self, process: &ProcessName) -> bool {
        self.reach().sees_process(process)
    }

    /// Whether nothing of the host is hidden from them.
    #[must_use]
    pub fn sees_all(&self) -> bool {
        *self.reach() == Reach::Host
    }
}

/// How they stand in the log and in events: `uid 0`, `token ci (abcdefghijkl)`.
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(peer) => write!(f, "uid {}", peer.uid),
            Self::Scraper => f.write_str("a scraper"),
            Self::Token(grant) => grant.fmt(f),
        }
    }
}

/// A handler that asks who asks.
impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(Problem::unauthenticated)
    }
}

/// From where a request of another host comes. Its door puts it into the request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Where(pub IpAddr);
