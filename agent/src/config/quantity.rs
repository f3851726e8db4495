//! Durations, sizes, port ranges and address ranges.

use std::net::IpAddr;
use std::time::Duration;

use toml::de::DeValue;

use super::node::Node;
use super::problems::Problems;
use super::types::Cidr;

/// The longest duration of the config. systemd counts microseconds in 64 bits; a year is past any use.
const YEAR: Duration = Duration::from_secs(366 * 86_400);

const DURATION_FIX: &str =
    "write seconds as a number, or text such as \"500ms\", \"30s\", \"5m\", \"1h30m\"";

/// A duration from `min` on: a number of seconds, or text with units.
pub(super) fn duration(node: &Node, min: Duration, problems: &mut Problems) -> Option<Duration> {
    let parsed = match node.value {
        DeValue::Integer(n) if n.radix() == 10 => parse_duration(n.as_str()),
        DeValue::Float(n) => parse_duration(n.as_str()),
        DeValue::String(text) => parse_duration(text),
        _ => Err("is not a duration".to_owned()),
    };
    let name = problems.text(&node.key).to_owned();
    match parsed {
        Ok(duration) if duration < min => {
            problems.add(&node.at, format!("`{name}` must be at least {min:?}"), DURATION_FIX);
            None
        }
        Ok(duration) => Some(duration),
        Err(why) => {
            problems.add(&node.at, format!("`{name}` {why}"), DURATION_FIX);
            None
        }
    }
}

/// Reads `90`, `1.5`, `500ms`, `1h30m`; the error continues a sentence that begins with the key.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if text.starts_with('-') {
        return Err("must not be negative".to_owned());
    }
    let mut rest = text.trim_start_matches('+');
    let bare = rest.replace('_', "");
    let mut total = Duration::ZERO;
    if !bare.is_empty() && bare.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return within(scale(&bare, 1.0)?);
    }
    if rest.is_empty() {
        return Err("is empty".to_owned());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let seconds = match unit {
            "ms" => 0.001,
            "s" | "sec" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            "" => return Err("is a number without a unit, or not a duration".to_owned()),
            _ => return Err(format!("has an unknown unit `{unit}`")),
        };
        total = within(total.saturating_add(scale(number, seconds)?))?;
        rest = tail.trim_start();
    }
    Ok(total)
}

fn scale(number: &str, seconds: f64) -> Result<Duration, String> {
    let n: f64 = number.parse().map_err(|_| "is not a duration".to_owned())?;
    // Milliseconds are the finest that anything here needs; rounding hides 1.5 × 0.001 and its kin.
    let millis = (n * seconds * 1_000.0).round();
    if !millis.is_finite() || millis > YEAR.as_secs_f64() * 1_000.0 {
        return Err(too_long());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to a year of ms"
    )]
    Ok(Duration::from_millis(millis as u64))
}

fn within(duration: Duration) -> Result<Duration, String> {
    if duration > YEAR { Err(too_long()) } else { Ok(duration) }
}

fn too_long() -> String {
    "is longer than a year".to_owned()
}

/// A size in bytes: a number, or text such as `"64k"` or `"10MiB"`; units are powers of 1024.
pub(super) fn size(node: &Node, min: u64, max: u64, problems: &mut Problems) -> Option<u64> {
    let parsed = match node.value {
        DeValue::Integer(_) => return node.integer(min, max, problems),
        DeValue::String(text) => parse_size(text),
        _ => None,
    };
    let fix = "write bytes as a number, or text such as \"64k\", \"10M\", \"1G\"";
    let name = problems.text(&node.key).to_owned();
    match parsed {
        Some(n) if (min..=max).contains(&n) => return Some(n),
        Some(_) => {
            problems.add(&node.at, format!("`{name}` must be from {min} to {max} bytes"), fix);
        }
        None => problems.add(&node.at, format!("`{name}` is not a size"), fix),
    }
    None
}

fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().to_ascii_lowercase();
    let shift = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" if unit != "i" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// `"20000-32767"`, unprivileged ports only.
