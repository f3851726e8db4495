//! A request that one instance did not answer, and whether another may be asked.

use http::Request;

use super::error::Failure;
use crate::upstream::UploadBody;

/// Why a request got no answer, and the request again if another instance may be asked.
pub(super) struct Lost {
    pub(super) failure: Failure,
    pub(super) again: Option<Box<Request<UploadBody>>>,
}

impl Lost {
    pub(super) fn with(failure: Failure, request: Request<UploadBody>) -> Self {
        Self { failure, again: Some(Box::new(request)) }
    }
}

impl From<Failure> for Lost {
    fn from(failure: Failure) -> Self {
        Self { failure, again: None }
    }
}
