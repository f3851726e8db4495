# The cgroup trees of a namespace host: found, made before the boot, and removed after the stop.
#
# Each host gets a directory of its own in each hierarchy and sees it as the root (cgroup namespace),
# so any number of hosts run side by side and none can touch the machine's own cgroups:
#
#   <v2 mount>/tenement-test.NAME/supervisor       the unshare process, outside of the host
#   <v2 mount>/tenement-test.NAME/payload          "/" as the host sees it
#   <v2 mount>/tenement-test.NAME/payload/tenhost.exec   what `tenhost exec` runs
#
# The supervisor needs a place beside the payload: cgroup v2 does not give controllers to children
# of a cgroup that has processes itself, and the payload must be able to do that.

# Lists "TYPE<tab>OPTIONS<tab>MOUNTPOINT<tab>ROOT" per hierarchy, each once even if mounted twice.
cgroup_mounts() {
  awk '{
    for (i = 7; $i != "-"; i++) { }
    type = $(i + 1); options = $(i + 3)
    if (type != "cgroup" && type != "cgroup2") next
    # Only the controllers, or the name, tell which v1 hierarchy this is.
    n = split(options, all, ","); kept = ""
    for (k = 1; k <= n; k++)
      if (all[k] !~ /^(rw|ro|xattr|nsdelegate|memory_recursiveprot|memory_localevents|clone_children|favordynmods|release_agent=.*)$/)
        kept = kept (kept == "" ? "" : ",") all[k]
    if (type == "cgroup2") kept = "-"
    if (!seen[type kept]++) print type "\t" kept "\t" $5 "\t" $4
  }' /proc/self/mountinfo
}

# A reader that leaves early would end the writer by SIGPIPE, and with pipefail that is an error; so
# here as everywhere, the reader reads to the end.
v2_mount() { cgroup_mounts | awk -F'\t' '$1 == "cgroup2" && !seen++ { print $3 }'; }

# v1_cgroups: "OPTIONS<tab>DIRECTORY" for each v1 hierarchy that a systemd of the hybrid layout uses,
# DIRECTORY being this process's own cgroup there, so that limits set on the caller hold for the host.
v1_cgroups() {
  local type options mount root own
  while IFS=$'\t' read -r type options mount root; do
    [ "$type" = cgroup ] || continue
    case ",$options," in
      *,name=systemd,* | *,memory,* | *,cpu,* | *,cpuacct,* | *,pids,* | *,blkio,* | *,devices,*) ;;
      # A new cpuset is born without CPUs, and systemd has no use for the others on v1.
      *) continue ;;
    esac
    own=$(awk -F: -v want="$options" '$2 == want { sub("^[^:]*:[^:]*:", ""); print; exit }' /proc/self/cgroup)
    # In a container the mount shows only a part of the tree, and the path counts from the real root.
    [ "$root" = / ] || own="${own#"$root"}"
    [ -d "$mount$own" ] || own=
    printf '%s\t%s\n' "$options" "$mount${own%/}"
  done < <(cgroup_mounts)
}

# choose_layout WANTED: turns "limits" (whatever can enforce MemoryMax here) into a real layout.
choose_layout() {
  local v2
  v2=$(v2_mount)
  [ -n "$v2" ] || die "no cgroup v2 hierarchy is mounted on this machine"
  case "$1" in
    v2) echo v2 ;;
    limits) if grep -qw memory "$v2/cgroup.controllers"; then echo v2; else choose_layout hybrid; fi ;;
    hybrid)
      v1_cgroups | grep '^name=systemd' >/dev/null \
        || die "no hybrid layout here: the machine has no cgroup v1 hierarchy name=systemd"
      echo hybrid ;;
    *) die "unknown layout '$1': use v2, hybrid or limits" ;;
  esac
}

# make_cgroups NAME LAYOUT: makes the directories and writes them to the state, one per line as
# "OPTIONS<tab>DIRECTORY", the v2 one with "-" as its options. Recorded before they are made, so
# that a death in between leaves nothing that stop does not know of.
make_cgroups() {
  local name=$1 layout=$2 v2 own options dir controller
  v2=$(v2_mount)
  own="$v2/tenement-test.$name"
  {
    printf -- '-\t%s\n' "$own"
    [ "$layout" != hybrid ] || v1_cgroups | sed "s:\$:/tenement-test.$name:"
  } >"$RUN/$name/cgroups"
  while IFS=$'\t' read -r options dir; do
    mkdir -p "$dir/payload"
  done <"$RUN/$name/cgroups"
  mkdir -p "$own/supervisor" "$own/payload/tenhost.exec"
  # Hand down each controller that v2 has here; a container may not be allowed to, and then the host
  # simply has fewer. Systemd inside does the same for its own children.
  for controller in $(cat "$v2/cgroup.controllers"); do
    for dir in "$v2" "$own"; do
      { echo "+$controller" >"$dir/cgroup.subtree_control"; } 2>/dev/null || true
    done
  done
}

# kill_cgroups NAME: the last resort for processes that the state does not know by PID.
kill_cgroups() {
  local options dir procs pid
  while IFS=$'\t' read -r options dir; do
    [ -d "$dir" ] || continue
    while read -r procs; do
      while read -r pid; do
        [ "$pid" = 0 ] || kill -KILL "$pid" 2>/dev/null || true
      done 2>/dev/null <"$procs"
    done < <(find "$dir" -name cgroup.procs)
  done < <(get "$1" cgroups)
}

# A cgroup can be removed a moment after its last process is gone, hence the caller's retries.
try_remove_cgroups() {
  local options dir left=0
  while IFS=$'\t' read -r options dir; do
    [ -d "$dir" ] || continue
    find "$dir" -depth -type d -exec rmdir {} \; 2>/dev/null
    [ -d "$dir" ] && left=1
  done < <(get "$1" cgroups)
  return "$left"
}

remove_cgroups() {
  try_remove_cgroups "$1" && return 0
  kill_cgroups "$1"
  wait_until 10000 try_remove_cgroups "$1" || say "some cgroups of $1 could not be removed"
}
