//! The agent of another host: its URL, and the token that it is asked with.

use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use hyper::Uri;
use hyper::header::HeaderValue;

use super::{Endpoint, Mode};
use crate::error::{CliError, Result};

/// Longest file of a token, in bytes.
const TOKEN_FILE_MAX: u64 = 4096;

/// Another host's agent.
#[derive(Clone, PartialEq, Eq)]
pub struct Remote {
    url: Uri,
    bearer: HeaderValue,
}

// The token must not get into a message.
impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Remote {
    /// Host, and port if there is one, as they stand in the URL.
    pub fn authority(&self) -> &str {
        self.url.authority().map_or("", |authority| authority.as_str())
    }

    /// The host, without the brackets of an address of version 6.
    pub fn host(&self) -> &str {
        self.url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.url.port_u16().unwrap_or(if self.tls() { 443 } else { 80 })
    }

    /// Whether TLS is spoken.
    pub fn tls(&self) -> bool {
        self.url.scheme_str() == Some("https")
    }

    /// `Authorization`.
    pub fn bearer(&self) -> HeaderValue {
        self.bearer.clone()
    }
}

impl Endpoint {
    /// The agent at `url`, asked with `token`.
    pub fn remote(url: &str, token: &str) -> Result<Self> {
        let hint = "give the domain of the other host's agent, such as https://example.com";
        let parsed: Option<Uri> = url.parse().ok();
        let good = parsed.filter(|url| {
            matches!(url.scheme_str(), Some("http" | "https"))
                && url.authority().is_some_and(|authority| !authority.as_str().contains('@'))
                && url.host().is_some_and(|host| !host.is_empty())
        });
        let Some(url) = good else {
            return Err(CliError::usage("--url is not an https:// URL", hint));
        };
        if url.path() != "/" || url.query().is_some() {
            return Err(CliError::usage("--url names a path, and the API has its own", hint));
        }
        let bearer = HeaderValue::from_str(&format!("Bearer {token}"));
        let Ok(mut bearer) = bearer else {
            return Err(CliError::usage("the token holds what no token does", TOKEN_HINT));
        };
        bearer.set_sensitive(true);
        let remote = Some(Remote { url, bearer });
        Ok(Self { path: PathBuf::new(), mode: Mode::Remote, remote })
    }
}

const TOKEN_HINT: &str = "make one on that host with ten token-gen, and put it into a file (chmod 600) for --token-file, \
     or into TENEMENT_TOKEN";

/// The token: from the file, or from the environment. It is never taken from the command line, which everybody on
/// this host can read.
pub fn token(file: Option<&Path>, variable: Option<String>) -> Result<String> {
    let text = match file {
        Some(path) => {
            let meta = path.metadata().map_err(|e| CliError::file("read", path, &e))?;
            if meta.permissions().mode() & 0o004 != 0 && meta.is_file() {
                return Err(CliError::usage(
                    format!("everybody on this host can read {}", path.display()),
                    format!("make it yours alone: chmod 600 {}", path.display()),
                ));
            }
            if meta.len() > TOKEN_FILE_MAX {
                let detail = format!("{} is too long for a token", path.display());
                return Err(CliError::usage(detail, TOKEN_HINT));
            }
            std::fs::read_to_string(path).map_err(|e| CliError::file("read", path, &e))?
        }
        None => variable.unwrap_or_default(),
    };
    match text.trim() {
        "" => Err(CliError::usage("the agent of another host wants a token", TOKEN_HINT)),
        token => Ok(token.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_the_root_of_a_domain_and_nothing_else() {
        let good = Endpoint::remote("https://example.com", "ten_a_b").unwrap().remote.unwrap();
        assert_eq!((good.host(), good.port(), good.tls()), ("example.com", 443, true));
        let good = Endpoint::remote("http://[::1]:8080/", "ten_a_b").unwrap().remote.unwrap();
        assert_eq!((good.host(), good.port(), good.authority()), ("::1", 8080, "[::1]:8080"));
        for bad in ["example.com", "ftp://a", "https://u:p@a", "https://a/api", "https://a/?x", ""]
        {
            assert_eq!(Endpoint::remote(bad, "t").unwrap_err().exit_code(), 2, "{bad}");
        }
    }

    #[test]
    fn a_token_is_read_from_a_file_of_ones_own_or_from_the_environment_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, " ten_a_b\n").unwrap();
        let mode =
            |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o644);
        assert!(token(Some(&path), None).unwrap_err().detail.contains("everybody"));
        mode(0o600);
        assert_eq!(token(Some(&path), Some("other".into())).unwrap(), "ten_a_b");
        assert_eq!(token(None, Some("ten_c_d".into())).unwrap(), "ten_c_d");
        assert!(token(None, None).unwrap_err().hint.unwrap().contains("token-gen"));
        let endpoint = Endpoint::remote("https://example.com", "ten_secret").unwrap();
        assert!(!format!("{endpoint:?}").contains("secret"));
    }
}
