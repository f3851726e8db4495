//! What tiers and limits can have of this host. None of it must be there: only what the config asks for and
//! the host can't do is a warning ([`unmet`]).

use std::path::Path;

use tenement_wire::dto::ConfigView;

use super::Check;

/// Slices that every host has one of; the root group has none of these files.
const SLICES: [&str; 3] = ["tenement.slice", "system.slice", "user.slice"];

/// What the config asks and the host can't do, a line for each.
pub fn unmet(view: &ConfigView) -> Vec<Check> {
    let warn = |line: &String| {
        let (what, fix) = line.rsplit_once("; ").unwrap_or((line, "remove the key"));
        Check::warn("config and host", what, format!("{fix}, or remove the key from the config"))
    };
    view.unmet.iter().map(warn).collect()
}

/// What this host brings for the tiers; `root` is `/`.
pub fn host(root: &Path) -> Vec<Check> {
    vec![swap(root), reclaim(root), freezer(root)]
}

/// Where reclaimed memory goes (proc_swaps(5)).
fn swap(root: &Path) -> Check {
    let text = std::fs::read_to_string(root.join("proc/swaps")).unwrap_or_default();
    let areas: Vec<&str> =
        text.lines().skip(1).filter_map(|l| l.split_whitespace().next()).collect();
    if areas.is_empty() {
        return Check::ok("swap", "neither swap nor zram: `reclaim_after` can't be had here");
    }
    let kind = if areas.iter().any(|a| a.contains("/zram")) { "zram" } else { "swap, no zram" };
    Check::ok("swap", format!("{kind}: {}", areas.join(", ")))
}

/// `memory.reclaim`, of Linux 5.19 and later, with the memory controller.
fn reclaim(root: &Path) -> Check {
    const NAME: &str = "reclaim";
    if some_slice_has(root, "memory.reclaim") {
        return Check::ok(NAME, "the kernel has memory.reclaim");
    }
    let release =
        std::fs::read_to_string(root.join("proc/sys/kernel/osrelease")).unwrap_or_default();
    let why = match version(&release) {
        Some(found) if found < (5, 19) => "Linux before 5.19",
        _ => "no memory controller in the unified hierarchy",
    };
    Check::ok(NAME, format!("no memory.reclaim ({why}): `reclaim_after` can't be had here"))
}

/// `6.1.0-28-amd64` as 6 and 1.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.trim().split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// systemd freezes only where the whole hierarchy is unified (systemd.resource-control(5)).
fn freezer(root: &Path) -> Check {
    let unified = root.join("sys/fs/cgroup/cgroup.controllers").exists();
    if unified && some_slice_has(root, "cgroup.freeze") {
        return Check::ok("freezer", "instances can be frozen");
    }
    Check::ok("freezer", "no freezer in a unified hierarchy: `freeze_after` can't be had here")
}

fn some_slice_has(root: &Path, file: &str) -> bool {
    SLICES.iter().any(|slice| root.join("sys/fs/cgroup").join(slice).join(file).exists())
}

/// Whether the file system of the data directory keeps quotas of projects (proc_pid_mountinfo(5)).
pub fn quota(root: &Path, data_dir: &Path) -> Check {
    const NAME: &str = "disk quota";
    let text = std::fs::read_to_string(root.join("proc/self/mountinfo")).unwrap_or_default();
    let kept = mount_of(&text, data_dir)
        .is_some_and(|(_, options)| options.split(',').any(|o| o == "prjquota" || o == "pquota"));
    let kind = mount_of(&text, data_dir).map_or("an unknown file system", |(kind, _)| kind);
    let quotas = if kept { "with project quotas" } else { "without project quotas" };
    Check::ok(NAME, format!("{kind} {quotas}; `disk_max` is measured each minute either way"))
}

