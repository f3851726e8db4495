//! Why a deployment was not begun or ended.

use http::StatusCode as S;

use super::Problem;
use crate::flows::deploys::DeployError;

impl From<DeployError> for Problem {
    fn from(error: DeployError) -> Self {
        let text = error.to_string();
        match error {
            DeployError::Failed(error) => error.into(),
            DeployError::Running { process, id, .. } => {
                let hint = format!(
                    "wait for it: ten deploys {process} {id}; or end it: ten deploys {process} {id} --abort"
                );
                Self::new(S::CONFLICT, "deploy_running", text, &hint)
            }
            DeployError::Unknown { process, .. } => {
                let hint = format!("list them: ten deploys {process}");
                Self::new(S::NOT_FOUND, "unknown_deploy", text, &hint)
            }
            DeployError::NothingBefore { process } => {
                let hint =
                    format!("name one, or move requests back with ten route {process} --to ID");
                Self::new(S::CONFLICT, "no_release", text, &hint)
            }
            DeployError::Over { .. } => {
                Self::new(S::CONFLICT, "deploy_over", text, "go back with ten rollback")
            }
            DeployError::NotHealthy { name, .. } => {
                let hint =
                    format!("see why: ten why {name}; or move requests all the same: --force");
                Self::new(S::CONFLICT, "not_healthy", text, &hint)
            }
        }
    }
}
