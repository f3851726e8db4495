#!/bin/bash
# The way into a namespace host: three stages, each replacing the one before by exec.
#
#   enter      joins the host's cgroups, so that the new cgroup namespace is rooted there
#   supervise  steps out of them again and starts the host's first process in new namespaces
#   init       PID 1 of the host: builds its mounts, pivots into them, becomes systemd
#
# Runs detached from tenhost. All that goes wrong here is in the state directory's console.log.
set -euo pipefail
stage=$1 dir=$2
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=SCRIPTDIR/common.sh
. "$HERE/lib/common.sh"
own() { cat "$dir/$1"; }

enter() {
  local options cgroup fd
  save_process "$dir/supervisor" "$$"
  # Whoever called may have left pipes open that its own caller reads to the end.
  for fd in /proc/$$/fd/*; do
    fd=${fd##*/}
    [ "$fd" -le 2 ] || [ "$fd" -eq 255 ] || eval "exec $fd>&-"
  done
  while IFS=$'\t' read -r options cgroup; do
    echo $$ >"$cgroup/payload/cgroup.procs"
  done <"$dir/cgroups"
  exec unshare --cgroup "$BASH" "$0" supervise "$dir"
}

supervise() {
  local options cgroup net=()
  [ "$(own net)" = host ] || net=(--net)
  while IFS=$'\t' read -r options cgroup; do
    # Only v2 minds a process in an inner cgroup, see cgroup.sh.
    [ "$options" != - ] || echo $$ >"$cgroup/supervisor/cgroup.procs"
  done <"$dir/cgroups"
  # kill-child ties the host to this process: killing either one ends both.
  exec unshare --fork --kill-child --pid --mount --uts --ipc "${net[@]}" "$BASH" "$0" init "$dir"
}

mount_root() {
  local root=$1
  if [ "$(own mode)" = overlay ]; then
    mount -t overlay tenement-test "$root" \
      -o "lowerdir=$(own lower),upperdir=$dir/store/upper,workdir=$dir/store/work"
  else
    mount --bind "$dir/store/copy" "$root"
  fi
}

mount_kernel() {
  local root=$1
  mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
  mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
  mount -t tmpfs -o mode=755,nosuid,nodev tmpfs "$root/run"
  mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/tmp"
  # Systemd raises sysctls as it boots, and most of them are the machine's, not the host's. Read-only
  # keeps them as they are; those of its own network are its own.
  mount --bind "$root/proc/sys" "$root/proc/sys"
  [ "$(own net)" = host ] || mount --bind "$root/proc/sys/net" "$root/proc/sys/net"
  mount -o remount,bind,ro "$root/proc/sys"
  if [ -e "$root/proc/sysrq-trigger" ]; then
    mount --bind "$root/proc/sysrq-trigger" "$root/proc/sysrq-trigger"
    mount -o remount,bind,ro "$root/proc/sysrq-trigger"
  fi
}

mount_devices() {
  local root=$1 node
  mount -t tmpfs -o mode=755,nosuid tmpfs "$root/dev"
  # Bound, not made with mknod, because that also works where a container forbids new device nodes.
  for node in null zero full random urandom tty; do
    : >"$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
  done
  # A plain file in place of the kernel log: the first words of a systemd that does not come up are
  # found in the state directory, and nothing is written to the machine's own kernel log.
  : >"$root/dev/kmsg"
  mount --bind "$dir/kmsg.log" "$root/dev/kmsg"
  mkdir "$root/dev/pts" "$root/dev/shm"
  mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
  mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/dev/shm"
  ln -s pts/ptmx "$root/dev/ptmx"
  ln -s /proc/self/fd "$root/dev/fd"
  ln -s /proc/self/fd/0 "$root/dev/stdin"
  ln -s /proc/self/fd/1 "$root/dev/stdout"
  ln -s /proc/self/fd/2 "$root/dev/stderr"
}

mount_cgroups() {
  local base="$1/sys/fs/cgroup" options cgroup
  if [ "$(own layout)" = v2 ]; then
    mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$base"
    return
  fi
  mount -t tmpfs -o mode=755,nosuid,nodev,noexec tmpfs "$base"
  while IFS=$'\t' read -r options cgroup; do
    case "$options" in
      -)
        mkdir "$base/unified"
        mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$base/unified" ;;
      name=systemd)
        mkdir "$base/systemd"
        mount -t cgroup -o nosuid,nodev,noexec,none,name=systemd cgroup "$base/systemd" ;;
      *)
        mkdir "$base/$options"
        mount -t cgroup -o "nosuid,nodev,noexec,$options" cgroup "$base/$options" ;;
    esac
  done <"$dir/cgroups"
}

# What differs between hosts of one root. The second boot of a host finds what the first one wrote.
write_identity() {
  local root=$1 name
  name=$(basename "$dir")
  echo "$name" >"$root/etc/hostname"
  printf '127.0.0.1 localhost %s\n::1 localhost\n' "$name" >"$root/etc/hosts"
  # With an id there is no first-boot logic to run, and the journal of a reboot has the same owner.
  [ -s "$root/etc/machine-id" ] || tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
  if [ "$(own persistent)" = yes ]; then
    printf '[Journal]\nStorage=persistent\n' >"$root/etc/systemd/journald.conf.d/20-tenhost.conf"
  fi
  # On the machine's network the host may also use its resolver; on its own it has nobody to ask.
  [ "$(own net)" != host ] || cp -L /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true
  echo "$name" >/proc/sys/kernel/hostname
}

init() {
  local root="$dir/root" pid rest options cgroup
  # This /proc is still the machine's, so it gives the PID by which tenhost knows this process.
  read -r pid rest </proc/self/stat
  save_process "$dir/init" "$pid"
  # Back into the payload, which this process sees as the root of its cgroup namespace.
  while IFS=$'\t' read -r options cgroup; do
    echo 0 >"$cgroup/payload/cgroup.procs"
  done <"$dir/cgroups"
  mount_root "$root"
  write_identity "$root"
  mount_kernel "$root"
  mount_devices "$root"
  mount_cgroups "$root"
  [ "$(own net)" = host ] || ip link set lo up
  # A real PID 1 starts with the kernel's own limit on open files; a caller in a container may be held
  # to far less, and then neither the bus nor a thousand sockets would fit.
  ulimit -Hn "$(cat /proc/sys/fs/nr_open)" 2>/dev/null || true
  cd "$root"
  pivot_root . .
  umount -l .
  cd /
  # As container managers do for theirs: systemd itself makes mounts shared on a real machine only, and
  # a credential's mount reaches its service from a helper's namespace.
  mount --make-rshared /
  # shellcheck disable=SC2086 # A list of words.
  exec $CONFINED \
    env -i container=tenement-test /lib/systemd/systemd --system
}

case "$stage" in enter | supervise | init) "$stage" ;; esac
