# Limits, on a kernel that applies them. Sourced by tests/e2e-vm, whose `vm`, `fail`, `fetch`, `until_ok`
# and `passed` it uses.

limits_config() {
  vm "cat > /etc/tenement/conf.d/limits.toml" <<'TOML'
[process.quiet]
command = "/srv/apps/hello-static"
idle_timeout = 0

[process.greedy]
command = "/srv/apps/hello-static"
idle_timeout = 0
memory_max = "48M"
swap_max = 0
tasks_max = 40
cpu = 0.4
cpu_weight = 1
io_weight = 1
io_write_max = "2M"
[process.greedy.max]
memory_max = "128M"
[process.greedy.total]
memory_max = "300M"
tasks_max = 500
TOML
  vm "ten config reload -q" || fail "the config was refused"
  vm "ten spawn quiet:q -q && ten spawn greedy:g -q" || fail "spawn"
}

vm_limits() {
  echo "== $suite VM: limits"
  limits_config
  totals_are_limits_of_the_slice
  memory_kills_only_the_offender
  a_fork_bomb_ends_at_tasks_max
  a_disk_hog_is_held_back
  a_limit_set_while_it_runs_counts_at_once
}

invocation() { vm "systemctl show -p InvocationID --value ten-$1.service"; }

cgroup_of() { vm "cat /sys/fs/cgroup\$(systemctl show -p ControlGroup --value $1)/$2"; }

totals_are_limits_of_the_slice() {
  [ "$(cgroup_of tenement-greedy.slice pids.max)" = 500 ] || fail "the total of tasks is not on the slice"
  [ "$(cgroup_of tenement-greedy.slice memory.max)" = 314572800 ] || fail "the total of memory is not on the slice"
  passed=$((passed + 1))
  echo "   totals of a process are limits of its slice"
}

memory_kills_only_the_offender() {
  local agent quiet
  agent=$(vm "systemctl show -p MainPID --value tenement") quiet=$(invocation quiet@q)
  vm "curl -sS -m 60 -H 'Host: g.greedy.localhost' http://127.0.0.1:8080/eat/200" >/dev/null 2>&1 || true
  until_ok "ten history greedy:g | grep -qw oom"
  [ "$agent" = "$(vm "systemctl show -p MainPID --value tenement")" ] || fail "the agent was killed too"
  [ "$quiet" = "$(invocation quiet@q)" ] || fail "the neighbour was killed too"
  until_ok "curl -sSf -m 60 -H 'Host: g.greedy.localhost' http://127.0.0.1:8080/ >/dev/null"
  passed=$((passed + 1))
  echo "   memory_max kills only the offender"
}

a_fork_bomb_ends_at_tasks_max() {
  local said started
  said=$(fetch g.greedy.localhost /fork/500)
  started=$(sed -n 's/^started \([0-9]*\) of.*/\1/p' <<<"$said")
  [ -n "$started" ] && [ "$started" -lt 40 ] || fail "tasks_max = 40 let it start: $said"
  # PID 1 and the agent answer meanwhile.
  vm "timeout 20 systemctl is-active tenement >/dev/null && timeout 20 ten ps -q >/dev/null" \
    || fail "no answer under a fork bomb"
  fetch g.greedy.localhost /reap >/dev/null
  passed=$((passed + 1))
  echo "   tasks_max ends a fork bomb at $started processes"
}

a_disk_hog_is_held_back() {
  local took
  # In the guest: the way into it serves one caller at a time.
  vm "rm -f /run/written; systemd-run -q sh -c 'curl -sS -m 60 -o /run/written -H \"Host: g.greedy.localhost\" http://127.0.0.1:8080/write/8'"
  vm "timeout 20 ten show quiet:q -q >/dev/null && timeout 20 systemctl status tenement >/dev/null" \
    || fail "no answer beside a disk hog"
  until_ok 'grep -qs " ms" /run/written'
  took=$(vm "sed -n 's/.* in \([0-9]*\) ms.*/\1/p' /run/written")
  [ "${took:-0}" -ge 2500 ] || fail "io_write_max = 2M let 8 MiB through in ${took:-?} ms"
  passed=$((passed + 1))
  echo "   io_write_max holds (8 MiB in $took ms)"
}

a_limit_set_while_it_runs_counts_at_once() {
  local before max
  before=$(invocation greedy@g)
  vm "ten set greedy:g memory_max=64M cpu=0.2" || fail "ten set"
  max=$(cgroup_of ten-greedy@g.service memory.max)
  [ "$max" = 67108864 ] || fail "memory.max is $max after ten set"
  [ "$before" = "$(invocation greedy@g)" ] || fail "ten set restarted it"
  vm "systemctl daemon-reload"
  max=$(cgroup_of ten-greedy@g.service memory.max)
  [ "$max" = 67108864 ] || fail "memory.max is $max after a daemon-reload"
  vm "ten set greedy:g memory_max=1G" | grep -q "the maximum holds" || fail "not said that it is clamped"
  max=$(cgroup_of ten-greedy@g.service memory.max)
  [ "$max" = 134217728 ] || fail "memory.max is $max beyond the maximum of the config"
  vm "ten set greedy:g memory_max= cpu= -q" || fail "ten set takes nothing back"
  max=$(cgroup_of ten-greedy@g.service memory.max)
  [ "$max" = 50331648 ] || fail "memory.max is $max after it was taken back"
  passed=$((passed + 1))
  echo "   ten set counts at once, is held by the maximum and can be taken back"
}

# A machine of its own, with one CPU and a clock that counts instructions: beside others that are busy, a
# p99 by any other clock would be theirs. Leaves it in place of the machine that `name` was.
vm_hogs() {
  local alone beside ratio
  echo "== $suite VM: a CPU hog beside a neighbour, by a counted clock"
  "$tenhost" vm-stop "$name"
  name=hogs-$suite-$$
  "$tenhost" vm-boot "$name" "$suite" --deb "$deb" --counted-clock
  vm "mkdir -p /srv/apps"
  "$tenhost" vm-cp "$name" "$target/apps/hello-static" /srv/apps/hello-static
  "$tenhost" vm-cp "$name" tests/vm/p99.py /root/p99.py
  limits_config
  fetch g.greedy.localhost / >/dev/null || fail "greedy:g does not answer"
  alone=$(middle_p99)
  fetch g.greedy.localhost /spin/600/4 >/dev/null
  beside=$(middle_p99)
  [ "$(vm "systemctl is-active ten-greedy@g")" = active ] || fail "the hog is gone"
  ratio=$(awk "BEGIN { printf \"%.2f\", $beside / $alone }")
  echo "   p99 $alone us alone, $beside us beside a hog"
  result limits.neighbour_p99_ratio "$ratio" ratio
  awk "BEGIN { exit !($ratio <= 1.2) }" || fail "a CPU hog slows its neighbour's p99 to $ratio times its own"
  passed=$((passed + 1))
}

# The middle of three p99 of the quiet instance, in microseconds.
middle_p99() {
  vm "for i in 1 2 3; do python3 /root/p99.py q.quiet.localhost 300; done" | cut -d' ' -f2 | sort -n | sed -n 2p
}
