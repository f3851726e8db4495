# The cached root file systems: built once per suite and package list, then shared read-only by all
# hosts of that suite as the lower layer of an overlay.

host_packages() { sed -e 's/#.*//' "$HERE/packages.list" | tr -s ' \n' ' ' | sed -e 's/^ //' -e 's/ $//'; }

# The key covers everything that shapes the root, the code that makes it included, so that an edit of
# the list or of a function never meets a stale cache (and an edit of a comment never rebuilds).
root_key() {
  { echo "$1 $(uname -m)"; host_packages; declare -f debootstrap_into settle_root mask; } \
    | sha256sum | cut -c1-12
}

root_path() { echo "$CACHE/$1-$(root_key "$1")"; }

# mmdebstrap without a mirror uses Debian's default one, with updates and security. A machine whose
# own apt uses another Debian mirror (an offline site, a company) has a reason to, so use the same.
local_mirror() {
  apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null \
    | awk '$1 == "Debian" && $2 !~ /-security|debug/ && !seen++ { sub("/$", "", $2); print $2 }'
}

# Likewise a proxy that the machine's apt was told about.
proxy_options() {
  local scheme url
  for scheme in http https; do
    url=$(apt-config shell url "Acquire::$scheme::Proxy" 2>/dev/null) || continue
    [ -n "$url" ] || continue
    eval "$url"
    printf -- '--aptopt=Acquire::%s::Proxy "%s"\n' "$scheme" "$url"
  done
}

# debootstrap_into DIR SUITE PACKAGES: runs mmdebstrap, and once more with its own default mirror when
# the machine's mirror does not carry the suite.
debootstrap_into() {
  local dir=$1 suite=$2 packages=$3 mirror options=()
  mapfile -t options < <(proxy_options)
  options+=(--variant=minbase --include="${packages// /,}"
    # Documentation and translations are never read in a test host, and are a third of its files.
    --dpkgopt=path-exclude=/usr/share/man/* --dpkgopt=path-exclude=/usr/share/locale/*
    --dpkgopt=path-exclude=/usr/share/doc/*)
  mirror=$(local_mirror) || mirror=
  if [ -n "$mirror" ] && ! [[ "$mirror" =~ ^https?://deb\.debian\.org/ ]]; then
    mmdebstrap "${options[@]}" "$suite" "$dir" "$mirror" && return 0
    say "the machine's own mirror could not serve $suite; trying Debian's default"
    rm -rf --one-file-system "$dir"
  fi
  mmdebstrap "${options[@]}" "$suite" "$dir"
}

mask() {
  local root=$1 unit
  shift
  for unit in "$@"; do ln -sf /dev/null "$root/etc/systemd/system/$unit"; done
}

# settle_root DIR: makes the root boot fast and quietly, and forget the machine that built it.
settle_root() {
  local root=$1
  # The hosts install packages offline, as a user does from a file; stale lists only cost space.
  rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/var/log/apt
  rm -f "$root/etc/resolv.conf" "$root/etc/hostname"
  # Nothing periodic, nothing that asks for a terminal, nothing that touches the machine's own clock,
  # devices or network.
  mask "$root" apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    e2scrub_reap.service fstrim.timer getty.target console-getty.service systemd-resolved.service \
    systemd-networkd.service systemd-networkd.socket systemd-timesyncd.service systemd-oomd.service \
    systemd-oomd.socket systemd-networkd-wait-online.service systemd-firstboot.service \
    systemd-pcrphase.service systemd-pcrphase-sysinit.service
  mkdir -p "$root/etc/systemd/journald.conf.d"
  # Rate limiting off: a test that floods the log wants to find each line again.
  printf '[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\n' \
    >"$root/etc/systemd/journald.conf.d/10-tenhost.conf"
  printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"
}

# prepare_root SUITE: prints the path of the cached root, building it first if need be. Two callers
# never build twice (lock), and nobody ever sees a half-built root (rename at the end).
prepare_root() {
  local suite=$1 path temp lock
  check_suite "$suite"
  path=$(root_path "$suite")
  if ! [ -d "$path" ]; then
    need_root
    mkdir -p "$CACHE"
    exec {lock}>"$CACHE/.$suite.lock"
    flock -n "$lock" || { say "another tenhost is building $suite; waiting for it"; flock "$lock"; }
    if ! [ -d "$path" ]; then
      temp="$CACHE/.building-$suite"
      # What is left here is from a builder that died: the lock says that none is alive.
      rm -rf --one-file-system "$temp"
      say "building the $suite root (about half a minute, once): $(host_packages)"
      debootstrap_into "$temp" "$suite" "$(host_packages)" >&2 || die "mmdebstrap failed for $suite"
      settle_root "$temp"
      mv -T "$temp" "$path"
      say "built $path ($(du -sh "$path" | cut -f1))"
    fi
    exec {lock}>&-
  fi
  echo "$path"
}
