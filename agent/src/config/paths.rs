//! Whether the paths of a config exist: the only checks that depend on the host.

use std::path::Path;

use tenement_wire::dto::ConfigProblem;

use super::types::{Config, Origin, PathRole};

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathState {
    /// Nothing.
    Missing,
    /// A directory.
    Directory,
    /// A file, and whether anybody may execute it.
    File {
        /// One of its execute bits is set.
        executable: bool,
        /// Everybody may read it.
        public: bool,
    },
    /// We may not look (a home directory, for example): no reason to complain.
    Unknown,
}

/// Problems of the paths that can be looked up before any instance exists: working directories without
/// `{id}` and `{data_dir}`, env files, and programs given by their whole path.
pub fn check_paths(config: &Config, exists: impl Fn(&Path) -> PathState) -> Vec<ConfigProblem> {
    config.origins.0.iter().filter_map(|origin| check(origin, exists(&origin.path))).collect()
}

fn check(origin: &Origin, state: PathState) -> Option<ConfigProblem> {
    let path = origin.path.display();
    let (message, fix) = match (origin.role, state) {
        (_, PathState::Unknown)
        | (PathRole::Directory, PathState::Directory)
        | (PathRole::EnvFile, PathState::File { .. })
        | (PathRole::Command, PathState::File { executable: true, .. })
        | (PathRole::Credential { encrypted: true }, PathState::File { .. })
        | (
            PathRole::Credential { encrypted: false } | PathRole::Secret,
            PathState::File { public: false, .. },
        ) => {
            return None;
        }
        (PathRole::Directory, PathState::Missing) => {
            (format!("the directory {path} does not exist"), format!("create it: mkdir -p {path}"))
        }
        (PathRole::Directory, PathState::File { .. }) => {
            (format!("{path} is not a directory"), "name the directory that it lies in".to_owned())
        }
        (PathRole::EnvFile, PathState::Missing) => (
            format!("the env file {path} does not exist"),
            "create it, or remove it here".to_owned(),
        ),
        (PathRole::EnvFile, PathState::Directory) => {
            (format!("{path} is a directory"), "name the file in it".to_owned())
        }
        (PathRole::Command, PathState::Missing) => (
            format!("the program {path} does not exist"),
            "install it, or mend the path".to_owned(),
        ),
        (PathRole::Command, PathState::Directory) => {
            (format!("{path} is a directory, not a program"), "name the program in it".to_owned())
        }
        (PathRole::Command, PathState::File { executable: false, .. }) => {
            (format!("{path} is not executable"), format!("make it so: chmod +x {path}"))
        }
        (PathRole::Secret, PathState::Missing) => (
            format!("the file {path} does not exist"),
            format!("create it for the agent alone: install -m 640 -g tenement /dev/null {path}"),
        ),
        (PathRole::Secret, PathState::File { .. }) => (
            format!("everybody on this host may read {path}, which holds a secret"),
            format!("leave it to root and the agent: chgrp tenement {path} && chmod 640 {path}"),
        ),
        (PathRole::Credential { .. }, PathState::Missing) => (
            format!("the secret {path} does not exist"),
            "create it (as root, chmod 600), or remove it here".to_owned(),
        ),
        (PathRole::Credential { .. } | PathRole::Secret, PathState::Directory) => {
            (format!("{path} is a directory"), "name the file in it".to_owned())
        }
        (PathRole::Credential { .. }, PathState::File { .. }) => (
            format!("everybody on this host may read the secret {path}"),
            format!("make it root's alone: chmod 600 {path}"),
        ),
    };
    Some(ConfigProblem { message, fix, ..origin.at.clone() })
}
