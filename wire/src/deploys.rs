//! Deployments: instances of a process moved to another release.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{InstanceId, InstanceName, ProcessName, ReleaseName};

/// Lines of progress that a deployment keeps.
pub const LINES_MAX: usize = 200;

/// How instances come to another release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum Strategy {
    /// Each instance moves at its next start, or now in batches.
    InPlace,
    /// An instance of its own is made for the release; requests are moved to it by hand.
    BlueGreen,
    /// The same, and requests are moved to it step by step.
    Canary,
}

impl Strategy {
    /// As the API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InPlace => "in-place",
            Self::BlueGreen => "blue-green",
            Self::Canary => "canary",
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Strategy {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::InPlace, Self::BlueGreen, Self::Canary];
        let found = all.into_iter().find(|one| one.as_str() == text);
        found.ok_or("must be in-place, blue-green or canary")
    }
}

/// How far a deployment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum DeployState {
    /// It goes on.
    Running,
    /// It is done, and no instance has been ready on the release yet: the first start that fails takes it back.
    Unproven,
    /// It is done.
    Succeeded,
    /// The release is broken: everything is as it was before.
    RolledBack,
    /// It went wrong, and nothing was taken back.
    Failed,
    /// Somebody ended it: everything is as it was before.
    Aborted,
}

impl DeployState {
    /// As the API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Unproven => "unproven",
            Self::Succeeded => "succeeded",
            Self::RolledBack => "rolled-back",
            Self::Failed => "failed",
            Self::Aborted => "aborted",
        }
    }

    /// Whether nothing more is done.
    #[must_use]
    pub fn is_over(self) -> bool {
        self != Self::Running
    }

    /// Whether the release is in use as was asked for.
    #[must_use]
    pub fn is_good(self) -> bool {
        matches!(self, Self::Unproven | Self::Succeeded)
    }
}

/// How far one instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum MoveState {
    /// Its turn has not come.
    Waiting,
    /// It is being replaced; its requests wait.
    Moving,
    /// It is ready on the release.
    Moved,
    /// It was not ready on the release, and is back.
    Failed,
    /// It was moved, and is back.
    Back,
}

impl MoveState {
    /// As the API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Moving => "moving",
            Self::Moved => "moved",
            Self::Failed => "failed",
            Self::Back => "back",
        }
    }
}

/// One instance that is moved now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct MoveView {
    /// Which.
    pub name: InstanceName,
    /// How far it is.
    pub state: MoveState,
    /// How long its requests waited, in milliseconds, once it is over.
    pub took_ms: Option<u64>,
}

/// What was counted of requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ShareView {
    /// How many were answered.
    pub requests: u64,
    /// How many of them with a status of 500 or more, or not by the instance.
    pub errors: u64,
    /// The same in per cent.
    pub error_percent: f64,
    /// What 95 of 100 took at most, in milliseconds.
    pub p95_ms: Option<f64>,
}

/// One step of a canary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct StepView {
    /// The canary's share of the requests, in per cent.
    pub percent: u32,
    /// How long it has lasted, in milliseconds.
    pub elapsed_ms: u64,
    /// What was counted of the canary meanwhile.
    pub canary: ShareView,
    /// What was counted of the others.
    pub others: ShareView,
    /// What came of it, once it is over.
    pub verdict: Option<String>,
}

/// A line of progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DeployLine {
    /// When, in Unix milliseconds.
    pub time_ms: u64,
    /// What was done.
    pub text: String,
}

/// A deployment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DeployView {
    /// Its id.
    pub id: String,
    /// The process.
    pub process: ProcessName,
    /// The release that instances move to.
    pub release: ReleaseName,
    /// What the process ran from before.
    pub previous: Option<ReleaseName>,
    /// How they move.
    pub strategy: Strategy,
    /// Whether running instances are restarted now.
    pub now: bool,
    /// Instances that are restarted side by side.
    pub batch: u32,
    /// How far it is.
    pub state: DeployState,
    /// When it began, in Unix milliseconds.
    pub started_ms: u64,
    /// When it was over, in Unix milliseconds.
    pub ended_ms: Option<u64>,
    /// The instance of the release's own, if it has one.
    pub instance: Option<InstanceName>,
    /// Instances that are moved now, in their order.
    pub moves: Vec<MoveView>,
    /// Steps of a canary so far.
    pub steps: Vec<StepView>,
    /// Why it was taken back, or is over too soon.
    pub reason: Option<String>,
    /// The instance that it failed at.
    pub failed: Option<InstanceName>,
    /// What that instance wrote to its log at last.
    pub last_lines: Vec<String>,
    /// Its progress, the newest at the end.
    pub log: Vec<DeployLine>,
    /// Lines of progress so far, with those that are not kept.
    pub lines: u64,
}

/// Answer of `GET /processes/{process}/deploys`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DeployList {
    /// The newest first.
    pub deploys: Vec<DeployView>,
}

/// The body of `POST /processes/{process}/deploys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct StartDeploy {
    /// The release to move to
    pub release: ReleaseName,
    /// How (`in-place`)
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// Restart running instances now (`in-place` only)
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub now: bool,
    /// Instances that are restarted side by side; without it, what the config says
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 1000))]
    pub batch: Option<u32>,
    /// Id of the instance that is made for the release (`blue-green`, `canary`); without it, the release's name
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
    /// Shares of the requests, growing to 100 (`canary`); without it, what the config says
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(min_items = 1, max_items = 100))]
    pub steps: Option<Vec<u32>>,
    /// How long each step takes, in seconds (`canary`); without it, what the config says
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 604800))]
    pub step_s: Option<u64>,
}

/// The body of `POST /processes/{process}/rollback`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct StartRollback {
    /// The release to go back to; without it, the one before
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<ReleaseName>,
    /// Restart running instances now
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub now: bool,
    /// Instances that are restarted side by side; without it, what the config says
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 1000))]
    pub batch: Option<u32>,
}

/// The body of `POST /processes/{process}/route`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct MoveRoute {
    /// The instance that gets no more requests by weight; without it, all others
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<InstanceId>,
    /// The instance that gets its weight
    pub to: InstanceId,
    /// Even if that is not healthy
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
}

/// The body of `PUT /instances/{name}/pin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SetPin {
    /// The release to stay at
    pub release: ReleaseName,
}

/// Where an instance stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PinView {
    /// Which instance.
    pub name: InstanceName,
    /// The release that it stays at; none: it goes with its process.
    pub pinned: Option<ReleaseName>,
    /// What its next start is from.
    pub release: Option<ReleaseName>,
}
