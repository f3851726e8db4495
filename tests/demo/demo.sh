#!/bin/bash
# Shows tenement on a throwaway host: instances wake on request, fall asleep, and wake again.
#   tests/demo/demo.sh           stays until Ctrl-C, so that a browser can try the URLs
#   CHECK=1 tests/demo/demo.sh   doesn't wait, and fails if anything went wrong
# `make demo` builds the package and the static app first. SUITE=trixie takes Debian 13.
set -euo pipefail
cd "$(dirname "$0")/../.."

SUITE=${SUITE:-bookworm}
CHECK=${CHECK:-}
HOST=tenement-demo
TENHOST=(tests/host/tenhost)
# A host is made of mounts and namespaces, which takes root.
[ "$(id -u)" = 0 ] || TENHOST=(sudo -E "${TENHOST[@]}")
TARGET=${CARGO_TARGET_DIR:-target}
WAIT_SECONDS=60
FAILED=0
WORK=
PAUSE=

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' plain=$'\e[0m'
else
    bold='' dim='' red='' plain=''
fi
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
fail() { FAILED=1; printf '%sFAILED: %s%s\n' "$red" "$*" "$plain" >&2; }
die() { fail "$@"; exit 1; }
inside() { "${TENHOST[@]}" exec "$HOST" -- "$@"; }
show() { printf '%s$ %s%s\n' "$dim" "$*" "$plain"; inside "$@" || fail "$*"; }

cleanup() {
    local status=$?
    trap - EXIT INT TERM
    # Ctrl-C while it waits is how the demo ends.
    [ -z "$PAUSE" ] || { kill "$PAUSE" 2>/dev/null; status=0; }
    if [ "$status" != 0 ] || [ "$FAILED" != 0 ]; then
        inside journalctl --no-pager -n 40 -u tenement.service -u tenement-unitd.service -u 'ten-*' >&2 || true
        [ "$status" != 0 ] || status=1
    fi
    say "Cleaning up: the host and all in it go away"
    "${TENHOST[@]}" stop "$HOST" || status=1
    rm -rf "$WORK"
    exit "$status"
}

# A port that nobody on this machine listens on, since the demo's host shares the machine's network.
free_port() {
    local port
    for port in 8080 8081 8082 8090 8888 18080; do
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
    return 1
}

# wait_until WHAT COMMAND...: until the command succeeds, with a bound.
wait_until() {
    local what=$1 until=$((SECONDS + WAIT_SECONDS))
    shift
    until "$@"; do
        if [ "$SECONDS" -ge "$until" ]; then
            fail "$what: not within $WAIT_SECONDS s"
            return 1
        fi
        sleep 0.2
    done
}

# request HOSTNAME TEXT: one request, its status, time and how it was served; TEXT must be in the body.
request() {
    local host=$1.localhost body headers line
    body=$WORK/body headers=$WORK/headers
    line=$(curl --silent --show-error --max-time 30 --resolve "$host:$PORT:127.0.0.1" \
        --output "$body" --dump-header "$headers" --write-out '%{http_code} in %{time_total} s' \
        "http://$host:$PORT/" 2>&1) || { fail "$host: $line"; return 0; }
    printf '  %-24s %s   %s\n' "$host" "$line" "$(tr -d '\r' <"$headers" | grep -i '^x-tenement-wake' || true)"
    case $line in
    200*) grep -q "$2" "$body" || fail "$host: the answer has no “$2”" ;;
    *) fail "$host: $line: $(head -c 300 "$body")" ;;
    esac
}

served() { # cold|hot
    grep -qi "^x-tenement-wake: *$1" "$WORK/headers" || fail "expected the last answer to be $1"
}

# Those that wait parked have a unit that is active, so the agent is asked.
all_asleep() {
    [ "$(inside ten ps --json | grep -c '"state": *"asleep"')" = 4 ]
}

wake_all() {
    request alice.notes "Notes of alice"; served cold
    request bob.notes "Notes of bob"; served cold
    request demo.web "Hello from Node"; served cold
    request one.hello "hello from one"; served cold
}

