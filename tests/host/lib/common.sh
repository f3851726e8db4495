# Shared by every part of tenhost: messages, paths, the on-disk state of a host, process identity.

# Administrators' tools live in the sbin directories, which sudo and cron sometimes leave out.
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

CACHE="${TENEMENT_TEST_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/tenement/hosts}"
RUN="${TENEMENT_TEST_RUN:-/run/tenement-test}"

say() { printf 'tenhost: %s\n' "$*" >&2; }
die() { printf 'tenhost: %s\n' "$*" >&2; exit 1; }

# A host is root on this machine's kernel, and has no business with its clock, modules or hardware.
# Everything that enters a host goes through this, also `tenhost exec`: what nsenter starts would else
# have all the powers of its caller, and a test that sets the date would set the machine's.
CONFINED="setpriv --bounding-set -sys_module,-sys_rawio,-sys_time,-wake_alarm,-sys_boot,-syslog"

need_root() { [ "$(id -u)" -eq 0 ] || die "this needs root (namespaces, mounts, cgroups): try sudo"; }

# A host's name becomes a directory, a hostname and a cgroup, so it is held to what all three allow.
check_name() {
  [[ "$1" =~ ^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$ ]] \
    || die "bad host name '$1': use a-z, 0-9 and '-', at most 32 characters"
}

check_suite() {
  case "$1" in
    bookworm | trixie) ;;
    *) die "unknown suite '$1': use bookworm or trixie" ;;
  esac
}

# The clock in milliseconds, for bounds and for the times that are reported.
now_ms() { local t=$EPOCHREALTIME; t=${t/[.,]/}; echo $((t / 1000)); }

# wait_until LIMIT_MS COMMAND...: polls the command in short intervals; fails when the time is up.
wait_until() {
  local end=$(($(now_ms) + $1))
  shift
  until "$@"; do
    [ "$(now_ms)" -lt "$end" ] || return 1
    sleep 0.02
  done
}

# A PID alone does not name a process, because the kernel reuses it; with the start time it does.
# Field 22 is counted from behind the command name, which may hold blanks and parentheses.
start_time() {
  local stat
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
  # shellcheck disable=SC2086 # The split into words is the point.
  set -- ${stat##*) }
  # A zombie is dead for our purposes: nobody may ever reap it in a container without an init.
  [ "$1" != Z ] || return 1
  echo "${20}"
}

# save_process FILE PID and process_of FILE: remember a process; print its PID while it lives.
save_process() { echo "$2 $(start_time "$2")" >"$1"; }
process_of() {
  local pid start
  { read -r pid start <"$1"; } 2>/dev/null || return 1
  [ -n "$start" ] && [ "$(start_time "$pid")" = "$start" ] || return 1
  echo "$pid"
}
process_gone() { ! process_of "$1" >/dev/null; }

# kill_process FILE: SIGKILL, then wait until the kernel has really let go of it.
kill_process() {
  local pid
  pid=$(process_of "$1") || return 0
  kill -KILL "$pid" 2>/dev/null || true
  wait_until 10000 process_gone "$1" || { say "process $pid does not die"; return 1; }
}

# The state of a host is a directory of one-word files: readable by people, safe to write piecemeal,
# and still meaningful when whoever was making the host died half-way.
state_dir() { echo "$RUN/$1"; }
get() { cat "$RUN/$1/$2" 2>/dev/null; }
put() { printf '%s\n' "$3" >"$RUN/$1/$2"; }

# One caller at a time may change a given host. The lock goes away with the caller, however it dies;
# daemons that are started meanwhile close descriptor 9, or they would hold it for their lifetime.
lock_host() {
  mkdir -p "$RUN"
  exec 9>"$RUN/.$1.lock"
  flock -w 120 9 || die "host $1 is being changed by another tenhost"
}

# copy_into SOURCE DESTINATION RUNNER...: copies a file, or the contents of a directory, with a runner
# that executes a command inside of a host. It goes through the host's own eyes on purpose: below
# /proc/PID/root an absolute symlink such as /var/run would lead back into the machine itself.
copy_into() {
  local source=$1 destination=$2
  shift 2
  # The $ in single quotes are for the shell inside.
  # shellcheck disable=SC2016
  if [ -d "$source" ]; then
    tar -C "$source" -c . | "$@" sh -c 'mkdir -p "$0" && tar -C "$0" -x --no-same-owner' "$destination"
  else
    "$@" sh -c 'to=$0; [ ! -d "$to" ] || to=$to/$2; cat >"$to" && chmod "$1" "$to"' \
      "$destination" "$(stat -L -c %a "$source")" "$(basename "$source")" <"$source"
  fi
}

# install_deb FILE RUNNER...: as a user does it, but without a network and without package lists.
install_deb() {
  local file=$1 inside
  inside="/var/tmp/$(basename "$file")"
  shift
  say "installing $(basename "$file")"
  copy_into "$file" "$inside" "$@" 9>&-
  "$@" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
    -o Dpkg::Use-Pty=0 "$inside" >&2 </dev/null 9>&-
}
