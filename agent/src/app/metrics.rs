//! The beginning of what is measured.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Places;
use crate::flows::agent::Agent;
use crate::flows::edge::Edge;
use crate::proxy::Proxy;
use crate::store::series::Series;

/// Opens the history of metrics.
pub(super) fn start(places: &Places, agent: &Arc<Agent<Edge>>) {
    agent.metrics.keep(Series::open(&places.metrics()));
}

/// Has what came through the proxy counted, too.
pub(super) fn listen(agent: &Arc<Agent<Edge>>, proxy: &Arc<Proxy<Arc<Agent<Edge>>>>) {
    let proxy = proxy.clone();
    // Nobody else has set it.
    let _ = agent.metrics.sources.traffic.set(Box::new(move || proxy.counters.sum()));
}

/// The directory that `tenement.slice` is in: the root of the control groups, or of a user's manager its own.
pub(super) fn groups(places: &Places) -> Option<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    if !places.user {
        // On a hybrid host the unified hierarchy is beside the others.
        let unified = root.join("unified");
        return Some(if unified.is_dir() { unified } else { root.to_owned() });
    }
    below_manager(root, &fs::read_to_string("/proc/self/cgroup").ok()?)
}

/// `0::/user.slice/user-7.slice/user@7.service/…`: the manager's group is its service.
fn below_manager(root: &Path, own: &str) -> Option<PathBuf> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let parts: Vec<_> = path.split('/').collect();
    let manager =
        parts.iter().position(|part| part.starts_with("user@") && part.ends_with(".service"))?;
    Some(parts[..=manager].iter().fold(root.to_owned(), |path, part| path.join(part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_instances_are_below_their_manager() {
        let own = "0::/user.slice/user-7.slice/user@7.service/app.slice/tenement.service\n";
        let found = below_manager(Path::new("/c"), own);
        assert_eq!(found.as_deref(), Some(Path::new("/c/user.slice/user-7.slice/user@7.service")));
        assert_eq!(below_manager(Path::new("/c"), "0::/init.scope\n"), None);
    }
}
