//! The size of an instance's data.

use tenement_tests::Host;

#[test]
fn data_that_only_its_owner_may_list_is_measured_and_links_out_of_it_are_not() {
    let host = Host::the();
    host.configure(
        "disk.toml",
        "[process.disk]\ncommand = \"/srv/apps/hello-static\"\ndisk_max = \"100M\"\n",
    );
    host.run("ten spawn disk:a");
    let data = "/var/lib/tenement/disk/a";
    host.run(&format!(
        "d=$(stat -c %u {data}) && mkdir -m 700 {data}/deep && truncate -s 0 /var/big && \
         dd if=/dev/zero of=/var/big bs=1M count=20 status=none && \
         dd if=/dev/zero of={data}/deep/file bs=1M count=3 status=none && \
         ln -s /var/big {data}/link && chown -hR $d {data}"
    ));
    let answer = host
        .run("busctl call org.tenement.Units1 /org/tenement/Units1 org.tenement.Units1 Measure ss disk a")
        .out;
    let bytes: u64 = answer.trim().trim_start_matches("t ").parse().expect("a size");
    assert!((3 << 20..5 << 20).contains(&bytes), "{bytes}");
    host.run("rm /var/big; ten rm --purge --yes disk:a");
}
