#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What the manager says of sections and workers, once for each change; and whether journalctl takes
# the catalog, which must explain each message id of the manager's.
. "$(dirname "$0")/harness.sh"
log=$work/manager.log
catalog=$source_dir/systemd/shm-manager.catalog

ids() { sed -nE "s/^#define JOURNAL_[A-Z]+ +\"([0-9a-f]{32})\"\$/\1/p" "$source_dir/daemon/journal.h" | sort; }
explained() { sed -n 's/^-- //p' "$catalog" | sort; }
ok "there are message ids" test "$(ids | wc -l)" -ge 13
ok "each is there once" test -z "$(ids | uniq -d)"
ok "the catalog explains each of them, and no other" diff <(ids) <(explained)
named() { grep -hoE '\b[0-9a-f]{32}\b' "$source_dir"/daemon/*.[1-8] "$source_dir"/tools/shmtool/*.1 | sort -u; }
ok "the pages name none but these" diff <(comm -23 <(named) <(ids)) /dev/null

if command -v journalctl >/dev/null; then
    mkdir -p "$work/host/usr/lib/systemd/catalog" "$work/host/var/lib/systemd/catalog"
    cp "$catalog" "$work/host/usr/lib/systemd/catalog/"
    ok "journalctl takes it" journalctl --root="$work/host" --update-catalog
    listed() { journalctl --root="$work/host" --list-catalog | grep -q "^$1 shm-manager: The value of section"; }
    ok "and finds a message by its id" listed ef9784cfc0ae42939c9b162aa59717be
else
    echo "left out: no journalctl here"
fi

said() { grep -Eq -- "$1" "$log"; }
times() { [ "$(grep -Ec -- "$2" "$log")" -eq "$1" ]; }
start_manager
edit_table <<<"INSERT INTO section(name, owner, size, stale_ms) VALUES('temps', 'driver', 64, 1500);
    INSERT INTO section(name, owner, size, stale_ms) VALUES('silent', 'other', 64, 1);
    INSERT INTO section(name, owner, size, stale_ms) VALUES('slow', 'driver', 64, 600000);"
ok "an edit is said" await 30 said "generation 2: .*'temps'"
for section in temps slow; do
    printf one | shmtool put "$section"
done
ok "a stale value is said, with its writer" \
    await 30 said "'temps': stale; .*version 1, .*worker 'driver', which nobody holds"
ok "how a worker ended, too" await 30 said "worker 'driver': process [0-9]+ (released|exited)"
printf two | shmtool put temps
ok "and that it is fresh again" await 30 said "'temps': fresh again, with version 2, after"
shmtool run --worker driver -- sleep 60 &
children+=($!)
ok "a lease is said" await 30 said "worker 'driver' is process $! "
{ kill -9 "$!" && wait "$!"; } 2>/dev/null || :
ok "and the signal that ended it" await 30 said "worker 'driver': process $! (was killed by signal 9|ended)"
ok "stale anew" await 30 said "'temps': stale; .*version 2,"
ok "once each" times 1 "'temps': stale; .*version 1,"
ok "what was never published isn't stale" times 0 "'silent': stale"
ok "nor what is young enough" times 0 "'slow': stale"
# A lease that a manager found when it started ends with its reason too.
shmtool run --worker driver -- sleep 60 &
held=$!
children+=("$held")
ok "a lease again" await 30 said "worker 'driver' is process $held "
end_manager KILL
ok "a killed one says nothing" times 0 "ended; segment"
start_manager
{ kill -TERM "$held" && wait "$held"; } 2>/dev/null || :
ok "the signal is known over a restart of the manager" \
    await 30 said "worker 'driver': process $held (was killed by signal 15|ended)"
if said "was killed by signal 9"; then # this kernel tells
    ok "and not left out" said "process $held was killed by signal 15"
fi

# Who is refused again and again fills no journal.
for _ in {1..9}; do
    shmtool run --worker nobody -- true 2>/dev/null || :
    shmtool run --worker nowhere -- true 2>/dev/null || :
done
refusals() { grep -c "was refused: the table has no worker 'no" "$log"; }
ok "some refusals are said" await 30 refusals
ok "and not all of them" test "$(refusals)" -lt 10
sqlite3 "$work/state/sections.db" "UPDATE section SET size = 2 WHERE name = 'temps'" >/dev/null
shmtool reload >/dev/null 2>&1 || :
ok "a rejected table is said" said "error: table rejected: section 'temps'"
end_manager TERM
ok "and at the end how many there were besides" said "worker '\\?': [0-9]+ more claims of uid $(id -u) were refused"
ok "and that the segment stays" said "ended; segment $SHMC_KEY stays, with its values and leases"
start_manager # whose end takes all of it away
