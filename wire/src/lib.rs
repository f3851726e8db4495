//! Floor 0: the names, data transfer objects and errors that the agent, `ten` and `slum` share.
//!
//! Nothing here does I/O, reads a clock or knows an async runtime.

pub mod alerts;
pub mod backups;
pub mod deploys;
pub mod domains;
pub mod dto;
pub mod error;
pub mod events;
pub mod frames;
pub mod limits;
pub mod logs;
pub mod metrics;
pub mod names;
pub mod plain;
pub mod problems;
pub mod releases;
#[cfg(feature = "schema")]
pub mod schema;
pub mod secrets;
pub mod sessions;
pub mod status;
pub mod tasks;
pub mod tls;
pub mod tokens;

pub use domains::RouteTarget;
pub use error::{ApiError, FieldError};
pub use limits::{Limit, LimitUnit, ResourceLimits};
pub use names::{InstanceId, InstanceName, NameError, ProcessName, TaskTag};
pub use problems::render_problems;
pub use releases::{
    RELEASE_NAME_MAX, ReleaseList, ReleaseName, ReleaseNameError, ReleaseSource, ReleaseView,
};
pub use secrets::{SECRET_MAX, SecretList, SecretName, SecretNameError, SecretView};
pub use tokens::{Scope, TokenId, TokenName};
