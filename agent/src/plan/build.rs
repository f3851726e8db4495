//! The unit that makes a release: a tar file and a build command in, a directory out.
//!
//! Nothing in it is an instance's: it has a user id of its own, sees no data, no config, no other release and no
//! socket of the agent, and its slice stands beside that of the instances, with the least weight.

use std::path::{Path, PathBuf};

use tenement_wire::{ProcessName, ReleaseName};

use super::value::{Property, UnitSpec, Value};
use super::{ARGV, Mode, argv, hidden, sandbox, text};
use crate::config::Definition;
use crate::config::template::{self, Vars};

/// The slice of builds. No process can have it: the names of their slices begin with `tenement-`.
pub const BUILD_SLICE: &str = "tenementbuild.slice";
/// The variable that tells `tenement-unpack` how many bytes and entries may come out.
pub const UNPACK: &str = "TENEMENT_UNPACK";
/// What comes out of an upload, and is built from it, may have so many times its bytes.
const GROWTH: u64 = 10;
/// Files, directories and symlinks of a release.
pub const RELEASE_FILES_MAX: u64 = 1_000_000;
/// Processes and threads of a build.
const TASKS_MAX: u64 = 4_096;
const OPEN_FILES: u64 = 65_536;
/// Instances have 500: where memory runs out, a build goes first.
const OOM_SCORE: i32 = 900;
/// `MS_REC` of mount(2).
const RECURSIVE: u64 = 0x4000;

/// What must be known to plan a build.
#[derive(Debug)]
pub struct BuildContext<'a> {
    /// Which manager.
    pub mode: Mode,
    /// Whom it runs as, in system mode.
    pub user: Option<String>,
    /// The directory that it makes the release in.
    pub draft: &'a Path,
    /// Where the release will lie.
    pub place: &'a Path,
    /// The directory of all releases.
    pub releases_dir: &'a Path,
    /// The directory of all data.
    pub data_dir: &'a Path,
    /// What else is hidden from it: config, sockets, files with secrets.
    pub hidden: &'a [PathBuf],
    /// `tenement-unpack`.
    pub unpack: &'a Path,
}

/// The name of the unit that makes releases of a process.
#[must_use]
pub fn build_unit(process: &ProcessName) -> String {
    format!("ten-build-{process}.service")
}

/// Most bytes of a release.
#[must_use]
pub fn release_bytes_max(def: &Definition) -> u64 {
    def.deploy.upload_max.saturating_mul(GROWTH)
}

/// The unit. The tar file and the pipe for what is printed are handed over with it.
#[must_use]
pub fn build(def: &Definition, name: &ReleaseName, ctx: &BuildContext) -> UnitSpec {
    let p = |name, value| Property { name, value };
    let str = |text: &str| Value::Str(text.to_owned());
    let unit = build_unit(&def.name);
    let system = ctx.mode == Mode::System;
    let unpack = text(ctx.unpack);
    // A user's manager has no mounts for it.
    let directory = if system { ctx.place } else { ctx.draft };
    let timeout = u64::try_from(def.deploy.build_timeout.as_micros()).unwrap_or(u64::MAX);
    let field = |name: &str, value: &str| format!("{name}={value}").into_bytes();
    let mut list = vec![
        p("Description", Value::Str(format!("tenement build of {} {name}", def.name))),
        p("Slice", str(BUILD_SLICE)),
        p("Type", str("oneshot")),
        p("ExecStart", Value::ExecPlain(vec![(unpack.clone(), vec![unpack], false)])),
        p("WorkingDirectory", Value::Str(text(directory))),
        p("Environment", Value::Strs(environment(def, name, directory))),
        // Not where errors go, or systemd would take the handed descriptor for both (`can_inherit_stderr_from_stdout`).
        p("StandardOutput", str("null")),
        p("StandardError", str("journal")),
        p("SyslogIdentifier", str(unit.trim_end_matches(".service"))),
        p(
            "LogExtraFields",
            Value::Bytes(vec![
                field("TENEMENT_BUILD", def.name.as_str()),
                field("TENEMENT_RELEASE", name.as_str()),
            ]),
        ),
        p("CollectMode", str("inactive")),
        // Of a oneshot unit this bounds the whole run (systemd.service(5)).
        p("TimeoutStartUSec", Value::U64(timeout)),
        p("TimeoutStopUSec", Value::U64(10_000_000)),
        // The build itself gets SIGTERM; what it has left in the background is killed when it has ended.
        p("KillMode", str("mixed")),
        p("OOMPolicy", str("kill")),
        p("UMask", Value::U32(0o022)),
        p("NoNewPrivileges", Value::Bool(true)),
        p("MemoryMax", Value::U64(def.deploy.build_memory_max)),
        p("MemorySwapMax", Value::U64(0)),
        p("TasksMax", Value::U64(TASKS_MAX)),
        p("LimitCORE", Value::U64(0)),
        p("LimitFSIZE", Value::U64(release_bytes_max(def))),
    ];
    if system {
        list.push(p("LimitNOFILE", Value::U64(OPEN_FILES)));
        list.push(p("OOMScoreAdjust", Value::I32(OOM_SCORE)));
        list.extend(ctx.user.iter().map(|user| p("User", str(user))));
        list.push(p("RemoveIPC", Value::Bool(true)));
        sandbox::of_build(&mut list);
        network(def, &mut list);
        places(def, ctx, &mut list);
    }
    UnitSpec { name: unit, properties: list }
}

