//! Every code that an error of this API can have, with its status and its title. The OpenAPI document, the
//! errors themselves and the table in `docs/API.md` (which a test compares) come from here.

/// Code, status, title.
pub const CODES: &[(&str, u16, &str)] = &[
    ("invalid_name", 400, "The path holds no name of an instance"),
    ("malformed", 400, "The request can't be read"),
    ("unauthenticated", 401, "The request does not say who asks"),
    ("code_needed", 401, "The login needs a second factor"),
    ("wrong_code", 401, "The code of the second factor is wrong"),
    ("forbidden", 403, "The peer may not manage this agent"),
    ("forbidden_scope", 403, "The token may not do this"),
    ("forbidden_reach", 403, "The token is restricted to other things"),
    ("cross_origin", 403, "A page of another origin has sent the request"),
    ("csrf", 403, "The CSRF token of the session is missing"),
    ("insecure_transport", 403, "The token or cookie could be read on its way"),
    ("no_route", 404, "There is nothing at this path"),
    ("unknown_instance", 404, "There is no such instance"),
    ("unknown_process", 404, "There is no such process"),
    ("unknown_release", 404, "The process has no such release"),
    ("unknown_secret", 404, "The instance has no such secret"),
    ("unknown_deploy", 404, "The process has no such deployment"),
    ("unknown_job", 404, "The instance has no such scheduled job"),
    ("unknown_domain", 404, "There is no such custom domain"),
    ("unknown_token", 404, "There is no such token"),
    ("unknown_backup", 404, "There is no such backup"),
    ("no_certificate", 404, "There is no such certificate"),
    ("no_root", 404, "The host has no CA of its own"),
    ("no_session", 404, "There is no browser session"),
    ("method_not_allowed", 405, "The path takes other methods"),
    ("body_late", 408, "The body did not arrive in time"),
    ("alerts_off", 409, "No receiver of alerts is configured"),
    ("already_exists", 409, "An instance of this name exists"),
    ("busy", 409, "Another operation is in the way"),
    ("already_answered", 409, "What was answered under this key is shown once"),
    ("in_use", 409, "The instance is in use"),
    ("release_exists", 409, "The process has a release of this name"),
    ("release_in_use", 409, "The release is needed"),
    ("no_release", 409, "The process has no release to run from"),
    ("no_releases", 409, "The process runs from no releases"),
    ("deploy_running", 409, "Another deployment of the process is under way"),
    ("deploy_over", 409, "The deployment is over"),
    ("not_healthy", 409, "The instance is not healthy"),
    ("domain_taken", 409, "The domain has been added already"),
    ("too_many_domains", 409, "There are as many custom domains as there may be"),
    ("too_many_tokens", 409, "There are as many tokens as there may be"),
    ("no_free_port", 409, "Every port of the range is taken"),
    ("not_renewable", 409, "The agent can't renew this certificate"),
    ("no_backup_target", 409, "The config keeps backups of the process nowhere"),
    ("not_reached", 409, "The instance is not there after the wait"),
    ("factor_enabled", 409, "The token has a second factor"),
    ("factor_not_begun", 409, "No second factor was begun"),
    ("too_large", 413, "The body is too large"),
    ("uri_too_long", 414, "The path and query are too long"),
    ("not_json", 415, "The body is of another type"),
    ("not_a_tarball", 415, "The upload is no tar file"),
    ("bad_archive", 422, "The archive can't be taken"),
    ("config_rejected", 422, "The config has errors"),
    ("invalid_request", 422, "Some fields can't be taken"),
    ("locked_out", 429, "Too many wrong tokens came from the address"),
    ("key_reused", 422, "The idempotency key was used for another request"),
    ("head_too_large", 431, "The headers are too many or too long"),
    ("internal", 500, "The agent failed"),
    ("backup_failed", 502, "The backup or the restore did not go"),
    ("events_off", 503, "This agent keeps no events"),
    ("logs_off", 503, "This agent keeps no index of logs"),
    ("metrics_off", 503, "This agent keeps no metrics"),
    ("not_ready", 503, "The agent can't do its work"),
    ("start_failed", 503, "The instance did not start"),
    ("too_many", 503, "As many of these run as may"),
    ("stop_failed", 503, "The instance did not stop"),
    ("unavailable", 503, "Something that the agent needs does not answer"),
    ("timed_out", 504, "The instance did not get there in time"),
    ("no_space", 507, "The disk has too little space left"),
    ("held_too_long", 504, "Requests had waited too long for the backup"),
    ("store_full", 507, "The disk of the state database is full"),
    ("store_read_only", 507, "The state database can't be written"),
];

/// Errors that any route can answer with.
pub(super) const OF_ALL: &[&str] = &[
    "malformed",
    "body_late",
    "too_large",
    "uri_too_long",
    "not_json",
    "invalid_request",
    "head_too_large",
    "insecure_transport",
    "internal",
    "too_many",
];
/// Errors of routes that need a token, in addition.
pub(super) const OF_GUARDED: &[&str] = &[
    "unauthenticated",
    "forbidden",
    "forbidden_scope",
    "forbidden_reach",
    "cross_origin",
    "csrf",
    "locked_out",
    "unavailable",
];
/// Errors of routes with names in the path, in addition.
pub(super) const OF_NAMED: &[&str] = &["invalid_name", "no_route"];
/// Errors of routes that take an idempotency key, in addition.
pub(super) const OF_KEYED: &[&str] = &["key_reused", "already_answered"];
/// Errors of routes that change something, in addition.
pub(super) const OF_WRITING: &[&str] = &["store_full", "store_read_only"];

/// Status and title of a code.
pub(super) fn known(code: &str) -> Option<(u16, &'static str)> {
    CODES.iter().find(|(known, ..)| *known == code).map(|(_, status, title)| (*status, *title))
}
