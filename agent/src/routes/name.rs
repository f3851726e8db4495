//! Names of custom domains.

use std::fmt;
use std::str::FromStr;

/// The longest name in text (RFC 1035 section 2.3.4 less length bytes).
const NAME_MAX: usize = 253;
/// Room for `_tenement-challenge.` before it.
const BEFORE: usize = 20;
/// Characters of what somebody writes, at most.
const TEXT_MAX: usize = 1000;

/// Names that nobody on the public internet can be given (RFC 6761, RFC 7686, RFC 3172).
const SPECIAL: [&str; 4] = ["localhost", "invalid", "onion", "arpa"];

/// Below these, registries sell names: a name of theirs belongs to no customer. The public suffix list has
/// thousands; these are the common ones, and what is missed still has to be proven by its owner.
const REGISTRIES: [&str; 40] = [
    "ac.uk", "co.uk", "gov.uk", "ltd.uk", "me.uk", "net.uk", "org.uk", "plc.uk", "com.au",
    "net.au", "org.au", "co.nz", "net.nz", "org.nz", "co.za", "org.za", "co.jp", "ne.jp", "or.jp",
    "co.kr", "or.kr", "com.br", "net.br", "org.br", "com.mx", "com.ar", "com.cn", "net.cn",
    "org.cn", "com.hk", "com.tw", "com.sg", "com.my", "co.in", "net.in", "org.in", "co.il",
    "com.tr", "com.ua", "co.at",
];

/// A custom domain: ASCII, lower case, at least two labels; `*.` may stand before it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainName(Box<str>);

/// Why a text is none. It continues "the domain …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotADomain(String);

impl DomainName {
    /// As text, with `*.` if it is a wildcard.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for every name with one label more.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }

    /// Without the `*.`.
    #[must_use]
    pub fn base(&self) -> &str {
        self.0.strip_prefix("*.").unwrap_or(&self.0)
    }

    /// In letters, where that differs.
    #[must_use]
    pub fn unicode(&self) -> Option<String> {
        if !self.0.contains("xn--") {
            return None;
        }
        let (text, good) = idna::domain_to_unicode(self.base());
        let star = if self.is_wildcard() { "*." } else { "" };
        good.ok().map(|()| format!("{star}{text}"))
    }

    /// Whether it lies within `domain`, or is it, or holds it: all such names have their owner.
    #[must_use]
    pub fn is_of(&self, domain: &str) -> bool {
        let within =
            |a: &str, b: &str| a == b || a.strip_suffix(b).is_some_and(|r| r.ends_with('.'));
        within(self.base(), domain) || (self.is_wildcard() && within(domain, self.base()))
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for DomainName {
    type Err = NotADomain;

    fn from_str(text: &str) -> Result<Self, NotADomain> {
        let refuse = |why: &str| Err(NotADomain(why.to_owned()));
        if text.is_empty() || text.chars().count() > TEXT_MAX {
            return refuse("must have 1 to 1000 characters");
        }
        if text.contains("://") || text.contains(['/', '@', '?', '#']) {
            return refuse("must be a name alone, without a scheme or a path");
        }
        let (star, base) = match text.strip_prefix("*.") {
            Some(base) => ("*.", base),
            None => ("", text),
        };
        let base = base.strip_suffix('.').unwrap_or(base);
        let is_ip = |t: &str| t.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
        if is_ip(base) {
            return refuse("can't be an address: customers have names");
        }
        if base.contains(':') {
            return refuse("has no port");
        }
        let Ok(ascii) = idna::domain_to_ascii_strict(base) else {
            return refuse(
                "is not a name that DNS can hold (letters, digits and -, with dots between)",
            );
        };
        let ascii = ascii.to_ascii_lowercase();
        if ascii.len() > NAME_MAX - BEFORE {
            return refuse("is too long: 233 characters are the most");
        }
        let label = |l: &str| {
            let inner = l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            inner && (1..=63).contains(&l.len()) && !l.starts_with('-') && !l.ends_with('-')
        };
        if !ascii.split('.').all(label) {
            return refuse(
                "is not a name that DNS can hold (letters, digits and -, with dots between)",
            );
        }
        let Some((_, top)) = ascii.rsplit_once('.') else {
            return refuse("has one label only: it needs at least two, such as shop.example");
        };
        if top.bytes().all(|b| b.is_ascii_digit()) || is_ip(&ascii) {
            return refuse("ends in a number, and so reads as an address");
        }
        if SPECIAL.contains(&top) {
            return refuse("ends in a name that is reserved: nobody can be given it");
        }
        if REGISTRIES.contains(&ascii.as_str()) {
            return refuse("belongs to a registry, not to a customer: write the name below it");
        }
        Ok(Self(format!("{star}{ascii}").into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Result<DomainName, String> {
        text.parse().map_err(|error: NotADomain| error.to_string())
    }

    #[test]
    fn names_are_kept_in_ascii_and_lower_case_and_shown_in_letters() {
        assert_eq!(name("Shop.Customer.COM.").unwrap().as_str(), "shop.customer.com");
        let umlaut = name("*.Bücher.example").unwrap();
        assert_eq!(umlaut.as_str(), "*.xn--bcher-kva.example");
        assert_eq!(umlaut.unicode().unwrap(), "*.bücher.example");
        assert!(umlaut.is_wildcard() && umlaut.base() == "xn--bcher-kva.example");
        assert_eq!(name("xn--bcher-kva.example").unwrap().as_str(), "xn--bcher-kva.example");
    }

    #[test]
    fn what_no_customer_can_have_is_refused_with_the_reason() {
        for (bad, why) in [
            ("", "1 to 1000"),
            ("shop", "one label"),
            ("*.com", "one label"),
            ("co.uk", "registry"),
            ("*.co.uk", "registry"),
            ("10.0.0.1", "address"),
            ("[::1]", "address"),
            ("a.b:80", "port"),
            ("https://a.b", "without a scheme"),
            ("a.b/c", "without a scheme"),
            ("a..b", "DNS can hold"),
            ("-a.b", "DNS can hold"),
            ("a_b.c", "DNS can hold"),
            ("a.*.b", "DNS can hold"),
            ("**.b.c", "DNS can hold"),
            ("x.localhost", "reserved"),
            ("1.2.3", "number"),
            ("a b.c", "DNS can hold"),
            ("xn--zzzzzz--.de", "DNS can hold"),
        ] {
            let error = name(bad).expect_err(bad);
            assert!(error.contains(why), "{bad:?}: {error}");
        }
        assert!(name(&"a.".repeat(130)).is_err());
    }

    #[test]
    fn our_own_names_are_told_apart() {
        for (text, of) in [
            ("example.com", true),
            ("a.example.com", true),
            ("*.example.com", true),
            ("*.com.example", false),
            ("xexample.com", false),
            ("customer.com", false),
        ] {
            assert_eq!(name(text).unwrap().is_of("example.com"), of, "{text}");
        }
        assert!(name("*.apps.example").unwrap().is_of("host.apps.example"));
        assert!(!name("apps.example").unwrap().is_of("host.apps.example"));
    }
}