pub(super) fn port_range(node: &Node, problems: &mut Problems) -> Option<(u16, u16)> {
    let text = node.string("\"20000-32767\"", problems)?;
    let fix = "write the first and the last port, both from 1024 to 65535: \"20000-32767\"";
    let parsed = text.value.split_once('-').and_then(|(low, high)| {
        Some((low.trim().parse::<u16>().ok()?, high.trim().parse::<u16>().ok()?))
    });
    match parsed {
        None => problems.add(&node.at, "`port_range` is not a range of ports", fix),
        Some((low, high)) if low > high => {
            problems.add(&node.at, "`port_range` ends before it begins", fix);
        }
        Some((low, _)) if low < 1024 => {
            problems.add(
                &node.at,
                "`port_range` reaches below 1024, which only root may bind",
                fix,
            );
        }
        Some(range) => return Some(range),
    }
    None
}

/// An address, or a range such as `10.0.0.0/8`. Bits beyond the prefix must be zero: otherwise it is
/// unclear what was meant.
pub(super) fn cidr(text: &str) -> Result<Cidr, String> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr =
        address.parse().map_err(|_| format!("`{address}` is not an IP address"))?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => bits,
        Some(prefix) => prefix
            .parse::<u8>()
            .ok()
            .filter(|n| *n <= bits && !prefix.starts_with('+'))
            .ok_or_else(|| format!("the prefix `/{prefix}` must be from 0 to {bits}"))?,
    };
    let cidr = Cidr { address, prefix };
    let host_bits = match address {
        IpAddr::V4(a) => u32::from(a).checked_shl(u32::from(prefix)).unwrap_or(0) != 0,
        IpAddr::V6(a) => u128::from(a).checked_shl(u32::from(prefix)).unwrap_or(0) != 0,
    };
    if host_bits {
        return Err(format!("`{text}` has bits set beyond its prefix"));
    }
    // Clients that come by IPv4 to a socket of both are compared as IPv4.
    Ok(match cidr.address {
        IpAddr::V6(v6) if prefix >= 96 => match v6.to_ipv4_mapped() {
            Some(v4) => Cidr { address: v4.into(), prefix: prefix - 96 },
            None => cidr,
        },
        _ => cidr,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_range_written_as_ipv6_means_the_ipv4_clients() {
        let range = cidr("::ffff:192.0.2.0/120").unwrap();
        assert_eq!(range, cidr("192.0.2.0/24").unwrap());
        assert!(range.contains("192.0.2.7".parse().unwrap()));
        assert!(!range.contains("192.0.3.7".parse().unwrap()));
        assert_eq!(cidr("::ffff:192.0.2.7"), cidr("192.0.2.7"));
        assert_eq!(cidr("2001:db8::/32").unwrap().prefix, 32);
    }

    #[test]
    fn durations_read_as_people_write_them() {
        let ms = |text| parse_duration(text).map(|d| d.as_millis());
        assert_eq!(ms("0"), Ok(0));
        assert_eq!(ms("90"), Ok(90_000));
        assert_eq!(ms("1.5"), Ok(1_500));
        assert_eq!(ms("500ms"), Ok(500));
        assert_eq!(ms("1h30m"), Ok(5_400_000));
        assert_eq!(ms("1h 30m"), Ok(5_400_000));
        for bad in
            ["", "5 apples", "m", "1h30", "-1", "1..5s", "99999999999999999999d", "inf", "nan"]
        {
            assert!(parse_duration(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(parse_size("64k"), Some(65_536));
        assert_eq!(parse_size("10MiB"), Some(10_485_760));
        assert_eq!(parse_size("7"), Some(7));
        for bad in ["", "k", "1x", "1.5k", "-1", "99999999999G", "1i"] {
            assert_eq!(parse_size(bad), None, "{bad:?} was taken");
        }
    }

    #[test]
    fn address_ranges_must_be_clean() {
        assert_eq!(cidr("10.0.0.0/8").unwrap().prefix, 8);
        assert_eq!(cidr("::1").unwrap().prefix, 128);
        assert!(cidr("0.0.0.0/0").is_ok());
        for bad in ["10.0.0.1/8", "10.0.0.0/33", "x", "10.0.0.0/", "::/129", "::1/64"] {
            assert!(cidr(bad).is_err(), "{bad:?} was taken");
        }
    }
}
