//! Schemas of the types that check themselves, for the agent's OpenAPI document. Each says exactly what the
//! type takes, so that a client can tell beforehand.

use std::borrow::Cow;

use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, ObjectBuilder, Schema, SchemaType, Type,
};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::logs::LogsCell;
use crate::names::LABEL_MAX;
use crate::secrets::NAME_MAX;
use crate::{
    InstanceId, InstanceName, Limit, ProcessName, RELEASE_NAME_MAX, ReleaseName, ResourceLimits,
    RouteTarget, SecretName, TokenId, TokenName,
};

/// A DNS label.
macro_rules! label {
    () => {
        "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
    };
}

fn text(pattern: &str, max: usize, what: &str, example: &str) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(max))
        .pattern(Some(pattern))
        .description(Some(what))
        .examples([example])
        .into()
}

macro_rules! text {
    ($type:ident, $pattern:expr, $max:expr, $what:literal, $example:literal) => {
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                text($pattern, $max, $what, $example)
            }
        }

        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($type))
            }
        }
    };
}

text!(
    ProcessName,
    concat!("^", label!(), "$"),
    LABEL_MAX,
    "Name of a process of the config: a DNS label.",
    "api"
);
text!(
    InstanceId,
    concat!("^", label!(), "$"),
    LABEL_MAX,
    "Id of an instance within its process: a DNS label.",
    "prod"
);
text!(
    InstanceName,
    concat!("^", label!(), ":", label!(), "$"),
    2 * LABEL_MAX + 1,
    "An instance: process:id.",
    "api:prod"
);
text!(
    RouteTarget,
    concat!("^", label!(), "(?::", label!(), ")?$"),
    2 * LABEL_MAX + 1,
    "Where requests go: an instance, or a process, whose instances share them by weight.",
    "api:prod"
);
text!(
    SecretName,
    "^[A-Za-z0-9_-][A-Za-z0-9_.-]*$",
    NAME_MAX,
    "Name of a secret, which is that of its file in $CREDENTIALS_DIRECTORY.",
    "API_KEY"
);
text!(
    ReleaseName,
    "^[A-Za-z0-9][A-Za-z0-9._+-]*$",
    RELEASE_NAME_MAX,
    "Name of a release, which is that of its directory; without two dots in a row.",
    "v2"
);

text!(
    TokenId,
    "^[a-z2-7]{12}$",
    crate::tokens::ID_LEN,
    "The public half of a token.",
    "k3v7q2m5x4wa"
);
text!(
    TokenName,
    "^[A-Za-z0-9_.@-]{1,64}$",
    crate::tokens::NAME_MAX,
    "What people call a token. Two may have the same name.",
    "ci"
);

/// Ids to spawn, each once.
pub struct Ids;

impl PartialSchema for Ids {
    fn schema() -> RefOr<Schema> {
        ArrayBuilder::new()
            .items(Ref::from_schema_name("InstanceId"))
            .max_items(Some(1000))
            .unique_items(true)
            .into()
    }
}

impl ToSchema for Ids {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push(("InstanceId".to_owned(), InstanceId::schema()));
    }
}

fn whole(limit: Limit, nullable: bool) -> RefOr<Schema> {
    let (min, max) = limit.range();
    let kind = if nullable {
        SchemaType::from_iter([Type::Integer, Type::Null])
    } else {
        Type::Integer.into()
    };
    // The largest is 10 TiB, which a float holds exactly.
    ObjectBuilder::new()
        .schema_type(kind)
        .minimum(Some(min as f64))
        .maximum(Some(max as f64))
        .into()
}

fn limits(nullable: bool) -> ObjectBuilder {
    Limit::ALL.into_iter().fold(ObjectBuilder::new().schema_type(Type::Object), |object, limit| {
        object.property(limit.as_str(), whole(limit, nullable))
    })
}

impl PartialSchema for ResourceLimits {
    fn schema() -> RefOr<Schema> {
        let what = "Limits by name: bytes, seconds, counts, and `cpu` in thousandths of a core.";
        limits(false).description(Some(what)).into()
    }
}

impl ToSchema for ResourceLimits {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("ResourceLimits")
    }
}

/// Limits to change: a number sets one, `null` takes it away.
pub struct Changes;

impl PartialSchema for Changes {
    fn schema() -> RefOr<Schema> {
        limits(true)
            .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)))
            .into()
    }
}

impl ToSchema for Changes {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("LimitChanges")
    }
}

impl PartialSchema for LogsCell {
    fn schema() -> RefOr<Schema> {
        let kinds = [Type::Null, Type::Integer, Type::Number, Type::String];
        ObjectBuilder::new()
            .schema_type(SchemaType::from_iter(kinds))
            .description(Some("A value of SQLite. A blob is text in hexadecimal digits."))
            .into()
    }
}

impl ToSchema for LogsCell {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("LogsCell")
    }
}
