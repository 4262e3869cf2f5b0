#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A manager that gives the segment another size is killed at, and fails in, each system call on the
# way (a sample of them, evenly taken; with SHM_SOAK all).  The next one has every value, under its
# version, in a segment of the new size, and nothing else is left; a reader that was attached all the
# while goes along.  Usage: test_replace_faults.sh BUILD-DIRECTORY

# On a disk each commit would wait for it.
[ -n "${TMPDIR-}" ] || [ ! -w /dev/shm ] || export TMPDIR=/dev/shm
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../interop/harness.sh"
# shellcheck source=tests/system/driving.sh
. "$(dirname "$0")/driving.sh"
! grep -Eq '__[at]san_init' "$build/daemon/shm-manager" || { echo 'skipped: a sanitizer'; exit 77; }
command -v strace >/dev/null || { echo 'skipped: no strace'; exit 77; }
strace -qq -o /dev/null true 2>/dev/null || { echo 'skipped: nothing can be traced'; exit 77; }
most=24
[ -z "${SHM_SOAK-}" ] || most=1000000

sizes=(16777216 33554432) turn=0 version=0 points=0 violations=0 waits=0

violation() {
    violations=$((violations + 1))
    echo "violation: $*"
    [ "$violations" -lt 10 ] || exit 1
}

# The table asks for the other size, while no manager runs; the next start gives it.
turn_size() {
    turn=$((1 - turn))
    sql "UPDATE segment SET size = ${sizes[turn]}"
}

ended() { ! kill -0 "$manager" || grep -q '^State:.*zombie' "/proc/$manager/status"; }
serves_or_ended() { ended || timeout 5 shmtool history; } # which the manager tells

# Under strace, with what it is told, until it serves or ends; then it is ended.
run_traced() { # STRACE'S OPTIONS...
    strace -D -qq -o "$work/trace" "$@" "$build/daemon/shm-manager" --key "$SHMC_KEY" \
        --state-dir "$work/state" --runtime-dir "$SHMC_RUNTIME_DIR" >>"$work/manager.log" 2>&1 &
    manager=$!
    { await 60 serves_or_ended; } 2>/dev/null || violation "neither serves nor ends: $*" # bash's "Killed"
    end_manager "${ending:-TERM}"
}

# Of the segment itself, on sysv: its bells are one too, of another size.
segments() {
    awk -v a="${sizes[0]}" -v b="${sizes[1]}" 'NR > 1 && ($4 == a || $4 == b) { n++ } END { print n + 0 }' \
        /proc/sysvipc/shm
}
kept() { # what the keeper has
    find "/proc/$(keeper_pid)/fd" -lname '*memfd:shm-manager*' | wc -l
}
nothing_else() {
    if on_sysv; then [ "$(segments)" = 1 ]; else [ "$(kept)" = "$parts" ]; fi
}

# The next manager, without faults: all is as it was, and goes on.
look() { # WHAT
    start_manager
    value_of cam "$version" "value $version" ||
        violation "$1: the value is $(column cam version): $(shmtool get cam 2>&1)"
    value_of other 1 other || violation "$1: another value is lost"
    [ "$(shmtool get notes | head -c 5)" = notes ] || violation "$1: raw bytes are lost"
    does reader "v$version value $version" 'get cam' || violation "$1: the reader has $reply"
    does reader "^${sizes[turn]} " 'size cam' || violation "$1: the reader's segment has $reply"
    await 10 nothing_else || violation "$1: something is left"
    version=$((version + 1))
    printf 'value %d' "$version" | shmtool put cam || violation "$1: nobody can publish"
    end_manager TERM
}

# Who reads while there is no manager has the value, or is told to wait; never that it is gone.
read_between() { # WHAT
    [ "$waits" -lt 1 ] || return 0
    does reader "^ENOTCONN|v$version value $version" 'get cam' || violation "$1: meanwhile: $reply"
    ! grep -q ENOTCONN <<<"$reply" || waits=$((waits + 1))
}

start_manager
edit "UPDATE segment SET size = ${sizes[0]};
    INSERT INTO section(name, owner, size) VALUES ('cam', 'driver', 100), ('other', 'driver', 64);
    INSERT INTO section(name, owner, size, kind) VALUES ('notes', 'driver', 64, 'raw');"
version=1
printf 'value 1' | shmtool put cam
printf other | shmtool put other
printf notes | shmtool put notes
drive reader
does reader 'v1 value 1' 'get cam'
on_sysv || parts=$(kept)
end_manager TERM

# What is called between the first piece of the new segment and READY, and how often before.
turn_size
run_traced -e trace=all
begin='memfd_create\("shm-manager",'
! on_sysv || begin='shmget\(0x[0-9a-f]*, [0-9]*, IPC_CREAT\|IPC_EXCL'
awk -v begin="$begin" '{ name = $0; sub(/\(.*/, "", name) } name !~ /^[a-z0-9_]+$/ { next }
    { n[name]++ } $0 ~ begin { on = 1 } on { print name, n[name] } /READY=1/ || name == "listen" { on = 0 }' \
    "$work/trace" >"$work/window"
look 'without a fault'
count=$(wc -l <"$work/window")
ok 'there are points' test "$count" -gt 50

errors=(EIO ENOSPC ENOMEM)
step=$(((2 * count + most - 1) / most))
for ((i = 1; i <= 2 * count; i += step)); do
    read -r name n <<<"$(sed -n "$(((i + 1) / 2))p" "$work/window")"
    action=signal=KILL
    case $((i % 2))$name in
    1*) ;;
    0brk | 0futex | 0rt_sig* | 0get*id | 0munmap | 0shmdt | 0close | 0wait4 | 0exit_group) continue ;;
    *) action=error=${errors[i / 2 % 3]} ;;
    esac
    turn_size
    ending=TERM
    [ $((i % 4)) -lt 2 ] || ending=KILL
    run_traced -e trace="$name" -e inject="$name:$action:when=$n"
    read_between "$name $n $action"
    look "$name $n $action"
    points=$((points + 1))
done
echo "figure: faults.replace.all $((2 * count)) points"
echo "figure: faults.replace.points $points points"
echo "figure: violations.faults_replace $violations violations"
ends reader
start_manager
[ "$violations" -eq 0 ] && [ "$points" -gt 10 ]
