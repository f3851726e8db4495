# Virtual machine hosts: a kernel of their own, all cgroup v2 controllers, and a power cord to pull.
#
# A VM has its own disk, a sparse copy of the cached image, so a second boot from it finds what the
# guest had written to disk when the power was cut. Commands go over a virtio-serial port, see
# vm-agent.py: no network, no login, no keys.

# Without hardware virtualisation a boot takes about twenty seconds; a busy build machine, several times that.
VM_READY_MS=240000
VM_CALL_SECONDS="${TENEMENT_TEST_VM_TIMEOUT:-300}"
VM_PACKAGES="linux-image-cloud-$(dpkg --print-architecture 2>/dev/null || true) initramfs-tools"
VM_DISK=3G

vm_image_path() {
  local key
  key=$({ root_key "$1"; echo "$VM_PACKAGES $VM_DISK"; cat "$HERE/lib/vm-agent.py"; declare -f vm_settle; } \
    | sha256sum | cut -c1-12)
  echo "$CACHE/vm-$1-$key"
}

# vm_settle ROOT: what a root needs beyond that of a namespace host to be a machine.
vm_settle() {
  local root=$1
  settle_root "$root"
  echo '/dev/vda / ext4 defaults 0 1' >"$root/etc/fstab"
  mask "$root" serial-getty@ttyS0.service
  install -m 755 "$HERE/lib/vm-agent.py" "$root/usr/local/sbin/tenhost-agent"
  cat >"$root/etc/systemd/system/tenhost-agent.service" <<'UNIT'
[Unit]
Description=Command channel of the test host
# Early and late: it must answer while the boot is still under way, and until the very end of it.
DefaultDependencies=no
Requires=dev-virtio\x2dports-tenhost.device
After=systemd-remount-fs.service dev-virtio\x2dports-tenhost.device
StartLimitIntervalSec=0
[Service]
ExecStart=/usr/local/sbin/tenhost-agent serve /dev/virtio-ports/tenhost
Restart=always
RestartSec=100ms
[Install]
WantedBy=sysinit.target
UNIT
  mkdir -p "$root/etc/systemd/system/sysinit.target.wants"
  ln -s ../tenhost-agent.service "$root/etc/systemd/system/sysinit.target.wants/"
}

# vm_prepare SUITE: prints a directory with disk.img, kernel and initrd.
vm_prepare() {
  local suite=$1 path temp lock packages
  check_suite "$suite"
  path=$(vm_image_path "$suite")
  if ! [ -d "$path" ]; then
    need_root
    mkdir -p "$CACHE"
    exec {lock}>"$CACHE/.vm-$suite.lock"
    flock -n "$lock" || { say "another tenhost is building the $suite VM; waiting for it"; flock "$lock"; }
    if ! [ -d "$path" ]; then
      temp="$CACHE/.building-vm-$suite"
      rm -rf --one-file-system "$temp"
      mkdir -p "$temp"
      packages="$(host_packages) udev $VM_PACKAGES"
      say "building the $suite VM image (a minute or two, once)"
      debootstrap_into "$temp/root" "$suite" "$packages" >&2 || die "mmdebstrap failed for $suite"
      vm_settle "$temp/root"
      cp -L "$temp"/root/boot/vmlinuz-* "$temp/kernel"
      cp -L "$temp"/root/boot/initrd.img-* "$temp/initrd"
      rm -f "$temp"/root/boot/initrd.img-*
      mke2fs -q -t ext4 -d "$temp/root" "$temp/disk.img" "$VM_DISK" >&2
      rm -rf --one-file-system "$temp/root"
      mv -T "$temp" "$path"
      say "built $path ($(du -sh "$path" | cut -f1))"
    fi
    exec {lock}>&-
  fi
  echo "$path"
}

vm_call() {
  local name=$1 seconds=$2
  shift 2
  # Qemu serves one connection at a time; the lock makes a queue of concurrent callers.
  flock -w "$seconds" -E 255 "$RUN/$name/channel.lock" \
    python3 "$HERE/lib/vm-agent.py" call "$RUN/$name/channel" "$seconds" "$@"
}

vm_boot_is_over() {
  running "$1" || { system_state=dead; return 0; }
  system_state=$(vm_call "$1" 5 systemctl is-system-running 2>/dev/null </dev/null 9>&-) || true
  case "$system_state" in running | degraded | maintenance) ;; *) return 1 ;; esac
}

# vm_logged_disk DIR: a second disk (the guest's /dev/vdb) whose writes and flushes qemu also writes to
# DIR/data.log, in the format of dm-log-writes; DIR/data.base is the disk as it was at the boot. Its last
# megabyte lies outside the file system: there a workload notes what was acknowledged to it.
vm_logged_disk() {
  truncate -s 33M "$1/data.img"
  mke2fs -q -F -t ext4 -O ^resize_inode -E lazy_itable_init=0,lazy_journal_init=0 "$1/data.img" 32M
}

