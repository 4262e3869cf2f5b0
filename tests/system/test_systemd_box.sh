#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The box itself: what is in it is not this machine, and nothing of it is left when the test that
# booted it is killed.
# Usage: test_systemd_box.sh BUILD-DIRECTORY
if [ -n "${SHM_BOX_LOOK-}" ]; then
    # shellcheck source=tests/system/box.sh
    . "$(dirname "$0")/box.sh"
    box_up
    inside touch /etc/touched /run/touched /tmp/touched
    inside hostname boxed
    inside perl -e 'shmget(0x0b0b0b0b, 4096, 01600) // die "$!"'
    ok "what runs in it is gone when it is halted" box_down
    box_up
    ok "its disk outlives that" inside test -e /etc/touched
    ok "its memory does not" says 1 '' inside test -e /run/touched
    ok "nor do its segments" says 0 '^0$' inside sh -c 'ipcs -m | grep -c 0x0b0b0b0b || :'
    echo "$SHM_BOX" >"$SHM_BOX_LOOK"
    inside sleep 1000
fi

# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"
[ "$(id -u)" -eq 0 ] || { echo "no systemd can be booted here: it takes root"; exit 77; }
host=$(hostname)
SHM_BOX_LOOK=$work/box TMPDIR=$work setsid "$0" "$build" >"$work/said" 2>&1 &
child=$!
children+=("$child")
told() { [ -s "$work/box" ] || ! kill -0 "$child" 2>/dev/null; }
await 60 told
if [ ! -s "$work/box" ]; then
    status=0
    wait "$child" || status=$?
    cat "$work/said"
    exit "$status"
fi
cat "$work/said"
box=$(<"$work/box")
box_name=${box##*/}
ok "this machine has another name" [ "$(hostname)" = "$host" ]
ok "this machine's files are as they were" [ ! -e /etc/touched ]
ok "and its mounts" says 1 '' grep -q "$box_name" /proc/self/mounts
mkdir "$work/cgroup"
listed() { # as each mount namespace shows it
    unshare --mount "$BASH" -c 'mount -t cgroup2 look "$1" && find "$1" -name "$2" | grep -q .' - \
        "$work/cgroup" "$box_name"
}
ok "it has a cgroup" listed
running() { grep -lqs "SHM_BOX=$box" /proc/[0-9]*/environ; }
ok "and processes" running
{ kill -KILL "$child" && wait "$child"; } 2>/dev/null || :
gone() { ! running && [ ! -e "$box" ] && ! listed; }
ok "all of it is gone when its test is killed" await 30 gone
