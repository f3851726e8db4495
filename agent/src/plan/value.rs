//! Typed unit properties, as plain data that can be compared and printed. `systemd::encode` is the
//! only place that turns them into D-Bus variants.

use std::fmt;

/// The pair of units of one instance, made by one StartTransientUnit call: the socket is the unit
/// that is started, the service is auxiliary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitPlan {
    /// `ten-{process}@{id}.socket`.
    pub socket: UnitSpec,
    /// `ten-{process}@{id}.service`.
    pub service: UnitSpec,
    /// Fingerprint of both; carried in the service's environment as `TENEMENT_REVISION`.
    pub revision: String,
}

/// One unit: its name and properties, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitSpec {
    /// Full unit name.
    pub name: String,
    /// Its properties.
    pub properties: Vec<Property>,
}

/// One property of systemd's D-Bus interface, such as `MemoryMax`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// Its name on D-Bus (not always that of the unit file).
    pub name: &'static str,
    /// Its value.
    pub value: Value,
}

/// A value with its D-Bus type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `s`
    Str(String),
    /// `b`
    Bool(bool),
    /// `i`
    I32(i32),
    /// `u`
    U32(u32),
    /// `t`
    U64(u64),
    /// `as`
    Strs(Vec<String>),
    /// `aay`: `LogExtraFields`.
    Bytes(Vec<Vec<u8>>),
    /// `a(sasas)`: `ExecStartEx`: path, argv, flags.
    Exec(Vec<(String, Vec<String>, Vec<String>)>),
    /// `a(sasb)`: `ExecStart`: path, argv, whether failure is ignored.
    ExecPlain(Vec<(String, Vec<String>, bool)>),
    /// `a(ss)`: `Listen`, `TemporaryFileSystem`.
    Pairs(Vec<(String, String)>),
    /// `a(ssbt)`: `BindReadOnlyPaths`: source, destination, ignore missing, flags.
    Binds(Vec<(String, String, bool, u64)>),
    /// `a(st)`: `IOReadBandwidthMax`: path, bytes per second.
    Rates(Vec<(String, u64)>),
    /// `a(iayu)`: `IPAddressDeny`: family, address, prefix.
    Addresses(Vec<(i32, Vec<u8>, u32)>),
    /// `(bas)`: `RestrictAddressFamilies`, `SystemCallFilter`: allow-list?, names.
    Filter(bool, Vec<String>),
}

impl fmt::Display for Property {
    /// One line per property, for the golden files.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={:?}", self.name, self.value)
    }
}
