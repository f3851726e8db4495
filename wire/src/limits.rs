//! Limits of one instance: which there are, their units and ranges, and how people write them.
//!
//! The same table checks them at every border: config file, `ten set`, API and unit helper.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One limit. Its value is always one integer in the unit that [`Limit::unit`] tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Memory beyond which the kernel kills it.
    MemoryMax,
    /// Memory beyond which the kernel slows it and reclaims.
    MemoryHigh,
    /// Swap that it may use.
    SwapMax,
    /// Processor time, in thousandths of one core.
    Cpu,
    /// Share of the processor under contention, beside 100 of others.
    CpuWeight,
    /// Share of the disk under contention, beside 100 of others.
    IoWeight,
    /// Bytes read per second from the disk of the data directory.
    IoReadMax,
    /// Bytes written per second to the disk of the data directory.
    IoWriteMax,
    /// Processes and threads.
    TasksMax,
    /// Open files of one process.
    FilesMax,
    /// How long one run may last, in seconds; systemd stops it then.
    RuntimeMax,
    /// Size of its data directory.
    DiskMax,
    /// Log lines that journald takes from it per second.
    LogRate,
    /// Requests in flight; more are refused with 503.
    RequestsMax,
    /// Requests per second, with bursts of as many; more are refused with 429.
    RequestRate,
}

/// What a limit is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitUnit {
    /// Bytes; written as `64k`, `256M`, `1G`, powers of 1024.
    Bytes,
    /// Thousandths of a core; written as cores, `1.5`.
    MilliCores,
    /// A plain number.
    Count,
    /// Seconds; written as `90`, `10m`, `1h`.
    Seconds,
}

impl Limit {
    /// All of them, in the order of lists.
    pub const ALL: [Self; 15] = [
        Self::MemoryMax,
        Self::MemoryHigh,
        Self::SwapMax,
        Self::Cpu,
        Self::CpuWeight,
        Self::IoWeight,
        Self::IoReadMax,
        Self::IoWriteMax,
        Self::TasksMax,
        Self::FilesMax,
        Self::RuntimeMax,
        Self::DiskMax,
        Self::LogRate,
        Self::RequestsMax,
        Self::RequestRate,
    ];

    /// Its key in the config, for `ten set` and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MemoryMax => "memory_max",
            Self::MemoryHigh => "memory_high",
            Self::SwapMax => "swap_max",
            Self::Cpu => "cpu",
            Self::CpuWeight => "cpu_weight",
            Self::IoWeight => "io_weight",
            Self::IoReadMax => "io_read_max",
            Self::IoWriteMax => "io_write_max",
            Self::TasksMax => "tasks_max",
            Self::FilesMax => "files_max",
            Self::RuntimeMax => "runtime_max",
            Self::DiskMax => "disk_max",
            Self::LogRate => "log_rate",
            Self::RequestsMax => "requests_max",
            Self::RequestRate => "request_rate",
        }
    }

    /// What it is counted in.
    #[must_use]
    pub fn unit(self) -> LimitUnit {
        match self {
            Self::MemoryMax
            | Self::MemoryHigh
            | Self::SwapMax
            | Self::IoReadMax
            | Self::IoWriteMax
            | Self::DiskMax => LimitUnit::Bytes,
            Self::Cpu => LimitUnit::MilliCores,
            Self::RuntimeMax => LimitUnit::Seconds,
            _ => LimitUnit::Count,
        }
    }

    /// Whether many instances can have it together, as a slice of systemd's.
    #[must_use]
    pub fn has_total(self) -> bool {
        matches!(
            self,
            Self::MemoryMax
                | Self::MemoryHigh
                | Self::SwapMax
                | Self::Cpu
                | Self::CpuWeight
                | Self::IoWeight
                | Self::IoReadMax
                | Self::IoWriteMax
                | Self::TasksMax
        )
    }

    /// The smallest and the largest value.
    #[must_use]
    pub fn range(self) -> (u64, u64) {
        const K: u64 = 1 << 10;
        const M: u64 = 1 << 20;
        const T: u64 = 1 << 40;
        match self {
            Self::MemoryMax | Self::MemoryHigh => (4 * M, T),
            Self::SwapMax => (0, T),
            Self::Cpu => (10, 128_000),
            // systemd.resource-control(5), CPUWeight= and IOWeight=.
            Self::CpuWeight | Self::IoWeight => (1, 10_000),
            Self::IoReadMax | Self::IoWriteMax => (4 * K, T),
            // The limit of the kernel (PID_MAX_LIMIT, proc_sys_kernel(5)).
            Self::TasksMax => (1, 4_194_304),
            Self::FilesMax => (16, 1_048_576),
            Self::RuntimeMax => (1, 366 * 86_400),
            Self::DiskMax => (M, 10 * T),
            Self::LogRate => (1, 1_000_000),
            Self::RequestsMax => (1, 1_000_000),
            Self::RequestRate => (1, 1_000_000),
        }
    }

    /// Reads a value as people write it.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence that begins with the key.
    pub fn parse(self, text: &str) -> Result<u64, String> {
        let text = text.trim();
        let value = match self.unit() {
            LimitUnit::Bytes => bytes(text),
            LimitUnit::MilliCores => milli_cores(text),
            LimitUnit::Count => text.parse().ok(),
            LimitUnit::Seconds => seconds(text),
        };
        value.ok_or_else(|| format!("`{self}` can't be `{text}`")).and_then(|v| self.check(v))
    }

    /// `value` if it is within the range.
    ///
    /// # Errors
    /// The range, as a sentence that begins with the key.
    pub fn check(self, value: u64) -> Result<u64, String> {
        let (min, max) = self.range();
        if (min..=max).contains(&value) {
            return Ok(value);
        }
        Err(format!("`{self}` must be from {} to {}", self.show(min), self.show(max)))
    }

    /// A value as people write it; [`Limit::parse`] reads it back.
    #[must_use]
    pub fn show(self, value: u64) -> String {
        match self.unit() {
            LimitUnit::Bytes => {
                let units = [(1_u64 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "k")];
                let unit =
                    units.iter().find(|(size, _)| value >= *size && value.is_multiple_of(*size));
                unit.map_or(value.to_string(), |(size, unit)| format!("{}{unit}", value / size))
            }
            LimitUnit::MilliCores if value.is_multiple_of(1000) => (value / 1000).to_string(),
            LimitUnit::MilliCores => {
                let text = format!("{}.{:03}", value / 1000, value % 1000);
                text.trim_end_matches('0').to_owned()
            }
            LimitUnit::Count => value.to_string(),
            LimitUnit::Seconds => format!("{value}s"),
        }
    }

    /// What to write, as advice.
    #[must_use]
    pub fn example(self) -> &'static str {
        match self.unit() {
            LimitUnit::Bytes => "bytes as a number, or text such as \"64k\", \"256M\", \"1G\"",
            LimitUnit::MilliCores => "cores, such as 0.5 or \"1.5\"",
            LimitUnit::Count => "a whole number",
            LimitUnit::Seconds => "seconds as a number, or text such as \"90s\", \"10m\", \"1h\"",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|limit| limit.as_str() == text).ok_or_else(|| {
            let words = Self::ALL.map(Self::as_str).join(", ");
            format!("there is no limit `{}`; there are {words}", text.escape_default())
        })
    }
}

fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().to_ascii_lowercase();
    let shift = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// `1.5` → 1500; at most three digits after the point.
fn milli_cores(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 3 || (whole.is_empty() && part.is_empty()) {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let part: u64 = format!("{part:0<3}").parse().ok()?;
    whole.checked_mul(1000)?.checked_add(part)
}

fn seconds(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit.trim() {
        "" | "s" | "sec" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(scale)
}

/// Some of the limits with their values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ResourceLimits(BTreeMap<Limit, u64>);

impl ResourceLimits {
    /// None of them, to begin with.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// The value of one.
    #[must_use]
    pub fn get(&self, limit: Limit) -> Option<u64> {
        self.0.get(&limit).copied()
    }

    /// Sets one, or takes it away.
    ///
    /// # Errors
    /// If the value is out of range, as a sentence.
    pub fn set(&mut self, limit: Limit, value: Option<u64>) -> Result<(), String> {
        match value {
            Some(value) => drop(self.0.insert(limit, limit.check(value)?)),
            None => drop(self.0.remove(&limit)),
        }
        Ok(())
    }

    /// Those that are set, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Limit, u64)> + '_ {
        self.0.iter().map(|(limit, value)| (*limit, *value))
    }

    /// Whether none is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These, with what `over` says instead, and nothing above `max`.
    #[must_use]
    pub fn overridden(&self, over: &Self, max: &Self) -> Self {
        let mut all = self.0.clone();
        all.extend(over.iter());
        for (limit, most) in max.iter() {
            // A maximum also holds where nothing was asked for: "no limit" is above any.
            all.entry(limit).and_modify(|value| *value = (*value).min(most)).or_insert(most);
        }
        Self(all)
    }

    /// From names and numbers, as they come over a bus; each is checked.
    ///
    /// # Errors
    /// The first that is unknown or out of range, as a sentence.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, u64)>) -> Result<Self, String> {
        let mut limits = Self::default();
        for (name, value) in pairs {
            limits.set(name.parse()?, Some(value))?;
        }
        Ok(limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_reads_back_what_it_shows() {
        for limit in Limit::ALL {
            assert_eq!(limit.as_str().parse(), Ok(limit));
            let (min, max) = limit.range();
            for value in [min, max, min.midpoint(max)] {
                assert_eq!(limit.parse(&limit.show(value)), Ok(value), "{limit} {value}");
            }
            assert!(limit.check(max + 1).is_err());
        }
    }

    #[test]
    fn values_read_as_people_write_them() {
        assert_eq!(Limit::MemoryMax.parse("256M"), Ok(256 << 20));
        assert_eq!(Limit::MemoryMax.parse("1 GiB"), Ok(1 << 30));
        assert_eq!(Limit::Cpu.parse("1.5"), Ok(1500));
        assert_eq!(Limit::Cpu.parse("0.01"), Ok(10));
        assert_eq!(Limit::RuntimeMax.parse("2h"), Ok(7200));
        for bad in ["", "x", "1.5M", "-1", "1e9", "99999999999999999999"] {
            assert!(Limit::MemoryMax.parse(bad).is_err(), "{bad:?} was taken");
        }
        for bad in ["", ".", "1.2345", "-1", "0", "129", "1,5"] {
            assert!(Limit::Cpu.parse(bad).is_err(), "{bad:?} was taken");
        }
        assert!(Limit::MemoryMax.parse("1M").unwrap_err().contains("from 4M to 1T"));
    }

    #[test]
    fn a_maximum_holds_for_what_is_unset_too() {
        let pairs = |list: &[(&'static str, u64)]| {
            ResourceLimits::from_pairs(list.iter().copied()).unwrap()
        };
        let config = pairs(&[("memory_max", 64 << 20), ("tasks_max", 10)]);
        let over = pairs(&[("memory_max", 512 << 20)]);
        let max = pairs(&[("memory_max", 128 << 20), ("cpu", 2000)]);
        let all = config.overridden(&over, &max);
        assert_eq!(all.get(Limit::MemoryMax), Some(128 << 20));
        assert_eq!(all.get(Limit::Cpu), Some(2000));
        assert_eq!(all.get(Limit::TasksMax), Some(10));
    }
}
