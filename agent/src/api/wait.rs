//! `?wait=healthy&timeout=30s`: an answer only when the instance is there, or the time is over.
//!
//! It looks again and again, ever more seldom: a wait holds a connection, of which there are few, and a
//! change is seen within a second at most.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use tenement_wire::dto::{InstanceView, State as Doing, Wanted};
use tokio::time::Instant;
use utoipa::IntoParams;

use super::input::Input;
use super::problem::Problem;
use super::routes::{Answer, detached};
use super::seats::{Seat, Waiter};
use crate::flows::{ManageError, Management};

/// Longest wait, in seconds.
const TIMEOUT_MAX: u64 = 300;
/// The wait of a request that names no time.
const TIMEOUT: Duration = Duration::from_secs(30);
/// From the first look to the second; each next pause is half as long again.
const PAUSE: Duration = Duration::from_millis(50);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The parameters of [`Wait`], for the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "its fields are only described")]
pub(super) struct Waiting {
    /// Answer only when the instance is there, or `timeout` is over
    #[param(inline)]
    wait: Option<Wanted>,
    /// How long: `30s`, from 1s to 300s (30s)
    #[param(pattern = "^([1-9][0-9]?|[12][0-9][0-9]|300)s$")]
    timeout: Option<String>,
}

/// What is waited for, and until when.
#[derive(Debug)]
pub(super) struct Wait {
    wanted: Option<Wanted>,
    timeout: Duration,
    waiter: Waiter,
}

struct Timeout(Duration);

impl FromStr for Timeout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.strip_suffix('s').filter(|digits| {
            digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0')
        });
        match digits.and_then(|digits| digits.parse().ok()) {
            Some(seconds @ 1..=TIMEOUT_MAX) => Ok(Self(Duration::from_secs(seconds))),
            _ => Err(format!("must be seconds such as 30s, from 1s to {TIMEOUT_MAX}s")),
        }
    }
}

impl Wait {
    /// Takes `wait` and `timeout`.
    pub fn of(input: &mut Input) -> Self {
        let wanted = input.parameter("wait");
        let timeout = input.parameter("timeout").map_or(TIMEOUT, |Timeout(timeout)| timeout);
        Self { wanted, timeout, waiter: input.waiter() }
    }

    /// A seat, if it is to be waited. It is taken before anything is done.
    ///
    /// # Errors
    /// If there is none.
    pub fn seat(&self) -> Result<Option<Seat>, Problem> {
        self.wanted.map(|_| self.waiter.seat()).transpose()
    }

    /// Begins to wait, and says until when.
    pub fn begin(&self, seat: Option<&Seat>) -> Instant {
        seat.into_iter().for_each(Seat::rest);
        Instant::now() + self.timeout
    }

    /// Does `verb`, which answers with the instance, and then as [`Self::until`].
    pub async fn after<M: Management>(
        self,
        m: Arc<M>,
        verb: impl Future<Output = Result<InstanceView, ManageError>> + Send + 'static,
    ) -> Answer<InstanceView> {
        let seat = self.seat()?;
        let Json(view) = detached(verb).await?;
        let deadline = self.begin(seat.as_ref());
        self.until(m, view, deadline).await
    }

    /// The instance once it is there. `view` is how it was when last seen.
    pub async fn until<M: Management>(
        &self,
        m: Arc<M>,
        mut view: InstanceView,
        deadline: Instant,
    ) -> Answer<InstanceView> {
        let Some(wanted) = self.wanted else { return Ok(Json(view)) };
        let name = view.name.clone();
        let mut pause = PAUSE;
        while !wanted.is_reached(&view) {
            let hopeless = view.state == Doing::Failed;
            if hopeless || Instant::now() >= deadline {
                return Err(Problem::not_reached(&view, wanted, self.timeout, hopeless));
            }
            tokio::time::sleep_until(deadline.min(Instant::now() + pause)).await;
            pause = (pause * 3 / 2).min(PAUSE_MAX);
            let (m, name) = (m.clone(), name.clone());
            Json(view) = detached(async move { m.show(&name).await }).await?;
        }
        Ok(Json(view))
    }
}
