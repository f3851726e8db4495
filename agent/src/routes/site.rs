//! What a host name stands for where that takes more than one look: paths, weights, rules, redirects.

use std::sync::Arc;

use super::Rules;
use super::group::Group;

/// Where a request goes.
#[derive(Debug)]
pub enum Dest<T> {
    /// To this instance, under the rules of its process.
    Instance(T, Option<Arc<Rules>>),
    /// To one of these.
    Group(Arc<Group<T>>, Option<Arc<Rules>>),
    /// Elsewhere.
    Redirect(Arc<Redirect>),
    /// To the domain itself: dashboard and API.
    Root,
    /// There should be an instance, and is none.
    UnknownInstance,
    /// Nowhere.
    UnknownHost,
}

impl<T: Clone> Clone for Dest<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Instance(value, rules) => Self::Instance(value.clone(), rules.clone()),
            Self::Group(group, rules) => Self::Group(group.clone(), rules.clone()),
            Self::Redirect(redirect) => Self::Redirect(redirect.clone()),
            Self::Root => Self::Root,
            Self::UnknownInstance => Self::UnknownInstance,
            Self::UnknownHost => Self::UnknownHost,
        }
    }
}

/// Where clients are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// 301, 302, 307 or 308.
    pub status: u16,
    /// `https://example.com/new`; without a path, that of the request follows; without a query, that.
    pub to: String,
}

impl Redirect {
    /// The URL for a request of `path_and_query`.
    #[must_use]
    pub fn location(&self, path_and_query: &str) -> String {
        let after = self.to.split_once("://").map_or("", |(_, rest)| rest);
        if after.contains('/') {
            let query = path_and_query.split_once('?').filter(|_| !self.to.contains(['?', '#']));
            return query
                .map_or_else(|| self.to.clone(), |(_, query)| format!("{}?{query}", self.to));
        }
        // A path of `//evil` after a bare `https://host` stays on that host: the authority is there already.
        format!("{}{path_and_query}", self.to)
    }
}

/// One prefix of paths.
#[derive(Debug, Clone)]
pub struct PathRoute<T> {
    /// Without a slash at its end: `/docs` takes `/docs` and `/docs/…`, not `/docsx`.
    pub prefix: Box<str>,
    /// Whether the instance gets the path without it.
    pub strip: bool,
    /// Where it leads.
    pub dest: Dest<T>,
}

/// A host name's paths.
#[derive(Debug, Clone)]
pub struct Site<T> {
    /// The longest prefix first.
    routes: Vec<PathRoute<T>>,
    otherwise: Dest<T>,
}

/// What [`Site::find`] found.
#[derive(Debug)]
pub struct Found<'a, T> {
    /// Where the request goes.
    pub dest: &'a Dest<T>,
    /// The prefix that led there, if the instance must not see it.
    pub strip: Option<&'a str>,
}

impl<T> Site<T> {
    /// A site whose every path leads to `otherwise`.
    pub fn of(otherwise: Dest<T>) -> Self {
        Self { routes: Vec::new(), otherwise }
    }

    /// Adds a prefix.
    pub fn add(&mut self, route: PathRoute<T>) {
        let at = self.routes.partition_point(|known| known.prefix.len() >= route.prefix.len());
        self.routes.insert(at, route);
    }

    /// What is behind all other paths.
    pub fn otherwise(&self) -> &Dest<T> {
        &self.otherwise
    }

    /// Where a request with `path` goes. A path with an encoded slash or dot is compared as it stands: the
    /// prefix tells apps apart and guards nothing.
    pub fn find(&self, path: &str) -> Found<'_, T> {
        for route in &self.routes {
            let rest = path.strip_prefix(&*route.prefix);
            if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
                return Found { dest: &route.dest, strip: route.strip.then_some(&route.prefix) };
            }
        }
        Found { dest: &self.otherwise, strip: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_of_whole_segments_counts() {
        let mut site = Site::of(Dest::Instance(0, None));
        for (prefix, value, strip) in [("/docs", 1, true), ("/docs/api", 2, false), ("/d", 3, true)]
        {
            let dest = Dest::Instance(value, None);
            site.add(PathRoute { prefix: prefix.into(), strip, dest });
        }
        for (path, value, strip) in [
            ("/", 0, None),
            ("/docs", 1, Some("/docs")),
            ("/docs/", 1, Some("/docs")),
            ("/docsx", 0, None),
            ("/docs/apix", 1, Some("/docs")),
            ("/docs/api/y", 2, None),
            ("/d/docs", 3, Some("/d")),
            ("/D", 0, None),
        ] {
            let found = site.find(path);
            assert!(matches!(found.dest, Dest::Instance(v, _) if *v == value), "{path}");
            assert_eq!(found.strip, strip, "{path}");
        }
    }

    #[test]
    fn a_redirect_keeps_path_and_query_unless_it_names_them() {
        let to = |to: &str| Redirect { status: 301, to: to.into() };
        assert_eq!(to("https://a.b").location("/x?y"), "https://a.b/x?y");
        assert_eq!(to("https://a.b").location("//evil"), "https://a.b//evil");
        assert_eq!(to("https://a.b/new").location("/x"), "https://a.b/new");
        assert_eq!(to("https://a.b/new").location("/x?y"), "https://a.b/new?y");
        assert_eq!(to("https://a.b/new?z").location("/x?y"), "https://a.b/new?z");
    }
}
