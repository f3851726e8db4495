//! Users and groups of the host, and records for the users that instances run as.
//!
//! Names are looked up in `/etc/passwd` and `/etc/group` only: loading name service modules into a
//! privileged process is not worth users from LDAP.
//!
//! systemd's `User=` needs a name or number that the name service knows, and nss-systemd takes records
//! from `/run/userdb` (tried on 252 and 257; `nss-systemd(8)`, "userdb drop-ins").

use std::fs;
use std::io::{Result, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;

/// User and group id of a named user.
pub(crate) fn user(etc: &Path, name: &str) -> Option<(u32, u32)> {
    let passwd = fs::read_to_string(etc.join("passwd")).ok()?;
    let mut fields = line(&passwd, name)?.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// Id of a named group.
pub(crate) fn group(etc: &Path, name: &str) -> Option<u32> {
    let groups = fs::read_to_string(etc.join("group")).ok()?;
    line(&groups, name)?.split(':').nth(2)?.parse().ok()
}

fn line<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find(|line| line.split(':').next() == Some(name))
}

/// Whether the name service asks systemd, and so finds records of ours.
pub(crate) fn userdb_is_asked(etc: &Path) -> bool {
    let Ok(text) = fs::read_to_string(etc.join("nsswitch.conf")) else { return false };
    let asks = |database: &str| {
        let mut lines = text.lines().filter_map(|line| line.trim().strip_prefix(database));
        lines.any(|rest| rest.split_whitespace().any(|word| word == "systemd"))
    };
    asks("passwd:") && asks("group:")
}

/// The name of the user that the instance with this user id runs as.
pub(crate) fn user_name(uid: u32) -> String {
    format!("ten-{uid}")
}

/// Makes the user `ten-{uid}` and the group of the same name and number known, if they aren't.
pub(crate) fn publish(userdb: &Path, uid: u32) -> Result<()> {
    let name = user_name(uid);
    // The link by number is made last, so that its presence means that all four are there.
    let done = userdb.join(format!("{uid}.user"));
    if done.symlink_metadata().is_ok() {
        return Ok(());
    }
    super::dirs::open_trusted(userdb, 0, true)?;
    let user = format!(
        "{{\"userName\":\"{name}\",\"uid\":{uid},\"gid\":{uid},\"disposition\":\"container\",\
         \"realName\":\"Tenement instance\",\"homeDirectory\":\"/\",\
         \"shell\":\"/usr/sbin/nologin\",\"locked\":true}}\n"
    );
    let group =
        format!("{{\"groupName\":\"{name}\",\"gid\":{uid},\"disposition\":\"container\"}}\n");
    write_whole(&userdb.join(format!("{name}.group")), &group)?;
    write_whole(&userdb.join(format!("{name}.user")), &user)?;
    link(&format!("{name}.group"), &userdb.join(format!("{uid}.group")))?;
    link(&format!("{name}.user"), &done)
}

/// Makes them unknown again.
pub(crate) fn withdraw(userdb: &Path, uid: u32) {
    let name = user_name(uid);
    for file in [
        format!("{uid}.user"),
        format!("{uid}.group"),
        format!("{name}.user"),
        format!("{name}.group"),
    ] {
        // What is not there needs no removing, and what stays after an error does no harm.
        let _ = fs::remove_file(userdb.join(file));
    }
}

/// Writes a file that appears whole or not at all.
pub(crate) fn write_whole(path: &Path, text: &str) -> Result<()> {
    let draft = path.with_extension("tmp");
    let _ = fs::remove_file(&draft);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(&draft)?;
    // Whatever our umask is: the name service reads it as anybody.
    file.set_permissions(fs::Permissions::from_mode(0o644))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)
}

fn link(target: &str, path: &Path) -> Result<()> {
    match symlink(target, path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}
