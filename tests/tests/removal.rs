//! Removal: `remove` keeps data, `purge` deletes it. Runs last.

use tenement_tests::Host;

#[test]
fn remove_keeps_data_and_purge_deletes_it() {
    let host = Host::the();
    host.configure("removal.toml", "[process.gone]\ncommand = \"/srv/apps/hello-static\"\n");
    host.run("ten spawn gone:a gone:frozen && systemctl freeze ten-gone@frozen.service");
    host.run("apt-get remove -y tenement");
    host.run("test -d /var/lib/tenement/gone/a && test -e /var/lib/tenement/_agent/state.db");
    let units = host.run("systemctl list-units --no-legend --plain 'ten-*'").out;
    assert_eq!(units.trim(), "", "instances still run after the removal");
    host.run("apt-get install -y --no-install-recommends /root/pkg/tenement.deb");
    assert_eq!(host.get("a.gone.localhost", "/").status, 200, "what was registered is there again");
    host.run("apt-get purge -y tenement");
    assert_ne!(host.try_run("test -e /var/lib/tenement").code, 0);
    assert_ne!(host.try_run("test -e /etc/tenement").code, 0);
    assert_eq!(host.run("systemctl list-units --failed --no-legend --plain 'ten*'").out.trim(), "");
}