/// Kind and options of the file system that `path` lies on: that of the longest mount point; of two
/// at the same place the later one is above.
fn mount_of<'t>(mountinfo: &'t str, path: &Path) -> Option<(&'t str, &'t str)> {
    let mut best: Option<(usize, (&str, &str))> = None;
    for line in mountinfo.lines() {
        let Some((mount, system)) = line.split_once(" - ") else { continue };
        let (Some(point), mut words) = (mount.split(' ').nth(4), system.split(' ')) else {
            continue;
        };
        let (Some(kind), options) = (words.next(), words.nth(1).unwrap_or_default()) else {
            continue;
        };
        let length = point.len();
        if path.starts_with(point) && best.is_none_or(|(longest, _)| length >= longest) {
            best = Some((length, (kind, options)));
        }
    }
    best.map(|(_, found)| found)
}

/// Whether passt's `pasta` is here.
pub fn passt(root: &Path) -> Check {
    let found = root.join("usr/bin/pasta").exists();
    let detail = if found { "installed" } else { "not installed" };
    Check::ok("passt", format!("{detail}; `outbound = \"passt\"` is refused either way"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::Status;
    use super::*;

    fn write(root: &Path, file: &str, text: &str) {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn swap_zram_reclaim_and_freezer_are_told_as_the_host_has_them() {
        let root = tempfile::tempdir().unwrap();
        let told = || host(root.path()).into_iter().map(|check| check.detail).collect::<Vec<_>>();
        assert!(told()[0].starts_with("neither swap nor zram"));
        write(root.path(), "proc/swaps", "Filename Type Size\n/dev/zram0 partition 1 0 100\n");
        assert_eq!(told()[0], "zram: /dev/zram0");
        write(root.path(), "proc/sys/kernel/osrelease", "5.10.0-30-amd64\n");
        assert!(told()[1].contains("Linux before 5.19"));
        write(root.path(), "proc/sys/kernel/osrelease", "6.1.0-28-amd64\n");
        assert!(told()[1].contains("no memory controller"));
        write(root.path(), "sys/fs/cgroup/system.slice/memory.reclaim", "");
        assert_eq!(told()[1], "the kernel has memory.reclaim");
        write(root.path(), "sys/fs/cgroup/system.slice/cgroup.freeze", "0");
        assert!(told()[2].starts_with("no freezer"), "a hybrid host");
        write(root.path(), "sys/fs/cgroup/cgroup.controllers", "memory");
        assert_eq!(told()[2], "instances can be frozen");
    }

    #[test]
    fn project_quotas_are_those_of_the_mount_that_the_data_lies_on() {
        let root = tempfile::tempdir().unwrap();
        let mounts = "1 0 8:1 / / rw - ext4 /dev/a rw,prjquota\n\
                      2 1 8:2 / /var/lib rw shared:1 - xfs /dev/b rw,noquota\n";
        write(root.path(), "proc/self/mountinfo", mounts);
        let told = |path: &str| quota(root.path(), Path::new(path)).detail;
        assert!(told("/srv").starts_with("ext4 with project quotas"));
        assert!(told("/var/lib/tenement").starts_with("xfs without project quotas"));
        assert!(told("/var/library").starts_with("ext4 with"));
    }

    #[test]
    fn what_the_config_asks_and_the_host_lacks_is_a_warning_with_a_fix() {
        let mut view = empty();
        assert!(unmet(&view).is_empty());
        view.unmet
            .push("`freeze_after` of process `api` is left out: no freezer; boot anew".into());
        let check = unmet(&view).remove(0);
        assert_eq!(check.status, Status::Warn);
        assert!(
            check.detail.ends_with("no freezer") && check.fix.unwrap().starts_with("boot anew, or")
        );
    }

    fn empty() -> ConfigView {
        ConfigView {
            domain: "localhost".into(),
            port: 1,
            data_dir: "/d".into(),
            files: vec![],
            processes: vec![],
            rejected: vec![],
            unmet: vec![],
        }
    }
}
