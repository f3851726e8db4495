//! What is told of custom domains that could not be had.

use http::StatusCode;

use super::Problem;
use crate::flows::domains::DomainError;

impl From<DomainError> for Problem {
    fn from(error: DomainError) -> Self {
        use StatusCode as S;
        let text = error.to_string();
        match error {
            DomainError::Failed(error) => error.into(),
            DomainError::Unknown(_) => {
                Self::new(S::NOT_FOUND, "unknown_domain", text, "ten domain ls lists them")
            }
            DomainError::Taken(_) => {
                let hint = "if it is yours, ask who runs this host to remove it there";
                Self::new(S::CONFLICT, "domain_taken", text, hint)
            }
            DomainError::Ours(name) => {
                let hint =
                    "instances have such names by themselves; [routing] subdomain gives others";
                let mut problem = Self::new(S::UNPROCESSABLE_ENTITY, "invalid_request", text, hint);
                let message = format!("{name} is one of this host's own names");
                problem.api.errors =
                    vec![tenement_wire::FieldError { field: "domain".into(), message }];
                problem
            }
            DomainError::Claimed { txt_name, txt_value, .. } => {
                let hint = format!(
                    "if it is yours: add the DNS record {txt_name} TXT \"{txt_value}\", then add the domain again"
                );
                Self::new(S::CONFLICT, "domain_taken", text, &hint)
            }
            DomainError::TooMany | DomainError::TooManyOfYours { .. } => {
                Self::new(S::CONFLICT, "too_many_domains", text, "remove some: ten domain rm")
            }
            DomainError::Busy => {
                let hint = "try again soon; it is checked by itself, too";
                let mut problem = Self::new(S::SERVICE_UNAVAILABLE, "too_many", text, hint);
                problem.retry_after = Some(std::time::Duration::from_secs(5));
                problem
            }
        }
    }
}