vm_qemu() {
  local dir="$RUN/$1" image=$2 qemu console=ttyS0 machine=() logged=() processors=(-accel tcg,thread=multi -smp 2)
  qemu="qemu-system-$(uname -m)"
  [ "$(uname -m)" = x86_64 ] || { console=ttyAMA0; machine=(-machine virt -cpu max); }
  command -v "$qemu" >/dev/null || die "no $qemu here: run $HERE/install-packages --vm"
  [ ! -e "$dir/data.img" ] || logged=(
    -blockdev "driver=file,node-name=data-file,filename=$dir/data.img"
    -blockdev "driver=file,node-name=log-file,filename=$dir/data.log"
    -blockdev "driver=raw,node-name=data,file=data-file"
    -blockdev "driver=raw,node-name=log,file=log-file"
    -blockdev "driver=blklogwrites,node-name=logged,file=data,log=log,log-super-update-interval=1"
    # The kernel names disks by their place on the bus; the root disk has an earlier one.
    -device "virtio-blk-pci,drive=logged,addr=0x1e")
  # --counted-clock: one instruction is two nanoseconds on one CPU, and idle time is skipped, so that a
  # latency measured in the guest does not depend on what else this machine does.
  [ "$(get "$1" clock)" != counted ] \
    || processors=(-accel tcg,thread=single -smp 1 -icount shift=1,sleep=off)
  # Plain emulation on purpose, even with a /dev/kvm: where that is itself virtual, guests may hang.
  # cache=writeback keeps the guest's flushes meaningful; kill -9 then loses only what it never synced.
  exec setsid "$qemu" "${machine[@]}" "${processors[@]}" -m 1024 -nographic -no-reboot \
    -nodefaults -serial "file:$dir/console.log" \
    -kernel "$image/kernel" -initrd "$image/initrd" \
    -append "root=/dev/vda rw console=$console systemd.hostname=$1" \
    -drive "file=$dir/disk.img,if=virtio,format=raw,cache=writeback" \
    "${logged[@]}" -device virtio-rng-pci -device virtio-serial-pci \
    -chardev "socket,id=channel,path=$dir/channel,server=on,wait=off" \
    -device virtserialport,chardev=channel,name=tenhost
}

vm_start() {
  local name=$1 dir="$RUN/$1" begun
  begun=$(now_ms)
  rm -f "$dir/init" "$dir/channel"
  : >"$dir/channel.lock"
  [ ! -e "$dir/data.img" ] || { cp --sparse=always "$dir/data.img" "$dir/data.base"; : >"$dir/data.log"; }
  vm_qemu "$name" "$(get "$name" image)" </dev/null >"$dir/qemu.log" 2>&1 9>&- &
  save_process "$dir/init" $!
  say "$name is booting (emulated, about 20 seconds)"
  system_state=none
  wait_until "$VM_READY_MS" vm_boot_is_over "$name" || true
  case "$system_state" in
    running) ;;
    degraded)
      say "$name is up, with failed units:"
      vm_call "$name" 30 systemctl --failed --no-legend --plain >&2 </dev/null || true ;;
    *)
      tail -n 20 "$dir/qemu.log" "$dir/console.log" >&2 || true
      die "$name did not boot: its last state was '$system_state' (tenhost stop $name removes it)" ;;
  esac
  say "$name is $system_state after $(($(now_ms) - begun)) ms: VM, $(get "$name" suite), qemu pid $(init_pid "$name")"
}

vm_boot() {
  local name=${1:-} suite='' deb='' image logged='' clock=machine
  [ $# -ge 1 ] || die "usage: tenhost vm-boot NAME [SUITE] [--deb FILE] [--logged-disk] [--counted-clock]"
  shift
  while [ $# -gt 0 ]; do
    case "$1" in
      --deb) [ $# -ge 2 ] || die "--deb needs a value"; deb=$2; shift 2 ;;
      --logged-disk) logged=1; shift ;;
      --counted-clock) clock=counted; shift ;;
      -*) die "unknown option '$1'" ;;
      *) suite=$1; shift ;;
    esac
  done
  check_name "$name"
  need_root
  [ -z "$deb" ] || [ -r "$deb" ] || die "cannot read $deb"
  if [ -e "$RUN/$name" ]; then
    lock_host "$name"
    [ "$(get "$name" kind)" = vm ] && [ -e "$RUN/$name/disk.img" ] \
      || die "there is a host '$name' already, and it is no VM that could boot again: tenhost stop $name"
    ! running "$name" || die "$name is running"
  else
    [ -n "$suite" ] || die "there is no VM '$name' yet, so say which suite it is to be"
    image=$(vm_prepare "$suite")
    lock_host "$name"
    [ ! -e "$RUN/$name" ] || die "there is a host '$name' already"
    mkdir -p "$RUN/$name"
    put "$name" kind vm
    put "$name" suite "$suite"
    put "$name" clock "$clock"
    put "$name" image "$image"
    # Renamed when complete, so that a copy cut short is never taken for the disk of an earlier boot.
    cp --sparse=always --reflink=auto "$image/disk.img" "$RUN/$name/disk.part"
    mv "$RUN/$name/disk.part" "$RUN/$name/disk.img"
    [ -z "$logged" ] || vm_logged_disk "$RUN/$name"
  fi
  vm_start "$name"
  [ -z "$deb" ] || install_deb "$deb" vm_call "$name" "$VM_CALL_SECONDS"
}

vm_exec() {
  local name=$1
  shift
  [ "${1:-}" != -- ] || shift
  [ $# -gt 0 ] || die "usage: tenhost vm-exec NAME [--] COMMAND..."
  need_running "$name"
  vm_call "$name" "$VM_CALL_SECONDS" "$@"
}

vm_cp() {
  [ $# -eq 3 ] || die "usage: tenhost vm-cp NAME SOURCE DESTINATION"
  need_running "$1"
  copy_into "$2" "$3" vm_call "$1" "$VM_CALL_SECONDS"
}

vm_remove() {
  kill_process "$RUN/$1/init"
  rm -rf --one-file-system "${RUN:?}/$1"
}
