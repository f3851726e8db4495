//! Backups: of an instance that sleeps, runs, and writes; and restored, or refused.

mod backup_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backup_support::{PATIENCE, host, note, notes, nothing_left, pid, uid_of};
use tenement_tests::{Host, until};

#[test]
fn what_a_sleeping_instance_had_comes_back_and_what_came_later_is_gone() {
    let host = host();
    host.run("ten spawn bnotes:a");
    note(host, "bnotes:a", "before");
    host.run("ten sleep bnotes:a --force");
    host.run("ten backup bnotes:a -o /root/b/a.tar.zst");
    assert_eq!(host.state("bnotes:a"), "asleep", "a backup wakes nobody");
    assert_eq!(host.run("stat -c %a /root/b/a.tar.zst").out.trim(), "600");
    note(host, "bnotes:a", "after");
    assert!(notes(host, "bnotes:a").contains("after"));
    let data = "/var/lib/tenement/bnotes/a";
    let (uid, before) = (uid_of(host, data), pid(host, "bnotes:a"));
    let done = host.ten_json("restore bnotes:a /root/b/a.tar.zst --yes");
    assert_eq!(done["of"], "bnotes:a");
    // It ran, so it runs again.
    host.until_state("bnotes:a", &["running"], PATIENCE);
    assert_ne!(pid(host, "bnotes:a"), before);
    let shown = notes(host, "bnotes:a");
    assert!(shown.contains("before") && !shown.contains("after"), "{shown}");
    assert_eq!(uid_of(host, data), uid);
    assert_eq!(uid_of(host, &format!("{data}/notes.db")), uid);
    nothing_left(host);
    // Anybody can look into it without us.
    let listed =
        host.run("apt-get install -y -q zstd >/dev/null 2>&1; command -v zstd || true").out;
    if !listed.trim().is_empty() {
        let listed = host.run("zstd -dc /root/b/a.tar.zst | tar -t").out;
        assert!(
            listed.starts_with("manifest.json\n") && listed.contains("data/notes.db"),
            "{listed}"
        );
    }
    // What is there already is not overwritten, and a failure leaves no file.
    assert_eq!(host.try_run("ten backup bnotes:a -o /root/b/a.tar.zst").code, 6);
    assert_ne!(host.try_run("ten backup bnotes:none -o /root/b/none.tar.zst").code, 0);
    assert_eq!(host.run("ls /root/b").out.trim(), "a.tar.zst");
}

#[test]
fn the_data_goes_into_another_instance_with_another_user_and_the_old_data_can_be_kept() {
    let host = host();
    host.run("ten spawn bnotes:a");
    note(host, "bnotes:a", "first");
    host.run("ten backup bnotes:a -o - > /root/b/a.tar.zst");
    host.run("ten restore bnotes:a - --to bnotes:copy --yes < /root/b/a.tar.zst");
    assert!(notes(host, "bnotes:copy").contains("first"));
    let (a, copy) = ("/var/lib/tenement/bnotes/a", "/var/lib/tenement/bnotes/copy");
    assert_ne!(uid_of(host, a), uid_of(host, copy));
    assert_eq!(uid_of(host, copy), uid_of(host, &format!("{copy}/notes.db")));
    // Of another instance without saying so: refused.
    let refused = host.try_run("ten restore bnotes:copy /root/b/a.tar.zst --yes");
    assert!(refused.code != 0 && refused.err.contains("bnotes:a"), "{refused:?}");
    note(host, "bnotes:a", "second");
    let done = host.ten_json("restore bnotes:a /root/b/a.tar.zst --yes --keep-old");
    let kept = done["kept"].as_str().expect("a path");
    let count = format!("sqlite3 {kept}/notes.db 'select count(*) from note'");
    assert_eq!(host.run(&count).out.trim(), "2");
    host.run(&format!("rm -rf {kept}"));
    assert!(!notes(host, "bnotes:a").contains("second"));
    nothing_left(host);
}

