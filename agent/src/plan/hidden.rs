//! The places that an instance sees, and may write to.

use std::path::Path;

use super::value::{Property, Value};
use super::{Job, directives, text};
use crate::config::{Listen, Network};

/// `MS_REC` of mount(2): a bind takes the mounts below along.
const RECURSIVE: u64 = 0x4000;

/// Sockets and files of systemd and its companions that tell of others, or take requests. The bus: tenants
/// could ask PID 1 for things, and have frozen it so (CVE-2026-40223). The transient units: their
/// environment is world-readable there. /run/systemd/notify and the journal's sockets stay.
const COMMON: [&str; 2] = ["-/run/dbus", "-/run/systemd/transient"];
const STRICT: [&str; 5] = [
    "-/run/systemd/private",
    "-/run/systemd/units",
    "-/run/log/journal",
    "-/var/log/journal",
    "-/run/systemd/userdb",
];

/// Other instances' directories can be listed but not opened.
pub(super) fn standard(job: &Job, list: &mut Vec<Property>) {
    let mut hidden = COMMON.map(str::to_owned).to_vec();
    hidden.push(format!("-{}", text(&job.paths.admin_socket)));
    add(list, "InaccessiblePaths", Value::Strs(hidden));
    let mut paths = vec![text(&job.paths.data_dir)];
    paths.extend(job.paths.app_dir.as_deref().map(text));
    if job.park_helper().is_some() && job.paths.app_dir.is_none() {
        // The stub takes the agent's flag away.
        paths.push(text(&super::instance_dir(&job.ctx.run_dir, job.name)));
    }
    paths.extend(configured(job));
    if !job.dynamic_user() {
        add(list, "ReadWritePaths", Value::Strs(paths));
    }
}

/// Loopback is where other instances and the host's own services listen. Where the agent itself comes over
/// loopback it must stay open; that of a private network is the instance's own. The two addresses are those of systemd-resolved (resolved.conf(5)).
fn loopback(job: &Job, list: &mut Vec<Property>) {
    if job.def.network == Network::Private || matches!(job.def.listen, Listen::Port | Listen::Own) {
        return;
    }
    deny_loopback(list);
}

/// What of the host's own tells of others.
pub(super) fn of_host() -> impl Iterator<Item = &'static str> {
    COMMON.into_iter().chain(STRICT)
}

/// No loopback but that of the resolver.
pub(super) fn deny_loopback(list: &mut Vec<Property>) {
    let of =
        |words: &[&str]| words.iter().filter_map(|w| directives::addresses(w)).flatten().collect();
    add(list, "IPAddressAllow", Value::Addresses(of(&["127.0.0.53", "127.0.0.54"])));
    add(list, "IPAddressDeny", Value::Addresses(of(&["localhost"])));
}

/// Not even the names of other instances are seen.
pub(super) fn strict(job: &Job, list: &mut Vec<Property>) {
    loopback(job, list);
    let mut hidden: Vec<String> = COMMON.iter().chain(&STRICT).map(|p| (*p).to_owned()).collect();
    // Apps may well lie in a home directory.
    let home = if in_home(job) { "read-only" } else { "yes" };
    add(list, "ProtectHome", Value::Str(home.to_owned()));
    // What other processes run from is none of its business.
    if job.release().is_none() && (job.dynamic_user() || !releases_are_hidden(job)) {
        hidden.push(format!("-{}", text(&job.ctx.releases_dir)));
    }
    if job.dynamic_user() {
        // systemd makes its directories, and binds them where they lie.
        hidden.push(format!("-{}", text(&job.paths.admin_socket)));
        return add(list, "InaccessiblePaths", Value::Strs(hidden));
    }
    add(list, "InaccessiblePaths", Value::Strs(hidden));
    let bind = |path: &Path, optional| (text(path), text(path), optional, RECURSIVE);
    // Writable for the app's socket, and for the stub of a parked instance, which takes the flag away.
    let own_run = super::instance_dir(&job.ctx.run_dir, job.name);
    let mut empty = vec![
        (text(&job.ctx.run_dir), "ro,mode=755".to_owned()),
        // PrivateDevices= has the host's, where others leave shared memory.
        ("/dev/shm".to_owned(), "mode=1777,nosuid,nodev".to_owned()),
    ];
    let mut binds = vec![bind(&own_run, true)];
    if job.release().is_some() && !releases_are_hidden(job) {
        empty.push((text(&job.ctx.releases_dir), "ro,mode=755".to_owned()));
    }
    let mut writable = configured(job);
    if uses_shared_data(job) {
        writable.push(text(&job.paths.data_dir));
    } else {
        empty.push((text(&job.settings.data_dir), "ro,mode=755".to_owned()));
        binds.push(bind(&job.paths.data_dir, false));
    }
    add(list, "TemporaryFileSystem", Value::Pairs(empty));
    add(list, "BindPaths", Value::Binds(binds));
    // The lock beside it: to hold a lock, reading is enough (flock(2)).
    let mut read = vec![bind(&job.paths.busy, true)];
    read.extend(job.release().map(|release| bind(&release.dir, false)));
    add(list, "BindReadOnlyPaths", Value::Binds(read));
    if !writable.is_empty() {
        add(list, "ReadWritePaths", Value::Strs(writable));
    }
}

fn add(list: &mut Vec<Property>, name: &'static str, value: Value) {
    list.push(Property { name, value });
}

/// A named user binds the configured path itself.
fn configured(job: &Job) -> Vec<String> {
    let app_side = matches!(job.def.listen, Listen::Socket | Listen::Own);
    let outside = app_side && job.paths.app_dir.is_none() && !job.dynamic_user();
    job.paths.socket.parent().filter(|_| outside).map(text).into_iter().collect()
}

/// The paths that the config names and that are the app's own to see.
fn named(job: &Job) -> impl Iterator<Item = String> {
    let words = job.def.command.iter().chain(&job.def.directory);
    words.map(|word| job.fill(word))
}

fn in_home(job: &Job) -> bool {
    let home = |path: &str| ["/home/", "/root/", "/run/user/"].iter().any(|h| path.starts_with(h));
    named(job).any(|path| home(&path)) || home(&text(&job.paths.data_dir))
}

/// Whether the directory of releases goes with that of the data.
fn releases_are_hidden(job: &Job) -> bool {
    !uses_shared_data(job) && job.ctx.releases_dir.starts_with(&job.settings.data_dir)
}

/// Whether the app lies among the data directories, outside of its own.
fn uses_shared_data(job: &Job) -> bool {
    let release = job.release().map(|release| release.dir.as_path());
    let shared = |path: &str| {
        let path = Path::new(path);
        if release.is_some_and(|release| path.starts_with(release)) {
            return false;
        }
        path.starts_with(&job.settings.data_dir) && !path.starts_with(&job.paths.data_dir)
    };
    named(job).any(|path| shared(&path)) || configured(job).iter().any(|path| shared(path))
}
