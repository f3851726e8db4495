//! What is known of the certificates of one CA.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::acme::Acme;
use super::certificate::{Certificate, Facts};
use super::limits::Allowance;
use super::memory::{Failed, Memory};

/// How long an order that failed is remembered after the next was due, in seconds; a certificate that ended, so many
/// times longer.
const REMEMBERED: u64 = 86_400;
const ENDED_KEPT: u64 = 30;

/// How an order went; none: it is under way.
pub(super) type Flight = watch::Receiver<Option<bool>>;

/// All certificates of one CA.
#[derive(Default)]
pub(super) struct Orders {
    pub(super) acme: Option<Arc<Acme>>,
    /// Why there is no CA although the config names one.
    pub(super) error: Option<String>,
    pub(super) kept: BTreeMap<String, Kept>,
    pub(super) allowance: Allowance,
    /// When it was last said that nothing is left of it, in Unix seconds.
    pub(super) said: u64,
    /// Something has changed that is to be remembered.
    pub(super) changed: bool,
    /// The files have been read.
    pub(super) scanned: bool,
}

/// One certificate, or one that should be there, under the first of its names.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) names: Vec<String>,
    /// Wanted by the config; others are custom domains'.
    pub(super) managed: bool,
    /// Of custom domains only what is used is in memory, elsewhere.
    pub(super) certificate: Option<Arc<Certificate>>,
    pub(super) facts: Option<Facts>,
    /// When the next order is due, in Unix seconds.
    pub(super) due: u64,
    pub(super) failures: u32,
    /// The operator wants an order, whatever its back-off.
    pub(super) wished: bool,
    pub(super) error: Option<String>,
    pub(super) flight: Option<Flight>,
}

impl Kept {
    pub(super) fn is_good(&self, now: u64) -> bool {
        self.facts.as_ref().is_some_and(|facts| facts.not_after > now)
    }

    /// Whether an order is begun although nobody asks: names that never had a certificate, or have none any more,
    /// wait for a client, so that nobody makes us try for ever what leads elsewhere.
    pub(super) fn is_renewed(&self, now: u64) -> bool {
        self.managed || self.wished || self.is_good(now)
    }

    /// Whether nobody has asked for so long that nothing of it need be known.
    pub(super) fn is_over(&self, now: u64) -> bool {
        match &self.facts {
            _ if self.wished => false,
            Some(facts) => facts.not_after + REMEMBERED * ENDED_KEPT <= now,
            None => self.due + REMEMBERED <= now,
        }
    }
}

impl Orders {
    /// What is to be remembered.
    pub(super) fn memory(&self) -> Memory {
        let failed = self.kept.iter().filter(|(_, kept)| !kept.managed && kept.failures > 0);
        let failed = failed
            .map(|(name, kept)| (name.clone(), Failed { failures: kept.failures, due: kept.due }));
        Memory { allowance: self.allowance.clone(), failed: failed.collect() }
    }

    /// Takes in what is remembered.
    pub(super) fn recall(&mut self, memory: Memory) {
        self.allowance = memory.allowance;
        for (name, Failed { failures, due }) in memory.failed {
            let kept = Kept { names: vec![name.clone()], failures, due, ..Kept::default() };
            self.kept.insert(name, kept);
        }
    }
}

/// From 0 to 1, always the same for a name: it spreads what would happen at once.
pub(super) fn chance(name: &str) -> f64 {
    let sum = name
        .bytes()
        .fold(2_166_136_261u32, |sum, byte| (sum ^ u32::from(byte)).wrapping_mul(16_777_619));
    f64::from(sum) / f64::from(u32::MAX)
}
