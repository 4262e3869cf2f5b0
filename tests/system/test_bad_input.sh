#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Bad input of every kind: one clear line, a non-zero exit, nothing lost.  The list below has each
# kind; its cases stand in bad_input/*.sh, under `kind NAME`.  A kind without a case fails the test,
# unless `left_out` says why this host can't have it.
# Usage: test_bad_input.sh BUILD-DIRECTORY
# shellcheck source=tests/interop/harness.sh disable=SC2016 # perl's variables
if [ "$(id -u)" -eq 0 ] && [ -z "${SHM_TEST_MOUNTS-}" ] && unshare --mount true 2>/dev/null; then
    SHM_TEST_MOUNTS=1 exec unshare --mount "$0" "$@"
fi
. "$(dirname "$0")/../interop/harness.sh"

kinds=(
    'overlapping pins' 'zero sizes' 'huge sizes' 'bad names' 'unknown kinds' 'cycles of edits'
    'not SQLite' 'another application' 'a newer schema' 'a locked database' 'an unreadable database'
    'foreign triggers' 'flipped bytes' 'a truncated segment' 'another ABI' 'a foreign segment'
    'no permission' 'a full shmmax or shmall' 'shm_rmid_forced' 'ipcrm' 'a full disk' 'low limits'
    'a client of another ABI' 'random bytes' 'stopped processes' 'clock jumps'
)
declare -A cases=()
this=''

kind() {
    [[ " ${kinds[*]} " == *" $1 "* ]] || { echo "not ok no such kind of bad input: $1"; exit 1; }
    this=$1
}
left_out() { # WHY
    cases[$this]=${cases[$this]-0}
    echo "left out: $this: $1"
}

# What must be the same after whatever was tried: where sections stand, their values, who holds what.
fingerprint() {
    shmtool list --json temps kept |
        grep -E '"(name|owner|kind|size|count|offset|bytes|version|length|real_ns|section_id|incarnation)"'
    # without a manager's heartbeat nobody can say that it is leased
    shmtool workers --json keeper | sed 's/"unknown"/"leased"/' |
        grep -E '"(name|state|pid|uid|epoch|since_real_ns|attachment)"'
    shmtool get temps
}
nothing_lost() {
    local now
    now=$(fingerprint) || return 1
    [ "$now" = "$before" ] || { diff <(echo "$before") <(echo "$now") >&2; return 1; }
}

# STATUS REGEX COMMAND...: its exit status, and nothing but one printable line, which has that.  What the
# manager says besides its error is no part of it.
one_line() {
    local status=$1 regex=$2 code=0 out
    shift 2
    out=$("$@" 2>&1 </dev/null) || code=$?
    out=$(grep -av '^shm-manager: [^e]' <<<"$out" || :)
    if [ "$code" -eq "$status" ] && [ "$(wc -l <<<"$out")" -eq 1 ] && grep -Eq -e "$regex" <<<"$out" &&
        ! LC_ALL=C grep -q '[^ -~]' <<<"$out"; then
        return
    fi
    echo "gave $code (not $status), or not just one line with /$regex/: $out" >&2
    return 1
}

# NAME STATUS REGEX COMMAND...: a case.
bad() {
    local name=$1
    shift
    ok "$this: $name" one_line "$@"
    counted "$name"
}
# NAME COMMAND...: one whose command says nothing, and succeeds when all is well.
fine() {
    local name=$1
    shift
    ok "$this: $name" "$@"
    counted "$name"
}
counted() { # NAME
    cases[$this]=$((${cases[$this]-0} + 1))
    nothing_lost || { echo "not ok $this: $1: something was lost"; exit 1; }
}

db=$work/state/sections.db
sql() { sqlite3 "$db" "$@"; }
unchecked() { sql "PRAGMA ignore_check_constraints = on; $1"; }
untriggered() { sql '.dbconfig enable_trigger off' "PRAGMA ignore_check_constraints = on; $1" >/dev/null; }
value_is() { [ "$(shmtool get "$1")" = "$2" ]; }
as_nobody() { setpriv --reuid 65533 --regid 65533 --clear-groups "$@"; }
limited() { # ULIMIT-OPTION VALUE COMMAND..., which inherits no descriptor that would count
    bash -c 'exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; ulimit "$1" "$2" && shift 2 && exec "$@"' - "$@"
}
sanitized() { grep -Eq '__[at]san_init' "$build/daemon/shm-manager"; }
root() { [ "$(id -u)" -eq 0 ]; }

scene() {
    start_manager
    edit_table <<<"INSERT INTO section(name, owner, size, stale_ms) VALUES('temps', 'driver', 1000, 3600000);
        INSERT INTO section(name, owner, size) VALUES('kept', 'keeper', 64);"
    printf 'it stays' | shmtool put temps
    shmtool run --worker keeper -- sleep 3600 &
    keeper=$!
    children+=("$keeper")
    await 30 says 0 'leased' shmtool workers keeper
    before=$(fingerprint)
}

if [ -n "${SHM_TEST_MOUNTS-}" ]; then # a small disk of our own, to be filled
    mount -t tmpfs -o size=4m tmpfs "$work/state"
    leave() {
        local status=$?
        umount --lazy "$work/state"
        return "$status"
    }
    trap 'leave && clean_up || clean_up' EXIT
fi
scene
for part in "$(dirname "$0")"/bad_input/*.sh; do
    # shellcheck source=/dev/null
    . "$part"
done

# Doorbells of the segments that were removed from outside.
[ -n "${SHM_TEST_ALONE-}" ] || shmtool doctor --fix >/dev/null || :

total=0
for this in "${kinds[@]}"; do
    ok "there are cases of: $this" test "${cases[$this]-none}" != none
    total=$((total + cases[$this]))
done
echo "figure: bad_input.kinds ${#kinds[@]} count"
echo "figure: bad_input.cases $total count"
