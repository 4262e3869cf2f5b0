#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A container's root is an overlay, which maps another file than the one that was locked: no lease
# would last there.  The manager says so at its start, and leaves nothing behind.
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/harness.sh"
unshare --mount true 2>/dev/null || { echo "no file system can be mounted here"; exit 77; }
if [ -z "${SHM_TEST_MOUNTS-}" ]; then
    SHM_TEST_MOUNTS=1 unshare --mount "$0" "$@" || exit
    exit 0
fi

mounts() {
    mkdir "$work/tmpfs" "$work/overlay" && mount -t tmpfs tmpfs "$work/tmpfs" &&
        mkdir "$work/tmpfs/lower" "$work/tmpfs/upper" "$work/tmpfs/work" &&
        mount -t overlay overlay "$work/overlay" \
            -o "lowerdir=$work/tmpfs/lower,upperdir=$work/tmpfs/upper,workdir=$work/tmpfs/work"
}
unmount() {
    local status=$?
    set +e
    umount -q "$work/overlay"
    umount -q "$work/tmpfs"
    (exit "$status")
    clean_up
}
trap unmount EXIT
mounts 2>/dev/null || { echo "no overlay can be mounted here"; exit 77; }

starts_at() { # DIRECTORY
    SHMC_RUNTIME_DIR=$1
    start_manager && shmtool destroy --yes >/dev/null && { wait "$manager" || :; } && manager=''
}
segments() { ipcs -m | grep -c '^0x' || :; }

before=$(segments)
SHMC_RUNTIME_DIR=$work/overlay
ok "an overlay is refused, with the remedy" \
    says 1 'leases: no lock lasts on its file system .* a --runtime-dir on a tmpfs' daemon
ok "and neither segment nor doorbells are left" test "$(segments)" = "$before"
ok "a tmpfs will do" starts_at "$work/tmpfs"
