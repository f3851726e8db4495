//! From the name that a client asks for to what there is for it.

use std::collections::HashMap;

/// Exact names and wildcards of one label (RFC 9525 section 6.3).
#[derive(Debug)]
pub struct NameMap<T> {
    exact: HashMap<Box<str>, T>,
    /// By what follows `*.`.
    wild: HashMap<Box<str>, T>,
}

impl<T> Default for NameMap<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), wild: HashMap::new() }
    }
}

impl<T> NameMap<T> {
    /// Puts `value` under `name`, unless something is there already.
    pub fn put(&mut self, name: &str, value: T) {
        let (map, key) = match name.strip_prefix("*.") {
            Some(rest) => (&mut self.wild, rest),
            None => (&mut self.exact, name),
        };
        map.entry(key.into()).or_insert(value);
    }

    /// What there is for `host`, in lower case: under its own name, or under the wildcard above it.
    #[must_use]
    pub fn find(&self, host: &str) -> Option<&T> {
        self.exact.get(host).or_else(|| self.wild.get(host.split_once('.')?.1))
    }
}

/// The name of a host as clients ask for it, as all maps have it: in lower case, without trailing dot. None if it is none.
#[must_use]
pub fn normal(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let good = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    (name.len() <= 253 && name.split('.').all(good)).then(|| name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_one_label_and_an_exact_name_goes_first() {
        let mut map = NameMap::default();
        for (name, value) in [("*.example.com", 1), ("a.example.com", 2), ("a.example.com", 3)] {
            map.put(name, value);
        }
        assert_eq!(map.find("a.example.com"), Some(&2), "the first that was put counts");
        assert_eq!(map.find("b.example.com"), Some(&1));
        for none in ["example.com", "a.b.example.com", ".example.com.", "com", ""] {
            assert_eq!(map.find(none), None, "{none}");
        }
    }

    #[test]
    fn only_host_names_are_names() {
        assert_eq!(normal("Shop.Example.COM.").as_deref(), Some("shop.example.com"));
        for bad in ["", ".", "a..b", "*.a", "a/../b", "a b", "é.example"] {
            assert_eq!(normal(bad), None, "{bad:?}");
        }
    }
}
