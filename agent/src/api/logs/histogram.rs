//! How many lines there were when: the bars above a log.

use std::str::FromStr;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use tenement_logs::search::{Counts, Search};
use tenement_wire::logs::{LogBucket, LogHistogram};
use utoipa_axum::router::UtoipaMethodRouter;

use super::ask::{Wanted, What};
use super::{Desk, SEARCH_TIME, show};
use crate::api::access::Caller;
use crate::api::input::Input;
use crate::api::problem::Problem;
use crate::api::routes::collect;

/// Buckets at most.
const BUCKETS_MAX: usize = 500;
/// The time that is looked at if none is named, in microseconds: an hour.
const SPAN_US: u64 = 3_600_000_000;

/// The route.
pub(super) fn routes() -> UtoipaMethodRouter<Desk> {
    collect!(histogram_logs)
}

struct Buckets(usize);

impl FromStr for Buckets {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(count @ 1..=BUCKETS_MAX) => Ok(Self(count)),
            _ => Err(format!("must be a number from 1 to {BUCKETS_MAX}")),
        }
    }
}

/// Count lines over time
///
/// The time from `since` (an hour ago) to `until` (now) in equal buckets.
#[utoipa::path(get, path = "/logs/histogram", tag = "logs", security(("token" = ["read"])),
    params(
        Wanted,
        ("buckets" = Option<u32>, Query, minimum = 1, maximum = 500, description = "How many (60)"),
    ),
    responses((status = 200, description = "Oldest first", body = LogHistogram)),
    extensions(("x-problems" = json!(["logs_off", "too_many"]))))]
async fn histogram_logs(
    State(desk): State<Desk>,
    caller: Caller,
    mut input: Input,
) -> Result<Json<LogHistogram>, Problem> {
    let what = What::of(&mut input);
    let Buckets(buckets) = input.parameter("buckets").unwrap_or(Buckets(60));
    let now = u64::try_from(Timestamp::now().as_microsecond()).unwrap_or(0);
    if let Some(What { since_us: Some(since), until_us: None, .. }) = what
        && since >= now
    {
        input.wrong::<()>("since", "must be in the past");
    }
    let What { scope, since_us, until_us, level, query } = input.finish(what)?.within(&caller)?;
    let until_us = until_us.unwrap_or(now);
    let since_us = since_us.unwrap_or(until_us.saturating_sub(SPAN_US));
    let step_us = until_us.saturating_sub(since_us).div_ceil(buckets as u64).max(1);
    let search = Search {
        since_us: Some(since_us),
        until_us: Some(until_us),
        level,
        ..Search::new(scope, query, usize::MAX, SEARCH_TIME)
    };
    let counts = desk.logs.count(search, Counts::new(since_us, step_us, buckets)).await?;
    let of = |levels: &[u64; 8], range: std::ops::RangeInclusive<usize>| levels[range].iter().sum();
    let bucket = |(at, levels): (usize, &[u64; 8])| LogBucket {
        at_ms: (since_us + step_us * at as u64) / 1000,
        error: of(levels, 0..=3),
        warn: levels[4],
        info: of(levels, 5..=6),
        debug: levels[7],
    };
    Ok(Json(LogHistogram {
        since_ms: since_us / 1000,
        until_ms: until_us / 1000,
        step_ms: (step_us / 1000).max(1),
        buckets: counts.buckets.iter().enumerate().map(bucket).collect(),
        stopped: counts.stopped.map(show::stopped),
    }))
}