#[test]
fn requests_wait_while_a_running_instance_with_200_mb_is_backed_up_in_little_memory() {
    let host = host();
    host.run("ten spawn bnotes:big");
    note(host, "bnotes:big", "x");
    let data = "/var/lib/tenement/bnotes/big";
    let uid = uid_of(host, data);
    host.run(&format!(
        "head -c 200M /dev/urandom > {data}/large; chown {uid}:{uid} {data}/large; sync"
    ));
    let agent = host.run("systemctl show -p MainPID --value tenement").out.trim().to_owned();
    host.run(&format!("echo 5 > /proc/{agent}/clear_refs"));
    let rss = |host: &Host| -> u64 {
        let line = host.run(&format!("grep VmHWM /proc/{agent}/status")).out;
        line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
    };
    let before = rss(host);
    host.write(
        "/root/b/watch.sh",
        "most=0; while test ! -e /root/b/stop; do for p in $(pidof tenement-archive); do \
         n=$(grep VmHWM /proc/$p/status 2>/dev/null | tr -dc 0-9); test ${n:-0} -gt $most && most=$n; done; \
         sleep 0.02; done; echo $most > /root/b/most",
    );
    host.run("rm -f /root/b/stop; setsid sh /root/b/watch.sh >/dev/null 2>&1 & echo");
    let stop = Arc::new(AtomicBool::new(false));
    let asking = stop.clone();
    let asked = std::thread::spawn(move || {
        let (mut count, mut longest) = (0, Duration::ZERO);
        while !asking.load(Ordering::Relaxed) {
            let (answer, took) = Host::timed(|| Host::the().get("big.bnotes.localhost", "/"));
            assert_eq!(answer.status, 200, "{}", answer.text());
            count += 1;
            longest = longest.max(took);
        }
        (count, longest)
    });
    let (_, took) = Host::timed(|| host.run("ten backup bnotes:big -o /root/b/big.tar.zst"));
    host.until_state("bnotes:big", &["running"], PATIENCE);
    let (_, restored) =
        Host::timed(|| host.run("ten restore bnotes:big /root/b/big.tar.zst --yes"));
    stop.store(true, Ordering::Relaxed);
    let (count, longest) = asked.join().expect("every request was answered");
    host.run("touch /root/b/stop; while test ! -e /root/b/most; do sleep 0.1; done");
    let helper: u64 = host.run("cat /root/b/most").out.trim().parse().expect("a number");
    let grown = rss(host).saturating_sub(before);
    println!(
        "200 MB: backup {took:?}, restore {restored:?}; {count} requests, the longest {longest:?}; \
         agent grew by {grown} kB at most, helper had {helper} kB"
    );
    assert!(longest < Duration::from_secs(60));
    assert!((1..64 * 1024).contains(&helper), "{helper} kB");
    assert!(grown < 64 * 1024, "{grown} kB");
    nothing_left(host);
}

#[test]
fn a_database_that_is_always_written_to_is_backed_up_online_and_is_whole() {
    let host = host();
    host.run("ten spawn bwriter:w");
    let count = |name: &str| -> u64 { notes(host, name).trim().parse().expect("a number") };
    until("some rows are there", PATIENCE, || {
        let rows = count("bwriter:w");
        if rows > 2000 { Ok(()) } else { Err(rows) }
    });
    let (running, before) = (pid(host, "bwriter:w"), count("bwriter:w"));
    host.run("ten backup bwriter:w -o /root/b/w.tar.zst --online");
    let after = count("bwriter:w");
    assert_eq!(pid(host, "bwriter:w"), running, "it was not stopped");
    assert!(after > before, "it went on writing");
    host.run("ten restore bwriter:w /root/b/w.tar.zst --to bwriter:copy --yes");
    let ask = |sql: &str| {
        host.run(&format!("sqlite3 /var/lib/tenement/bwriter/copy/rows.db '{sql}'"))
            .out
            .trim()
            .to_owned()
    };
    assert_eq!(ask("PRAGMA integrity_check"), "ok");
    let rows: u64 = ask("SELECT count(*) FROM row").parse().expect("a number");
    assert_eq!(ask("SELECT max(n) FROM row"), rows.to_string(), "a prefix of what was written");
    assert!((before..=after).contains(&rows), "{before} <= {rows} <= {after}");
    assert_eq!(host.run("ls /var/lib/tenement/bwriter/copy").out.trim(), "rows.db");
    nothing_left(host);
}

#[test]
fn an_archive_that_is_cut_altered_or_too_large_changes_nothing() {
    let host = host();
    host.run("ten spawn bs3:a");
    note(host, "bs3:a", "precious");
    let data = "/var/lib/tenement/bs3/a";
    let uid = uid_of(host, data);
    host.run(&format!("head -c 20M /dev/urandom > {data}/more; chown {uid}:{uid} {data}/more"));
    host.run("ten backup bs3:a -o /root/b/a.tar.zst");
    note(host, "bs3:a", "newer");
    host.until_state("bs3:a", &["running"], PATIENCE);
    let before = pid(host, "bs3:a");
    host.run(
        "cd /root/b; head -c 15M a.tar.zst > cut; cp a.tar.zst altered; \
         printf X | dd of=altered bs=1 seek=9000000 conv=notrunc 2>/dev/null; head -c 1M /dev/urandom > noise; : > empty",
    );
    for file in ["cut", "altered", "noise", "empty"] {
        let ran = host.try_run(&format!("ten restore bs3:a /root/b/{file} --yes"));
        assert!(ran.code != 0 && ran.err.contains("archive"), "{file}: {ran:?}");
        nothing_left(host);
    }
    host.run("ten set bs3:a disk_max=10M 2>/dev/null || true; ten set bs3:a disk_max=22M");
    host.run("ten spawn bs3:small --no-start; ten set bs3:small disk_max=10M");
    let ran = host.try_run("ten restore bs3:a /root/b/a.tar.zst --to bs3:small --yes");
    assert!(ran.code != 0 && ran.err.contains("disk_max"), "{ran:?}");
    assert_eq!(pid(host, "bs3:a"), before, "it ran on all the while");
    assert!(notes(host, "bs3:a").contains("newer"));
    nothing_left(host);
}
