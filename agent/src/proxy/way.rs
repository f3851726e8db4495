//! Where a request goes, what holds on its way, and where else it may go.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Response, header};

use super::answer::ProxyBody;
use super::compress::{Accepted, compress};
use super::rules;
use crate::flows::Instance;
use crate::framing::cookie;
use crate::routes::{Group, Rules};

/// Instances that one request is sent to at most.
const PICKS_MAX: usize = 4;

/// Where a request goes.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) instance: Arc<Instance>,
    /// None, for nearly all: it goes there and nowhere else, as it is.
    pub(super) with: Option<Box<With>>,
}

impl Way {
    pub(super) fn to(instance: Arc<Instance>) -> Self {
        Self { instance, with: None }
    }

    /// The longest body, beside the limit of all.
    pub(super) fn body_max(&self, limit: u64) -> u64 {
        let own = self.with.as_ref().and_then(|with| with.rules.as_ref()?.policy.body_max);
        match own {
            Some(own) if limit == 0 => own,
            Some(own) => own.min(limit),
            None => limit,
        }
    }
}

/// What holds on the way.
#[derive(Debug, Default)]
pub(super) struct With {
    pub(super) rules: Option<Arc<Rules>>,
    pub(super) picked: Option<Picked>,
    pub(super) accepted: Accepted,
    pub(super) is_head: bool,
}

/// One of several.
#[derive(Debug)]
pub(super) struct Picked {
    group: Arc<Group<Arc<Instance>>>,
    tried: Vec<usize>,
    /// Whether the client is to stay with it, and does not know yet.
    tell: bool,
}

impl Picked {
    /// The one that the client's cookie names, or the next by weight.
    pub(super) fn new(
        group: &Arc<Group<Arc<Instance>>>,
        rules: Option<&Rules>,
        headers: &HeaderMap,
    ) -> (Self, Arc<Instance>) {
        let sticky = rules.filter(|rules| rules.policy.sticky);
        let known = sticky.and_then(|rules| {
            let token = cookie(headers, &cookie_name(rules))?;
            group.stuck_to(token.as_bytes())
        });
        let at = known.unwrap_or_else(|| pick_open(group));
        let instance = group.members()[at].value.clone();
        let tell = sticky.is_some() && known.is_none();
        (Self { group: group.clone(), tried: vec![at], tell }, instance)
    }

    /// Another one, after the last failed.
    pub(super) fn again(&mut self) -> Option<Arc<Instance>> {
        let members = self.group.members();
        if self.tried.len() >= PICKS_MAX.min(members.len()) {
            return None;
        }
        let by_weight = (0..8).map(|_| self.group.pick()).find(|at| !self.tried.contains(at));
        let at = by_weight.or_else(|| (0..members.len()).find(|at| !self.tried.contains(at)))?;
        self.tried.push(at);
        self.tell = true;
        Some(members[at].value.clone())
    }
}

/// The next one by weight that does not have its requests wait just now, if there is such.
fn pick_open(group: &Group<Arc<Instance>>) -> usize {
    let first = group.pick();
    let members = group.members();
    if !members[first].value.gate.holds() {
        return first;
    }
    let open = |at: &usize| !members[*at].value.gate.holds();
    (0..members.len().min(8)).map(|_| group.pick()).find(open).unwrap_or(first)
}

fn cookie_name(rules: &Rules) -> String {
    format!("ten_{}", rules.process)
}

impl With {
    /// Where the request goes after the last instance failed it.
    pub(super) fn again(&mut self) -> Option<Arc<Instance>> {
        self.picked.as_mut()?.again()
    }

    /// Does to the answer what the process asks for.
    pub(super) fn finish(
        &self,
        mut answer: Response<ProxyBody>,
        https: bool,
    ) -> Response<ProxyBody> {
        let Some(rules) = &self.rules else { return answer };
        rules::edit(answer.headers_mut(), &rules.policy.response_headers);
        if let Some(picked) =
            self.picked.as_ref().filter(|picked| picked.tell && rules.policy.sticky)
            && let Some(at) = picked.tried.last()
        {
            let token = String::from_utf8_lossy(&picked.group.members()[*at].token).into_owned();
            let secure = if https { "; Secure" } else { "" };
            let name = cookie_name(rules);
            let value = format!("{name}={token}; Path=/; HttpOnly; SameSite=Lax{secure}");
            if let Ok(value) = HeaderValue::from_str(&value) {
                answer.headers_mut().append(header::SET_COOKIE, value);
            }
        }
        if rules.policy.compress.is_on() {
            return compress(answer, rules.policy.compress, self.accepted, self.is_head);
        }
        answer
    }
}
