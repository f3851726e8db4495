"""What an OpenAPI document can't say, for schemathesis: the formats of this API, and which parameters exclude
each other. Everything else is generated from the document alone.

TENEMENT_API_NAMES: instances that exist, `api:a,api:b`; half of all names in paths are drawn from these.
TENEMENT_API_PROCESSES: processes of the config; half of all process names are drawn from these.
TENEMENT_API_TOKEN: the token that is asked with; it is neither revoked nor rotated, nor gets a second factor.
TENEMENT_API_PLAIN: only that: for a run that knows nothing but the document.
"""

import datetime
import json
import os
import struct
import uuid
import zlib

import schemathesis
from hypothesis import strategies as st

NAMES = [name for name in os.environ.get("TENEMENT_API_NAMES", "").split(",") if name]
PROCESSES = [name for name in os.environ.get("TENEMENT_API_PROCESSES", "").split(",") if name]

OWN = os.environ.get("TENEMENT_API_TOKEN", "").removeprefix("ten_").split("_")[0]
PLAIN = bool(os.environ.get("TENEMENT_API_PLAIN"))


def frames(command) -> bytes:
    """What begins a one-off command: docs/API.md."""
    text = json.dumps({"command": command}).encode()
    return b"\x01" + struct.pack(">I", len(text)) + text


if not PLAIN:
    # Half are what they should be.
    schemathesis.openapi.media_type(
        "application/vnd.tenement.run",
        st.one_of(st.binary(max_size=200), st.sampled_from([frames(["true"]), frames(["/nothing"]), frames([])])),
    )
    schemathesis.openapi.media_type("application/zstd", st.binary(max_size=2000))


@schemathesis.serializer("application/zstd", "application/vnd.tenement.run")
def as_it_is(context, value):
    return value if isinstance(value, bytes) else str(value).encode()


# Words of any script, without what the query language gives a meaning.
word = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=12).filter(
    lambda text: text not in ("AND", "OR", "NOT")
)
term = st.one_of(
    word,
    word.map(lambda w: f"-{w}"),
    word.map(lambda w: f'"{w} {w}"'),
    st.sampled_from(["level:error", "status=500", "/time(d )?out/", "(a OR b)", "conn*"]),
)
schemathesis.openapi.format("tenement-query", st.lists(term, max_size=6).map(" ".join))
schemathesis.openapi.format(
    "tenement-time",
    st.one_of(
        st.sampled_from(["now", "today", "yesterday", "10m ago", "1h30m", "12:30", "2026-01-31"]),
        st.datetimes(min_value=datetime.datetime(1971, 1, 1)).map(
            lambda t: t.strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")
        ),
        st.integers(1_000_000_000, 2_000_000_000).map(str),
    ),
)
label = st.from_regex(r"[a-z][a-z0-9]{0,10}", fullmatch=True)
schemathesis.openapi.format(
    "tenement-domain",
    st.one_of(
        st.builds("{}.{}.example".format, label, label),
        st.builds("*.{}.example".format, label),
        st.builds("bücher-{}.example".format, label),
    ),
)
schemathesis.openapi.format("tenement-zone", st.sampled_from(["UTC", "Europe/Berlin", "+02:00", "-07:30"]))
schemathesis.openapi.format(
    "sqlite-select",
    st.one_of(
        st.integers(0, 10**9).map(lambda n: f"SELECT {n}"),
        st.sampled_from(
            [
                "SELECT instance_id, count(*) FROM logs GROUP BY 1",
                "SELECT * FROM logs WHERE level = 'error' LIMIT 5",
                "VALUES (1, 'a', NULL, 2.5, x'00ff')",
            ]
        ),
    ),
)


def pick(names, text):
    """One of them for half of all texts, and always the same for one text."""
    seed = zlib.crc32(text.encode())
    return names[seed // 2 % len(names)] if names and seed % 2 else text


def fit(query) -> None:
    """Leaves out what does not go together: docs/LOGS.md."""
    if "instance" in query:
        query.pop("process", None)
        query.pop("id", None)
    if "process" not in query:
        query.pop("id", None)
    if "search" in query:
        query.pop("q", None)
    if "since" in query:
        query.pop("until", None)
        if query["since"] in ("now", "today", "12:30"):
            # `until` is now.
            query["since"] = "10m ago"


@schemathesis.hook
def before_call(context, case, **kwargs):
    """Valid requests only: invalid ones stay as they are."""
    path = case.path_parameters or {}
    if OWN and path.get("id") == OWN and case.method != "GET":
        path["id"] = "zzzzzzzzzzzz"
    if PLAIN or case.meta is None or case.meta.generation.mode.is_negative:
        return
    if "Idempotency-Key" in case.headers:
        # The same key for another request is refused, as it should be.
        case.headers["Idempotency-Key"] = uuid.uuid4().hex
    # What is deleted would be missing for all the others.
    if "name" in path and not (case.method == "DELETE" and case.path.endswith("{name}")):
        path["name"] = pick(NAMES, path["name"])
    if "process" in path:
        path["process"] = pick(PROCESSES, path["process"])
    if case.path == "/api/v1/instances" and case.method == "POST" and isinstance(case.body, dict):
        case.body["process"] = pick(PROCESSES, case.body["process"])
        if len(case.body.get("ids", [])) != 1:
            case.body["start"] = False
    if case.path == "/api/v1/tokens" and isinstance(case.body, dict) and not case.body.get("process"):
        case.body.pop("instance", None)
    if case.method == "PATCH" and isinstance(case.body, dict) and case.body.get("limits"):
        case.body["limits"].pop("memory_high", None)
    if case.path.startswith(("/api/v1/logs", "/api/v1/events", "/api/v1/metrics")) and case.query:
        fit(case.query)
    if case.path.endswith("/routing") and isinstance(case.body, dict) and not case.body.get("instance"):
        # A weight is that of an instance.
        case.body.pop("weight", None)
    if case.path.endswith("/route") and isinstance(case.body, dict) and case.body.get("from") == case.body.get("to"):
        case.body.pop("from", None)
    if case.path.endswith("/deploys") and isinstance(case.body, dict) and case.body.get("steps"):
        # They grow.
        case.body["steps"] = sorted({*case.body["steps"], 100})
    if case.query and "wait" in case.query:
        # Most are for what does not come, and each takes its second.
        if uuid.uuid4().int % 8:
            case.query.pop("wait")
        else:
            case.query["timeout"] = "1s"
