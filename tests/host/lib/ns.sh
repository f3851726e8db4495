# Namespace hosts: boot, look inside, stop. See inside.sh for how one comes to be, cgroup.sh for its
# cgroups, and root.sh for the root file system below it.

READY_MS=60000
STOP_MS=15000

init_pid() { process_of "$RUN/$1/init"; }
running() { init_pid "$1" >/dev/null; }
need_running() {
  check_name "$1"
  running "$1" || die "no host '$1' is running (tenhost list)"
}

# can_overlay LOWER DIR: whether DIR can be the upper side of an overlay, found out by mounting one in
# a mount namespace that ends with the try. An overlayfs (a container's root) cannot, for example.
can_overlay() {
  mkdir -p "$2/upper" "$2/work" "$2/try"
  unshare --mount mount -t overlay try "$2/try" -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" \
    2>/dev/null && rmdir "$2/try"
}

# make_store NAME LOWER: the writable side of the host, which outlives its reboots: an overlay where
# the state directory lies, else an overlay on a tmpfs, else a plain copy.
make_store() {
  local name=$1 lower=$2 store="$RUN/$1/store"
  mkdir -p "$store" "$RUN/$name/root"
  put "$name" lower "$lower"
  put "$name" mode overlay
  can_overlay "$lower" "$store" && return
  mount -t tmpfs -o mode=755 tmpfs "$store"
  can_overlay "$lower" "$store" && return
  umount "$store"
  say "no overlay on this machine; copying the root instead"
  put "$name" mode copy
  cp -a --reflink=auto "$lower" "$store/copy"
}

# Becomes a command in the host, with a clean environment.
enter_host() {
  local name=$1 pid cgroup
  shift
  pid=$(init_pid "$name") || die "host $name is not running"
  # In the host's own cgroup tree the command is somebody that journald and logind can name. Should the
  # host have just gone away, then nsenter says so better.
  cgroup=$(awk -F'\t' '$1 == "-" { print $2 }' "$RUN/$name/cgroups")
  { echo $BASHPID >"$cgroup/payload/tenhost.exec/cgroup.procs"; } 2>/dev/null || true
  # shellcheck disable=SC2086 # CONFINED is a list of words.
  exec nsenter --target "$pid" --mount --uts --ipc --net --pid --cgroup --root --wd -- \
    $CONFINED /usr/bin/env -i HOME=/root LANG=C.UTF-8 TERM="${TERM:-dumb}" \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}
in_host() { (enter_host "$@"); }

# Before the pivot the first process still is a shell in the machine's own root, and asking *that*
# systemd would be a mistake.
is_systemd() { [ "$(cat "/proc/$1/comm" 2>/dev/null)" = systemd ]; }

# Sets $system_state; true when the boot is over, whatever its outcome.
boot_is_over() {
  local pid
  pid=$(init_pid "$1") || { system_state=dead; process_of "$RUN/$1/supervisor" >/dev/null && return 1; return 0; }
  is_systemd "$pid" || { system_state=entering; return 1; }
  system_state=$(in_host "$1" systemctl is-system-running 2>/dev/null 9>&-) || true
  case "$system_state" in running | degraded | maintenance) ;; *) return 1 ;; esac
}

# start_host NAME: starts the processes of a host whose state is complete, and waits for its boot.
start_host() {
  local name=$1 dir="$RUN/$1" begun
  begun=$(now_ms)
  rm -f "$dir/supervisor" "$dir/init"
  : >"$dir/kmsg.log"
  make_cgroups "$name" "$(get "$name" layout)"
  (cd / && exec setsid env -i PATH="$PATH" bash "$HERE/lib/inside.sh" enter "$dir") \
    </dev/null >"$dir/console.log" 2>&1 9>&- &
  wait_until 5000 test -s "$dir/supervisor" || die "host $name did not start: $(cat "$dir/console.log")"
  system_state=none
  wait_until "$READY_MS" boot_is_over "$name" || true
  case "$system_state" in
    running) ;;
    degraded)
      say "$name is up, with failed units:"
      in_host "$name" systemctl --failed --no-legend --plain >&2 9>&- || true ;;
    *)
      tail -n 20 "$dir/console.log" "$dir/kmsg.log" >&2
      die "$name did not boot: its last state was '$system_state' (tenhost stop $name removes it)" ;;
  esac 
  say "$name is $system_state after $(($(now_ms) - begun)) ms: $(get "$name" suite)," \
    "cgroups $(get "$name" layout), net $(get "$name" net), pid $(init_pid "$name")"
}

ns_boot() {
  local name=${1:-} suite=${2:-} net=own layout=v2 deb='' persistent=no lower
  [ $# -ge 2 ] || die "usage: tenhost boot NAME SUITE [--net host|own] [--layout v2|hybrid|limits] [--deb FILE] [--persistent]"
  shift 2
  while [ $# -gt 0 ]; do
    case "$1" in
      --persistent) persistent=yes; shift; continue ;;
      --net | --layout | --deb) [ $# -ge 2 ] || die "$1 needs a value" ;;
    esac
    case "$1" in
      --net) net=$2 ;;
      --layout) layout=$2 ;;
      --deb) deb=$2 ;;
      *) die "unknown option '$1'" ;;
    esac
    shift 2
  done
  need_root
  check_name "$name"
  check_suite "$suite"
  case "$net" in host | own) ;; *) die "unknown --net '$net': use host or own" ;; esac
  [ -z "$deb" ] || [ -r "$deb" ] || die "cannot read $deb"
  layout=$(choose_layout "$layout")
  lower=$(prepare_root "$suite")
  lock_host "$name"
  [ ! -e "$RUN/$name" ] || die "there is a host '$name' already: tenhost stop $name, or reboot it"
  mkdir -p "$RUN/$name"
  put "$name" kind ns
  put "$name" suite "$suite"
  put "$name" net "$net"
  put "$name" layout "$layout"
  put "$name" persistent "$persistent"
  make_store "$name" "$lower"
  start_host "$name"
  [ -z "$deb" ] || install_deb "$deb" in_host "$name"
}

# halt_host NAME: ends the processes and removes the cgroups; the files stay. A systemd in working
# order gets the chance to stop its services; a broken one just ends.
halt_host() {
  local name=$1 pid
  if pid=$(init_pid "$name") && is_systemd "$pid"; then
    kill -s RTMIN+4 "$pid" 2>/dev/null || true
    wait_until "$STOP_MS" process_gone "$RUN/$name/init" || say "$name does not power off; killing it"
  fi
  kill_host "$name"
  remove_cgroups "$name"
}

# kill_host NAME: a crash, not a shutdown. The kernel kills everything in a PID namespace with its init.
kill_host() {
  kill_process "$RUN/$1/init"
  kill_process "$RUN/$1/supervisor"
}

ns_stop() {
  local name=$1 dir="$RUN/$1"
  halt_host "$name"
  # The only mount that a host has outside of its own namespace is the tmpfs of make_store.
  if mountpoint -q "$dir/store"; then umount "$dir/store"; fi
  rm -rf --one-file-system "$dir"
}

ns_reboot() {
  halt_host "$1"
  start_host "$1"
}

ns_exec() {
  local name=$1
  shift
  [ "${1:-}" != -- ] || shift
  [ $# -gt 0 ] || die "usage: tenhost exec NAME [--] COMMAND..."
  need_running "$name"
  enter_host "$name" "$@"
}

ns_cp() {
  [ $# -eq 3 ] || die "usage: tenhost cp NAME SOURCE DESTINATION"
  need_running "$1"
  copy_into "$2" "$3" in_host "$1"
}
