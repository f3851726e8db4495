//! A CA and name servers for tests, from Debian: Pebble, its challenge server, and Knot.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::host::Host;
use crate::nearby::Nearby;
use crate::poll::until;

/// URL of the directory, as the host sees it.
pub const DIRECTORY: &str = "https://localhost:14000/dir";
/// Where Knot answers and takes updates.
pub const KNOT: &str = "127.0.0.1:5355";
/// Where the challenge server answers, and is told what to answer.
pub const CHALLENGES: &str = "127.0.0.1:8053";

/// Programs that run beside one host, with their files.
#[derive(Debug)]
pub struct Ca {
    host: &'static Host,
    dir: PathBuf,
    pebble: Option<Nearby>,
    servers: Vec<Nearby>,
}

impl Ca {
    /// Makes the files; nothing runs yet.
    ///
    /// # Panics
    /// When they can't be made.
    #[must_use]
    pub fn new(host: &'static Host) -> Self {
        let dir = std::env::temp_dir().join(format!("ten-ca-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a directory");
        let ca = Self { host, dir, pebble: None, servers: Vec::new() };
        let dir = ca.dir.display();
        let made = host.run_nearby(&format!(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=pebble \
             -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
             -keyout {dir}/pebble.key -out {dir}/pebble.pem"
        ));
        assert_eq!(made.code, 0, "{made:?}");
        let root = fs::read_to_string(ca.dir.join("pebble.pem")).expect("made");
        host.write("/etc/tenement/pebble.pem", &root);
        ca
    }

    /// A file of its own.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Runs Pebble, whose certificates are good for `validity` seconds, with questions to `dns`; of its nonces it refuses
    /// so many in a hundred.
    ///
    /// # Panics
    /// When it does not answer soon.
    pub fn start_pebble(&mut self, dns: &str, validity: u32, bad_nonces: u32) {
        self.pebble = None;
        let dir = self.dir.display();
        let config = format!(
            r#"{{"pebble": {{"listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000",
              "certificate": "{dir}/pebble.pem", "privateKey": "{dir}/pebble.key", "httpPort": 80, "tlsPort": 443,
              "ocspResponderURL": "", "externalAccountBindingRequired": false, "certificateValidityPeriod": {validity}}}}}"#
        );
        let path = self.file("pebble.json");
        fs::write(&path, config).expect("written");
        let nonces = bad_nonces.to_string();
        let env = [("PEBBLE_VA_NOSLEEP", "1"), ("PEBBLE_WFE_NONCEREJECT", nonces.as_str())];
        let words = ["-config", path.to_str().expect("UTF-8"), "-dnsserver", dns];
        let log = self.file("pebble.log");
        self.pebble = Some(self.host.start_nearby("pebble", &words, &env, &log));
        until("Pebble answers", Duration::from_secs(20), || {
            self.asks(&format!("curl -ksS -o /dev/null {DIRECTORY}"), &log)
        });
    }

    /// Ends Pebble, which forgets everything.
    pub fn stop_pebble(&mut self) {
        self.pebble = None;
    }

    /// What Pebble has logged.
    #[must_use]
    pub fn pebble_log(&self) -> String {
        fs::read_to_string(self.file("pebble.log")).unwrap_or_default()
    }

    /// The root that Pebble's certificates lead to, in PEM.
    #[must_use]
    pub fn root(&self) -> String {
        self.host.run_nearby("curl -ksS https://localhost:15000/roots/0").out
    }

    /// Runs Knot with these zones, in which every name is this host; `example.test` takes updates signed with the key in
    /// `/etc/tenement/tsig.key`.
    ///
    /// # Panics
    /// When it does not answer soon.
    pub fn start_knot(&mut self, zones: &[&str]) {
        let dir = self.dir.display().to_string();
        let key = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA==";
        self.host.write("/etc/tenement/tsig.key", key);
        self.host.run("chgrp tenement /etc/tenement/tsig.key && chmod 640 /etc/tenement/tsig.key");
        let mut config = format!(
            "server:\n    listen: {}\n    rundir: {dir}\n    user: root\ndatabase:\n    storage: {dir}\n\
             key:\n  - id: acme.\n    algorithm: hmac-sha256\n    secret: {key}\n\
             acl:\n  - id: updates\n    key: acme.\n    action: update\n\
             template:\n  - id: default\n    storage: {dir}\n    zonefile-sync: -1\n    zonefile-load: difference\n    journal-content: changes\nzone:\n",
            KNOT.replace(':', "@")
        );
        for zone in zones {
            let text = format!(
                "$ORIGIN {zone}.\n$TTL 1\n@ SOA ns hostmaster 1 3600 900 86400 1\n@ NS ns\nns A 127.0.0.1\n@ A 127.0.0.1\n* A 127.0.0.1\n"
            );
            fs::write(self.file(&format!("{zone}.zone")), text).expect("written");
            config +=
                &format!("  - domain: {zone}\n    file: {dir}/{zone}.zone\n    acl: updates\n");
        }
        let path = self.file("knot.conf");
        fs::write(&path, config).expect("written");
        let words = ["-c", path.to_str().expect("UTF-8")];
        let log = self.file("knot.log");
        self.servers.push(self.host.start_nearby("knotd", &words, &[], &log));
        let ask = format!("kdig @127.0.0.1 -p 5355 +short A x.{} | grep -q 127.0.0.1", zones[0]);
        until("Knot answers", Duration::from_secs(20), || self.asks(&ask, &log));
    }

    /// Runs the challenge server, which is told by HTTP what to answer.
    ///
    /// # Panics
    /// When it does not answer soon.
    pub fn start_challenges(&mut self) {
        let words = [
            "-dns01",
            CHALLENGES,
            "-management",
            "127.0.0.1:8055",
            "-http01",
            "",
            "-https01",
            "",
            "-tlsalpn01",
            "",
            "-defaultIPv6",
            "",
        ];
        let log = self.file("challenges.log");
        self.servers.push(self.host.start_nearby("pebble-challtestsrv", &words, &[], &log));
        let ask = "kdig @127.0.0.1 -p 8053 +short A x.example.test | grep -q 127.0.0.1";
        until("the challenge server answers", Duration::from_secs(20), || self.asks(ask, &log));
    }

    /// The texts that Knot has under a name.
    #[must_use]
    pub fn texts(&self, name: &str) -> String {
        self.host.run_nearby(&format!("kdig @127.0.0.1 -p 5355 +short TXT {name}")).out
    }

    fn asks(&self, command: &str, log: &Path) -> Result<(), String> {
        let ran = self.host.run_nearby(command);
        if ran.code == 0 {
            Ok(())
        } else {
            Err(format!("{ran:?}: {}", fs::read_to_string(log).unwrap_or_default()))
        }
    }
}

impl Drop for Ca {
    fn drop(&mut self) {
        self.pebble = None;
        self.servers.clear();
        // The tests after these want the domain that they know.
        let _ =
            self.host.try_run("rm -f /etc/tenement/conf.d/acme.toml && systemctl restart tenement");
        let _ = fs::remove_dir_all(&self.dir);
    }
}
