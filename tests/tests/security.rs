//! What systemd-analyze says of our units.

use tenement_tests::Host;

#[test]
fn the_exposure_of_both_daemons_and_of_a_strict_instance_is_as_low_as_documented() {
    let host = Host::the();
    host.configure(
        "security.toml",
        "[process.sec]\ncommand = \"/srv/apps/hello-static\"\nidle_timeout = 0\n",
    );
    host.run("ten spawn sec:a && systemctl start tenement-unitd");
    for (unit, most) in
        [("tenement.service", 12), ("tenement-unitd.service", 10), ("ten-sec@a.service", 12)]
    {
        let score = format!("systemd-analyze security --no-pager --threshold={most} {unit}");
        let ran = host.try_run(&score);
        let last = ran.out.lines().last().unwrap_or_default();
        println!("systemd {}: {last}", host.systemd());
        assert_eq!(ran.code, 0, "{unit}: {}", ran.out);
    }
    let shown = host.ten_json("show --security sec:a");
    assert!(shown["exposure"].as_f64().is_some_and(|score| score <= 1.2), "{shown}");
    assert!(shown["worst"].as_array().is_some_and(|lines| !lines.is_empty()), "{shown}");
    host.run("systemctl daemon-reload");
    let again = host.ten_json("show --security sec:a");
    assert_eq!(again["exposure"], shown["exposure"], "a daemon-reload opened something");
}

#[test]
fn a_single_directive_replaces_ours_and_lasts_over_a_daemon_reload() {
    let host = Host::the();
    host.configure(
        "override.toml",
        "[process.over]\ncommand = \"/srv/apps/hello-static\"\nidle_timeout = 0\n\
         [process.over.systemd]\nMemoryDenyWriteExecute = true\nLimitMEMLOCK = \"1M\"\n\
         ProtectHome = \"tmpfs\"\nSystemCallFilter = \"@system-service @mount\"\n",
    );
    host.run("ten spawn over:a");
    for _ in 0..2 {
        let shown = host
            .run("systemctl show -p MemoryDenyWriteExecute,LimitMEMLOCK,ProtectHome,SystemCallFilter ten-over@a.service")
            .out;
        for want in ["MemoryDenyWriteExecute=yes", "LimitMEMLOCK=1048576", "ProtectHome=tmpfs"] {
            assert!(shown.contains(want), "{want} is not in {shown}");
        }
        assert!(shown.contains("move_mount"), "{shown}");
        host.run("systemctl daemon-reload");
    }
    assert_eq!(host.get("a.over.localhost", "/").status, 200);
}
