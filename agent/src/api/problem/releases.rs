//! What is told of releases that could not be had.

use std::time::Duration;

use http::StatusCode;
use tenement_wire::ReleaseNameError;

use super::Problem;
use crate::flows::releases::ReleaseError;

impl Problem {
    /// The release in the path is not a name.
    pub fn bad_release(error: &ReleaseNameError) -> Self {
        let hint = "ten releases lists them";
        Self::new(StatusCode::BAD_REQUEST, "invalid_name", error.to_string(), hint)
    }
}

impl Problem {
    /// Too many logs are followed.
    pub fn too_many_follow(most: usize) -> Self {
        let detail = format!("{most} logs of builds are followed already");
        let hint = "ask without follow, or again in a while";
        let mut problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "too_many", detail, hint);
        problem.retry_after = Some(Duration::from_secs(1));
        problem
    }
}

impl From<ReleaseError> for Problem {
    fn from(error: ReleaseError) -> Self {
        use StatusCode as S;
        let text = error.to_string();
        let new = |status, code, hint: &str| Self::new(status, code, text.clone(), hint);
        match error {
            ReleaseError::Manage(error) => error.into(),
            ReleaseError::Deploy(error) => error.into(),
            ReleaseError::Unknown { process, .. } => {
                new(S::NOT_FOUND, "unknown_release", &format!("ten releases {process} lists them"))
            }
            ReleaseError::Exists { .. } => {
                new(S::CONFLICT, "release_exists", "give it another name: --release NAME")
            }
            ReleaseError::InUse { process, .. } => new(
                S::CONFLICT,
                "release_in_use",
                &format!("ten releases {process} shows what needs it"),
            ),
            ReleaseError::Building { process, name } => new(
                S::CONFLICT,
                "busy",
                &format!("wait for it: ten releases log {process} {name} --follow"),
            ),
            ReleaseError::NoTarball => new(
                S::UNSUPPORTED_MEDIA_TYPE,
                "not_a_tarball",
                "send what tar writes, as it is or compressed with gzip or zstd",
            ),
            ReleaseError::TooLarge { .. } => new(
                S::PAYLOAD_TOO_LARGE,
                "too_large",
                "leave out what is not needed, or raise upload_max in [process.NAME.deploy]",
            ),
            ReleaseError::NoSpace => new(
                S::INSUFFICIENT_STORAGE,
                "no_space",
                "free space on the disk of /var/lib/tenement, or delete old releases: ten releases rm",
            ),
        }
    }
}