# Reads the config that matches PORT, and makes tenement.socket listen there.
configure() {
    sed "s/@PORT@/$PORT/" tests/demo/tenement.toml >"$WORK/tenement.toml"
    "${TENHOST[@]}" cp "$HOST" "$WORK/tenement.toml" /etc/tenement/tenement.toml
    inside chown root:root /etc/tenement/tenement.toml
    inside chmod 0644 /etc/tenement/tenement.toml
    if [ "$PORT" != 8080 ]; then
        inside sh -c "mkdir -p /etc/systemd/system/tenement.socket.d &&
            printf '[Socket]\nListenStream=\nListenStream=$PORT\n' >/etc/systemd/system/tenement.socket.d/port.conf &&
            systemctl daemon-reload && systemctl stop tenement.service && systemctl restart tenement.socket"
    fi
    inside systemctl restart tenement.service
}

main() {
    WORK=$(mktemp -d)
    trap cleanup EXIT
    trap 'exit 130' INT TERM
    local deb
    deb=$(ls -t "${TENEMENT_DEB_DIR:-$TARGET/deb}"/tenement_*.deb | head -n 1) || die "no package: run make deb"
    PORT=$(free_port) || die "no free port among 8080-8888 and 18080"

    say "Booting a throwaway $SUITE with a real systemd (its first build takes a minute)"
    "${TENHOST[@]}" stop "$HOST" >/dev/null 2>&1 || true
    "${TENHOST[@]}" prepare "$SUITE" >/dev/null
    "${TENHOST[@]}" boot "$HOST" "$SUITE" --net host

    say "Installing $(basename "$deb"), as a user does"
    inside mkdir -p /opt/demo
    "${TENHOST[@]}" cp "$HOST" "$deb" /root/tenement.deb
    inside apt-get install --yes --quiet=2 -o Dpkg::Use-Pty=0 /root/tenement.deb || die "the package does not install"
    "${TENHOST[@]}" cp "$HOST" tests/apps/notes /opt/demo/notes
    "${TENHOST[@]}" cp "$HOST" tests/apps/node-hello /opt/demo/node-hello
    "${TENHOST[@]}" cp "$HOST" "$TARGET/apps/hello-static" /opt/demo/hello-static
    inside chmod -R a+rX /opt/demo
    inside chmod 0755 /opt/demo/hello-static
    configure
    show ten version

    say "Four instances: Python twice, Node, and a static binary. All asleep, costing nothing"
    for instance in notes:alice notes:bob web:demo hello:one; do show ten spawn --no-start "$instance"; done
    show ten ps

    say "A first request wakes each"
    wake_all
    say "The second finds it awake"
    request alice.notes "Notes of alice"; served hot
    curl --silent --output /dev/null --resolve "alice.notes.localhost:$PORT:127.0.0.1" \
        --data-urlencode "note=Water the plants" "http://alice.notes.localhost:$PORT/" || fail "adding a note"
    show ten ps
    show systemctl list-units --no-pager 'ten-*'

    say "Nobody asks for 5 seconds: they fall asleep"
    local since=$SECONDS
    wait_until "all asleep again" all_asleep && printf '  all asleep after %s s\n' "$((SECONDS - since))"
    show ten ps

    say "And the next request wakes them again; the note is still there"
    wake_all
    request alice.notes "Water the plants"

    [ "$FAILED" = 0 ] || die "see above"
    if [ -n "$CHECK" ]; then
        say "Everything worked"
        return
    fi
    say "Try it in this machine's browser; Ctrl-C ends it all"
    printf '  http://%s.localhost:%s/\n' alice.notes "$PORT" bob.notes "$PORT" demo.web "$PORT" one.hello "$PORT"
    printf '  look inside: %s exec %s -- bash\n' "${TENHOST[*]}" "$HOST"
    sleep infinity &
    PAUSE=$!
    wait "$PAUSE"
}

main
