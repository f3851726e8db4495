//! Which certificates the config asks for.

use crate::config::{Config, TlsSettings};

/// What is wanted, as the config says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// `[tls]` and `[acme]`.
    pub settings: TlsSettings,
    /// The domain, and other names of the API on it.
    pub domain: String,
    /// See there.
    pub aliases: Vec<String>,
    /// The processes, by name.
    pub processes: Vec<String>,
}

impl From<&Config> for Wanted {
    fn from(config: &Config) -> Self {
        Self {
            settings: config.settings.tls.clone(),
            domain: config.settings.domain.clone(),
            aliases: config.settings.api.aliases.clone(),
            processes: config.processes.keys().map(ToString::to_string).collect(),
        }
    }
}

impl Wanted {
    /// The names of the certificate of the host's own CA. Every process stands there with its own name too: clients
    /// take no wildcard directly below a top-level domain, which `localhost` is.
    pub(super) fn internal_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        if self.settings.internal {
            names.push(self.domain.clone());
            names.push(format!("*.{}", self.domain));
            for process in &self.processes {
                names.push(format!("{process}.{}", self.domain));
                names.push(format!("*.{process}.{}", self.domain));
            }
            names.extend(self.aliases.iter().cloned());
        }
        names.extend(self.settings.internal_names.iter().cloned());
        let mut seen = std::collections::HashSet::new();
        names.retain(|name| seen.insert(name.clone()));
        names
    }

    /// The certificates to be had from the CA, each with its names, the first of which names it. A process has one of
    /// its own, so that a new process leaves the others' alone. Wildcards need DNS-01.
    pub(super) fn orders(&self) -> Vec<Vec<String>> {
        let Some(acme) = &self.settings.acme else { return Vec::new() };
        let domain = &self.domain;
        let mut orders = if acme.dns.is_none() {
            vec![vec![domain.clone()]]
        } else {
            let mut orders = vec![vec![domain.clone(), format!("*.{domain}")]];
            orders
                .extend(self.processes.iter().map(|process| vec![format!("*.{process}.{domain}")]));
            orders
        };
        orders.extend(self.aliases.iter().map(|alias| vec![alias.clone()]));
        // No CA signs such a name.
        orders.retain(|names| {
            names.iter().all(|name| name.contains('.') && !name.ends_with(".localhost"))
        });
        orders
    }
}
