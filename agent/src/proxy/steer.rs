//! From a host and a path to an instance, where that takes more than a look into the table.

use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use hyper::body::Incoming;

use super::answer::ProxyBody;
use super::compress::Accepted;
use super::error::{self, Failure};
use super::rules;
use super::state::{Active, Proxy};
use super::way::{Picked, Way, With};
use crate::flows::{Instance, Tenants};
use crate::routes::{Dest, Redirect, Route, Rules};

/// The prefix that an instance does not see.
pub(super) const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// What was taken off a request's path: its field is set when the client can't take it off any more.
#[derive(Debug, Clone)]
pub(super) struct Stripped(pub(super) HeaderValue);

/// Where a request goes.
#[derive(Debug)]
pub(super) enum Steered {
    /// To an instance.
    To(Way),
    /// To the domain itself.
    Root,
    /// Nowhere: this is the answer.
    Answered(Box<Response<ProxyBody>>),
}

/// What of it belongs to the request that is steered.
struct Steering<'a, T> {
    proxy: &'a Proxy<T>,
    active: &'a Active,
    request: &'a mut Request<Incoming>,
    host: &'a str,
}

/// Finds the way of `request` to `host`.
pub(super) async fn steer<T: Tenants>(
    proxy: &Proxy<T>,
    active: &Active,
    request: &mut Request<Incoming>,
    host: &str,
    route: Route<Arc<Instance>>,
) -> Result<Steered, Failure> {
    let mut steering = Steering { proxy, active, request, host };
    match route {
        Route::Instance(instance) => Ok(Steered::To(Way::to(instance))),
        Route::Root => Ok(Steered::Root),
        Route::Site(site) => {
            let found = site.find(steering.request.uri().path());
            let strip = found.strip.map(str::to_owned);
            if let Some(prefix) = strip {
                steering.strip(&prefix)?;
            }
            steering.follow(found.dest).await
        }
        Route::Spawnable(name, known) => {
            if let Some(answer) = steering.check(known.as_deref()).await? {
                return Ok(answer);
            }
            match proxy.tenants.spawn(&name).await {
                Ok(instance) => Ok(steering.one(instance, known.as_ref(), None)),
                Err(error) => {
                    log::warn!(instance:% = name, error = error::chain(&error); "cannot register an instance on request");
                    Err(Failure::from(&error))
                }
            }
        }
        Route::Pending => Err(Failure::DomainPending),
        Route::UnknownInstance => Err(Failure::UnknownInstance),
        Route::UnknownHost => Err(Failure::UnknownHost),
    }
}

impl<T: Tenants> Steering<'_, T> {
    async fn follow(&mut self, dest: &Dest<Arc<Instance>>) -> Result<Steered, Failure> {
        match dest {
            Dest::Instance(instance, rules) => {
                if let Some(answer) = self.check(rules.as_deref()).await? {
                    return Ok(answer);
                }
                Ok(self.one(instance.clone(), rules.as_ref(), None))
            }
            Dest::Group(group, rules) => {
                if let Some(answer) = self.check(rules.as_deref()).await? {
                    return Ok(answer);
                }
                let (picked, instance) =
                    Picked::new(group, rules.as_deref(), self.request.headers());
                Ok(self.one(instance, rules.as_ref(), Some(picked)))
            }
            Dest::Redirect(redirect) => Ok(self.redirect(redirect)),
            Dest::Root => Ok(Steered::Root),
            Dest::UnknownInstance => Err(Failure::UnknownInstance),
            Dest::UnknownHost => Err(Failure::UnknownHost),
        }
    }

    fn one(
        &self,
        instance: Arc<Instance>,
        rules: Option<&Arc<Rules>>,
        picked: Option<Picked>,
    ) -> Steered {
        if rules.is_none() && picked.is_none() {
            return Steered::To(Way::to(instance));
        }
        let compresses = rules.is_some_and(|rules| rules.policy.compress.is_on());
        let headers = self.request.headers();
        let accepted = if compresses { Accepted::of(headers) } else { Accepted::default() };
        let is_head = self.request.method() == Method::HEAD;
        let with = With { rules: rules.cloned(), picked, accepted, is_head };
        Steered::To(Way { instance, with: Some(Box::new(with)) })
    }

    /// What the rules answer instead; else they have done to the request what they ask for.
    async fn check(&mut self, rules: Option<&Rules>) -> Result<Option<Steered>, Failure> {
        let Some(rules) = rules else { return Ok(None) };
        let answer = rules::check(self.proxy, rules, self.active, self.request).await?;
        if !rules.policy.users.is_empty() {
            // The instance gets no password that was not meant for it.
            self.request.headers_mut().remove(header::AUTHORIZATION);
        }
        Ok(answer.map(|answer| Steered::Answered(Box::new(answer))))
    }

    /// Takes the prefix off the path.
    fn strip(&mut self, prefix: &str) -> Result<(), Failure> {
        let whole = self.request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
        let rest = whole.strip_prefix(prefix).unwrap_or(whole);
        let slash = if rest.starts_with('/') { "" } else { "/" };
        let path = PathAndQuery::try_from(format!("{slash}{rest}"));
        let path = path.map_err(|_| Failure::BadRequest(crate::framing::Reason::Target))?;
        *self.request.uri_mut() = Uri::from(path);
        if let Ok(value) = HeaderValue::from_str(prefix) {
            self.request.extensions_mut().insert(Stripped(value));
        }
        Ok(())
    }

    fn redirect(&self, redirect: &Redirect) -> Steered {
        let path = self.request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
        let mut answer = Response::new(ProxyBody::empty());
        *answer.status_mut() =
            StatusCode::from_u16(redirect.status).unwrap_or(StatusCode::PERMANENT_REDIRECT);
        let location = HeaderValue::from_str(&redirect.location(path));
        let fallback = || HeaderValue::from_str(&redirect.location("/"));
        if let Ok(location) = location.or_else(|_| fallback()) {
            answer.headers_mut().insert(header::LOCATION, location);
        }
        answer.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        log::trace!("{} is redirected", self.host);
        Steered::Answered(Box::new(answer))
    }
}

/// The proof that a request to a custom domain came here.
pub(super) fn proof<T: Tenants>(
    proxy: &Proxy<T>,
    host: &str,
    request: &Request<Incoming>,
) -> Option<Response<ProxyBody>> {
    if *request.method() != Method::GET {
        return None;
    }
    let token = proxy.tenants.proof(host, request.uri().path())?;
    let mut answer = Response::new(ProxyBody::empty());
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    *answer.body_mut() = ProxyBody::full(token);
    Some(answer)
}
