# Reclaimed memory and memory pressure, on a kernel that knows both. Sourced by tests/e2e-vm, whose `vm`,
# `fail`, `fetch`, `until_ok`, `result` and `passed` it uses.

vm_tiers() {
  echo "== $suite VM: reclaimed memory and memory pressure, with zram"
  "$tenhost" vm-cp "$name" tests/apps/fat /srv/apps/fat
  "$tenhost" vm-cp "$name" tests/vm/hog.py /root/hog.py
  vm "modprobe zram && echo 256M > /sys/block/zram0/disksize && mkswap -q /dev/zram0 && swapon /dev/zram0" \
    || fail "no zram here"
  # Reclaiming has a step of its own, so that the test says when; pressure finds it next by itself.
  vm "cat > /etc/tenement/conf.d/tiers.toml" <<'TOML'
[process.fat]
command = "python3 fat.py"
directory = "/srv/apps/fat"
idle_timeout = "1h"
reclaim_after = "3s"
park = 0

[process.cold]
command = "python3 fat.py"
directory = "/srv/apps/fat"
idle_timeout = "1h"
park = 0
TOML
  vm "ten config reload -q" || fail "the config was refused"
  vm "ten spawn fat:a -q" || fail "spawn fat:a"
  a_reclaimed_app_keeps_a_tenth_and_answers_soon
  reclaiming_outlives_a_stop_of_the_slice
  vm "ten stop fat:a -q" || fail "ten stop"
  pressure_sends_the_coldest_down_first
  vm "swapoff /dev/zram0" || fail "swapoff"
}

# Milliseconds of one request to fat:a, as seen in the guest.
took() {
  vm "curl -sS -m 120 -o /dev/null -w '%{time_total}' -H 'Host: a.fat.localhost' http://127.0.0.1:8080/" |
    awk '{ printf "%.1f", $1 * 1000 }'
}

until_reclaimed() { until_ok 'ten show fat:a --json | grep -q "\"tier\": *\"reclaimed\""'; }

a_reclaimed_app_keeps_a_tenth_and_answers_soon() {
  local round cold='' warm='' before after share=0 one
  for round in 1 2 3; do
    vm "ten stop fat:a -q" || fail "ten stop"
    cold+="$(took)"$'\n'
    before=$(cgroup_of ten-fat@a.service memory.current)
    [ "$before" -ge 41943040 ] || fail "the app has $before bytes only"
    until_reclaimed
    after=$(cgroup_of ten-fat@a.service memory.current)
    one=$(awk "BEGIN { printf \"%.1f\", 100 * $after / $before }")
    share=$(printf '%s\n' "$share" "$one" | sort -n | tail -n 1)
    warm+="$(took)"$'\n'
    echo "   round $round: $((before / 1024)) kB, $((after / 1024)) kB reclaimed"
  done
  cold=$(sort -n <<<"${cold%$'\n'}" | sed -n 2p) warm=$(sort -n <<<"${warm%$'\n'}" | sed -n 2p)
  result wake.reclaimed.resident_pct "$share" %
  echo "   first request: $warm ms, cold start $cold ms"
  result wake.reclaimed.speedup "$(awk "BEGIN { printf \"%.1f\", $cold / $warm }")" "times"
  awk "BEGIN { exit !($share <= 10) }" || fail "$share % of its memory stayed"
  awk "BEGIN { exit !($cold >= 20 * $warm) }" || fail "$warm ms are not 20 times faster than $cold ms"
  passed=$((passed + 1))
}

# The helper has the slice's control group as a mount of its own, which must not be one of a group that is gone.
reclaiming_outlives_a_stop_of_the_slice() {
  vm "systemctl stop tenement.slice" || fail "systemctl stop tenement.slice"
  took >/dev/null
  until_reclaimed
  passed=$((passed + 1))
  echo "   memory is reclaimed in a slice that was stopped meanwhile"
}

pressure_sends_the_coldest_down_first() {
  local kills order id
  for id in one two three used; do
    vm "ten spawn cold:$id --no-start -q" || fail "spawn cold:$id"
    fetch "$id.cold.localhost" / >/dev/null || fail "cold:$id does not answer"
  done
  kills=$(vm "grep ^oom_kill /proc/vmstat")
  # In the guest: the way into it serves one caller at a time.
  vm "systemd-run -q --unit=held sh -c 'curl -sS -m 200 -o /run/held -H \"Host: used.cold.localhost\" http://127.0.0.1:8080/hold/60'"
  until_ok 'ten show cold:used --json | grep -q "\"in_flight\": *1"'
  vm "systemd-run -q --unit=hog -p OOMScoreAdjust=1000 python3 /root/hog.py 64"
  until_ok 'test "$(journalctl -u tenement -o cat | grep -c "^cold:.* stops (memory-pressure)")" -ge 3'
  vm "systemctl stop hog"
  order=$(vm 'journalctl -u tenement -o cat | sed -n "s/^cold:\([a-z]*\) stops (memory-pressure)/\1/p"' | xargs)
  [ "$order" = "one two three" ] || fail "the order down was: $order"
  [ "$kills" = "$(vm "grep ^oom_kill /proc/vmstat")" ] || fail "the kernel killed somebody"
  until_ok 'grep -qs "row 42" /run/held' # The one in use was spared.
  passed=$((passed + 1))
  echo "   under memory pressure the coldest go first, the one in use stays, and nobody is killed"
}
