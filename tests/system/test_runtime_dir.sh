#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A manager that is started with another --runtime-dir than the one before finds no leases there: it
# is refused as long as somebody holds one, and frees no worker who lives.
# Usage: test_runtime_dir.sh BUILD-DIRECTORY
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"
right=$SHMC_RUNTIME_DIR leases=$SHMC_RUNTIME_DIR/${SHMC_KEY#0x}.leases
mkdir "$work/wrong" "$work/other"
mkfifo "$work/end" # for who stays until it is killed
sleep 600 >"$work/end" &
children+=("$!")
ln -s "$right" "$work/same"

# A process that is worker `driver`; with `gives-up`, it goes on without its lease when told to.
# shellcheck disable=SC2016 # the other shell's variables
hold() {
    local commands='exec sleep 600'
    rm -f "$work/told" "$work/gave-up"
    mkfifo "$work/told"
    [ "${1-}" != gives-up ] || commands="read -r _ <$work/told; eval \"exec \${SHMC_LEASE##*:}<&-\"
        : >$work/gave-up; exec sleep 600"
    shmtool run --worker driver -- bash -c "$commands" &
    holder=$!
    children+=("$holder")
    ok "$on: somebody is the worker" await 30 leased
}
leased() { says 0 "driver +leased +$holder " shmtool workers driver; }
let_go() {
    { kill -KILL "$holder" && wait "$holder"; } 2>/dev/null || :
}
refused() { # REGEX DIRECTORY [STATE-DIRECTORY]
    says 1 "worker 'driver' is held by process $holder \(uid $(id -u)\), whose lease is in $1" \
        timeout -k 1 60 "$build/daemon/shm-manager" --key "$SHMC_KEY" \
        --state-dir "${3-$work/state}" --runtime-dir "$2"
}
start_in() { # RUNTIME-DIRECTORY
    SHMC_RUNTIME_DIR=$1
    start_manager
}

for on in sysv memfd; do
    SHM_TEST_BACKEND=$on
    SHMC_RUNTIME_DIR=$right
    rm -rf "$work"/state/*
    start_manager
    edit_table <<<"INSERT INTO section(name, owner, size) VALUES('temps', 'driver', 64)"
    printf value | shmtool put temps
    hold
    for signal in KILL TERM; do
        end_manager $signal
        ok "$on: another directory is refused after SIG$signal, with the right one named" \
            refused "$leases: start with --runtime-dir $right, or end that process" "$work/wrong"
        start_in "$right"
        ok "$on: in that one the worker is as it was" leased
    done
    end_manager KILL
    start_in "$work/same"
    ok "$on: by another name it is the right one" leased
    end_manager KILL
    start_in "$right"
    ok "$on: and by its own again" leased
    ok "$on: and alone" says 1 "held by process $holder" shmtool run --worker driver -- true
    ok "$on: with the value" test "$(shmtool get temps)" = value

    end_manager KILL
    if on_sysv; then # the segment is found by its key
        mkdir "$work/other-state"
        ok "$on: so is one whose state directory knows of no leases" \
            refused "another directory" "$work/wrong" "$work/other-state"
        rm -rf "$work/other-state"
    fi
    rm -r "$leases"
    ok "$on: a directory that was made anew under a live worker is noticed" \
        refused "another directory, or in one that was removed: start with the --runtime-dir of before, or end" "$right"
    let_go
    start_in "$right"
    ok "$on: when the worker has ended it will do" says 0 'driver +free' shmtool workers driver
    hold gives-up
    end_manager KILL
    : >"$work/told"
    await 30 test -e "$work/gave-up"
    if on_sysv; then
        start_in "$work/wrong"
        ok "$on: who gave its lease up and lives keeps nobody from another directory" \
            says 0 'driver +free' shmtool workers driver
        ok "$on: where all is as it was" test "$(shmtool get temps)" = value
        ok "$on: which is the right one now" \
            test "$(readlink "$work/state/${SHMC_KEY#0x}.leases")" = "$work/wrong/${SHMC_KEY#0x}.leases"
    else
        start_in "$right"
        ok "$on: who gave its lease up and lives keeps nobody from it" \
            says 0 'driver +free' shmtool workers driver
    fi
    let_go

    rm -f "$work/guest" # the other backend's says that one has come
    "$build/tests/system/driven" - <"$work/end" >"$work/guest" &
    holder=$!
    children+=("$holder")
    ok "$on: somebody without a name is attached" await 30 grep -q '^0 ' "$work/guest"
    end_manager KILL
    leases=$SHMC_RUNTIME_DIR/${SHMC_KEY#0x}.leases
    ok "$on: he is named, too" says 1 \
        "an anonymous attachment is held by process $holder .*, whose lease is in $leases: start with" \
        timeout -k 1 60 "$build/daemon/shm-manager" --key "$SHMC_KEY" --state-dir "$work/state" \
        --runtime-dir "$work/other"
    rm -r "$leases"
    ok "$on: also where his lease is gone" says 1 \
        "an anonymous attachment is held by process $holder .*, whose lease is in another directory" \
        timeout -k 1 60 "$build/daemon/shm-manager" --key "$SHMC_KEY" --state-dir "$work/state" \
        --runtime-dir "$SHMC_RUNTIME_DIR"
    leases=$right/${SHMC_KEY#0x}.leases
    let_go
    start_in "$SHMC_RUNTIME_DIR"
    shmtool destroy --yes >/dev/null
    wait "$manager" || :
    manager=''
done