/// None of the instances' own variables: they may hold secrets.
fn environment(def: &Definition, name: &ReleaseName, directory: &Path) -> Vec<String> {
    let bounds = format!("{} {RELEASE_FILES_MAX}", release_bytes_max(def));
    let mut list = vec![
        // Private, and gone with the build: caches of package managers.
        "HOME=/tmp".to_owned(),
        format!("{UNPACK}={bounds}"),
        format!("TENEMENT_PROCESS={}", def.name),
        format!("TENEMENT_RELEASE={name}"),
    ];
    if !def.deploy.build.is_empty() {
        let release = text(directory);
        let vars = Vars { process: def.name.as_str(), release: &release, ..Vars::default() };
        let words: Vec<String> =
            def.deploy.build.iter().map(|word| template::fill(word, &vars)).collect();
        list.push(format!("{ARGV}={}", argv::encode(words.iter().map(String::as_str))));
    }
    list
}

/// With a network it reaches what is elsewhere, and not what listens on this host's loopback.
fn network(def: &Definition, list: &mut Vec<Property>) {
    if def.deploy.build_network {
        hidden::deny_loopback(list);
    } else {
        list.push(Property { name: "PrivateNetwork", value: Value::Bool(true) });
    }
}

fn places(def: &Definition, ctx: &BuildContext, list: &mut Vec<Property>) {
    list.retain(|property| property.name != "PrivateTmp");
    let mut add = |name, value| list.push(Property { name, value });
    let state = ctx.releases_dir.parent().unwrap_or(ctx.releases_dir);
    let covered = if state.starts_with(ctx.data_dir) { ctx.data_dir } else { state };
    let mut away: Vec<String> = hidden::of_host().map(str::to_owned).collect();
    if !ctx.data_dir.starts_with(covered) {
        away.push(format!("-{}", text(ctx.data_dir)));
    }
    away.extend(ctx.hidden.iter().map(|path| format!("-{}", text(path))));
    add("InaccessiblePaths", Value::Strs(away));
    // Of its own, gone with it, and bounded: PrivateTmp= would be on the disk of the host.
    let size = def.deploy.build_tmp_max;
    let own = |path: &str| (path.to_owned(), format!("mode=1777,nosuid,nodev,size={size}"));
    let mut empty = vec![(text(covered), "ro,mode=755".to_owned())];
    empty.extend(["/dev/shm", "/tmp", "/var/tmp"].map(own));
    add("TemporaryFileSystem", Value::Pairs(empty));
    // Where it will lie, so that paths that a build writes down stay right.
    let bind = (text(ctx.draft), text(ctx.place), false, RECURSIVE);
    add("BindPaths", Value::Binds(vec![bind]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, SourceFile};

    fn spec(mode: Mode, deploy: &str) -> UnitSpec {
        let text = format!(
            "[process.api]\ncommand = [\"{{release}}/app\"]\n[process.api.deploy]\n{deploy}\n"
        );
        let config = config::parse(&[SourceFile::new("t", text)]).unwrap();
        let ctx = BuildContext {
            mode,
            user: Some("ten-1900000000".into()),
            draft: Path::new("/var/lib/tenement/releases/api/.draft-v2"),
            place: Path::new("/var/lib/tenement/releases/api/v2"),
            releases_dir: Path::new("/var/lib/tenement/releases"),
            data_dir: Path::new("/srv/data"),
            hidden: &["/etc/tenement".into(), "/run/tenement".into()],
            unpack: Path::new("/usr/libexec/tenement/tenement-unpack"),
        };
        build(&config.processes[&"api".parse().unwrap()], &"v2".parse().unwrap(), &ctx)
    }

    fn get(spec: &UnitSpec, name: &str) -> Option<Value> {
        spec.properties.iter().find(|p| p.name == name).map(|p| p.value.clone())
    }

    #[test]
    fn a_build_has_its_own_slice_user_and_bounds_and_sees_nothing_of_the_host() {
        let spec = spec(
            Mode::System,
            "build = [\"make\", \"PREFIX={release}\"]\nbuild_timeout = \"90s\"\nbuild_memory_max = \"64M\"\nbuild_tmp_max = \"8M\"\nupload_max = \"2M\"",
        );
        assert_eq!(spec.name, "ten-build-api.service");
        assert_eq!(get(&spec, "Slice"), Some(Value::Str(BUILD_SLICE.into())));
        assert!(!BUILD_SLICE.contains('-'), "it would be a slice of a process");
        assert_eq!(get(&spec, "User"), Some(Value::Str("ten-1900000000".into())));
        assert_eq!(get(&spec, "MemoryMax"), Some(Value::U64(64 << 20)));
        assert_eq!(get(&spec, "TimeoutStartUSec"), Some(Value::U64(90_000_000)));
        assert_eq!(get(&spec, "CapabilityBoundingSet"), Some(Value::U64(0)));
        assert_eq!(get(&spec, "PrivateNetwork"), None);
        let Some(Value::Strs(env)) = get(&spec, "Environment") else { panic!("no environment") };
        assert!(env.contains(&format!("{UNPACK}={} {RELEASE_FILES_MAX}", 20 << 20)), "{env:?}");
        assert!(env.contains(&format!("{ARGV}=make PREFIX=/var/lib/tenement/releases/api/v2")));
        let Some(Value::Strs(away)) = get(&spec, "InaccessiblePaths") else { panic!("no paths") };
        for path in ["-/etc/tenement", "-/run/tenement", "-/srv/data", "-/run/dbus"] {
            assert!(away.iter().any(|p| p == path), "{path} is seen: {away:?}");
        }
        let Some(Value::Pairs(empty)) = get(&spec, "TemporaryFileSystem") else { panic!("none") };
        assert_eq!(empty[0].0, "/var/lib/tenement");
        assert_eq!(get(&spec, "PrivateTmp"), None, "it would be on the disk, without a bound");
        let own: Vec<_> = empty[1..].iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(own, ["/dev/shm", "/tmp", "/var/tmp"]);
        assert!(empty[1..].iter().all(|(_, options)| options.ends_with("size=8388608")));
    }

    #[test]
    fn a_build_without_network_or_command_has_neither() {
        let spec = spec(Mode::System, "build_network = false");
        assert_eq!(get(&spec, "PrivateNetwork"), Some(Value::Bool(true)));
        assert_eq!(get(&spec, "IPAddressDeny"), None);
        let Some(Value::Strs(env)) = get(&spec, "Environment") else { panic!("no environment") };
        assert!(!env.iter().any(|variable| variable.starts_with(ARGV)));
    }

    #[test]
    fn a_users_build_asks_for_nothing_that_needs_privileges() {
        let spec = spec(Mode::User, "");
        for name in ["User", "BindPaths", "OOMScoreAdjust", "PrivateTmp", "InaccessiblePaths"] {
            assert_eq!(get(&spec, name), None, "{name}");
        }
        let draft = "/var/lib/tenement/releases/api/.draft-v2";
        assert_eq!(get(&spec, "WorkingDirectory"), Some(Value::Str(draft.into())));
    }
}
