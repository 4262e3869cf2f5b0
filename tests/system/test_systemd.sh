#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The installed service in a real systemd: installed as the README says, looked at, reloaded,
# explained by the journal, measured, disabled; and bad edits in its journal.
# Usage: test_systemd.sh BUILD-DIRECTORY
# shellcheck source=tests/system/box.sh
. "$(dirname "$0")/box.sh"
table=/var/lib/shm-manager/sections.db

box_up
box_install
box_users
sql() { inside sqlite3 "$table" "$1"; }
status() { inside systemctl status --no-pager --lines 0 shm-manager.service; }
status_line() { status | grep -Eq -e "Status: \".*$1.*\""; }

# ---- enabled, started
ok "the presets enable service and socket" \
    inside systemctl preset shm-manager.socket shm-manager.service
is_enabled() { [ "$(inside systemctl is-enabled "$1" 2>&1)" = "$2" ]; }
ok "the service" is_enabled shm-manager.service enabled
ok "the socket" is_enabled shm-manager.socket enabled
ok "no instance by itself" is_enabled shm-manager@.service disabled
ok "the socket starts" inside systemctl start shm-manager.socket
ok "what it starts with its first client" says 0 'generation' as plant shmtool status
ok "is the service" active shm-manager.service
ok "with a status line" await 30 status_line 'generation 1; 0 sections; 0 of 0 workers attached'
owners() {
    [ "$(inside stat -c '%U:%G %a' /var/lib/shm-manager "$table" /var/lib/shm-manager/state \
        /run/shm-manager /run/shm-manager/53484d31.sock | tr '\n' ' ')" = "root:shm-manager 2750 \
root:shm-manager 640 shm-manager:shm-manager 700 shm-manager:shm-manager 755 root:root 666 " ]
}
ok "files belong to whom they should" owners
unprivileged() { [ "$(inside ps -o user= -p "$(main_pid shm-manager)")" = shm-manager ]; }
ok "it runs without privileges" unprivileged

# ---- reload
box_table /var/lib/shm-manager
ok "a good table is reloaded" says 0 '' inside systemctl reload shm-manager
ok "and is in force" says 0 'kept40' as plant shmtool list
ok "which the status line says" status_line 'generation 2; 44 sections; 0 of 5 workers attached'
ok "sections are filled" load fill
load_begin
ok "and says who is attached" await 30 status_line '[34] of 5 workers attached'
sums >"$work/before"
ok "there is something to sum" [ "$(wc -l <"$work/before")" -eq 40 ]
pid=$(main_pid shm-manager)
sql "UPDATE section SET owner = 'another' WHERE name = 'load1'"
ok "a table that has to wait makes the reload fail" says 1 'failed|Failed' inside systemctl reload shm-manager
ok "the journal says why" await 30 journal_says shm-manager "shmtool reload: section 'load1': .*|table pending: section 'load1'"
ok "so does the status line" status_line "generation 2; .*table pending: section 'load1'"
ok "the service runs on" active shm-manager
ok "as the same process" [ "$(main_pid shm-manager)" = "$pid" ]
ok "and nothing changed" diff "$work/before" <(sums)
ok "who runs such a table can restart" inside systemctl restart shm-manager
ok "and finds the last good one in force" diff "$work/before" <(sums)
ok "with the reason still there" await 30 status_line "table pending: section 'load1'"
inside shmtool table revert --yes >/dev/null 2>&1 || sql "UPDATE section SET owner = 'load1' WHERE name = 'load1'"
sql "PRAGMA ignore_check_constraints = ON; UPDATE section SET size = 0 WHERE name = 'kept01'"
ok "a bad table makes the reload fail" says 1 'failed|Failed' inside systemctl reload shm-manager
ok "the journal says why, too" await 30 journal_says shm-manager "table rejected: section 'kept01'"
ok "and so does the status line" await 30 status_line "generation [0-9]+; .*table rejected: section 'kept01'"
ok "who runs a bad table can restart" inside systemctl restart shm-manager
ok "and finds what ran" diff "$work/before" <(sums)
ok "with its reason still there" await 30 status_line "table rejected: section 'kept01'"
sql "UPDATE section SET size = 160 WHERE name = 'kept01'"
ok "a mended table is reloaded" inside systemctl reload shm-manager
ok "and the status line is good again" says 1 '' status_line 'pending|rejected'
by_itself() { # SQL REGEX: root's edit, which the manager can only read
    sql "$1"
    says 0 "auto_apply +applied .*$2" inside shmtool history --wait 30000 1
}
ok "an edit is applied by itself" by_itself \
    "INSERT INTO section(name, owner, size) VALUES('by.itself', 'another', 4096)" "add 'by.itself'"
ok "and the next one" by_itself "DELETE FROM section WHERE name = 'by.itself'" "remove 'by.itself'"
ok "no operation failed meanwhile" load_end

# ---- rows by files
rows() { # DIRECTORY NAME: from standard input
    mkdir -p "$box_root$1" && cat >"$box_root$1/$2.sql"
}
lib=$(inside sed -n 's/^ExecStartPre=-+.* \(.*\) .*/\1/p' "$(property shm-manager.service FragmentPath)")
ok "the package has its directory for them" inside test -d "$lib"
ok "the administrator as well" inside test -d /etc/shm-manager/sections.d
rows "$lib" 10-camera <<<"INSERT INTO section(name, owner, size) VALUES('camera', 'grabber', 4096) ON CONFLICT DO NOTHING;"
rows "$lib" 20-masked <<<"DELETE FROM section;"
rows /etc/shm-manager/sections.d 15-bad <<<"PRAGMA user_version = 7;"
inside ln -s /dev/null /etc/shm-manager/sections.d/20-masked.sql
ok "a bad one stops no start" inside systemctl restart shm-manager
ok "the journal says what is wrong with it" await 30 journal_says shm-manager \
    "shmtool table include: /etc/shm-manager/sections.d/15-bad.sql, line 1: .* not PRAGMA"
ok "and what became of the others" journal_says shm-manager "^$lib/10-camera.sql is applied"
ok "whose rows are in force" says 0 camera as plant shmtool list camera
ok "in root's table, whose log is gone" owners
ok "and nothing else is changed" diff "$work/before" <(sums)
inside rm /etc/shm-manager/sections.d/15-bad.sql
generation() { inside shmtool status --json | grep -m 1 '"generation"'; }
before=$(generation)
ok "a start that finds them applied" inside systemctl restart shm-manager
ok "changes nothing" [ "$(generation)" = "$before" ]
ok "which the journal says too" await 30 journal_says shm-manager "^$lib/10-camera.sql changes nothing"
inside rm "$lib/10-camera.sql" "$lib/20-masked.sql" /etc/shm-manager/sections.d/20-masked.sql

# ---- the journal
ok "the catalog is taken" inside journalctl --update-catalog
explained() {
    inside journalctl --sync
    inside journalctl --no-pager -x -u shm-manager "MESSAGE_ID=$1" >"$work/explained"
    grep -q "$2" "$work/explained"
}
ok "journalctl -x explains a rejected table" \
    explained 1785fb9ba1b949d08ceade14f33df87d 'Nothing of the edit was applied'
ok "and a lease, by the worker's name" \
    explained 77ea021229f2468da5a2e6791f918c60 "is the worker 'load1' now"
ok "entries are found by their worker" says 0 "worker 'kept'" \
    inside journalctl --no-pager -o cat -u shm-manager SHM_WORKER=kept

# ---- hardening
ok "the units verify" says 0 '^$' inside systemd-analyze verify --man=no \
    shm-manager.service shm-manager.socket shm-manager@abcd0001.service shm-manager@abcd0001.socket \
    shm-keeper.service shm-keeper.socket shm-keeper@abcd0001.service shm-keeper@abcd0001.socket
exposure() { # UNIT NAME
    local score
    score=$(inside systemd-analyze security --no-pager "$1" |
        sed -nE 's/.*exposure level for .*: ([0-9.]+) .*/\1/p')
    echo "figure: $2 ${score:-none} score"
    [ -n "$score" ] && awk -v score="$score" 'BEGIN { exit !(score <= 1.0) }'
}
ok "the service exposes little" exposure shm-manager.service unit.exposure
ok "the keeper too" exposure shm-keeper.service unit.exposure_of_keeper
filtered() { grep -q '^Seccomp:.*2' "$box_root/proc/$(main_pid shm-manager)/status"; }
ok "and is what it was measured as" filtered

# ---- stop, disable
ok "both stop" inside systemctl stop shm-manager.socket shm-manager.service
ok "readers are told" says 0 'stopped .* ago; readers and workers go on' as plant shmtool status
ok "who needs a manager is told what to do" says 3 'systemctl start shm-manager' inside shmtool reload
ok "values are read all the same" diff "$work/before" <(sums)
ok "both are disabled by disabling the service" inside systemctl disable shm-manager.service
ok "the service is off" is_enabled shm-manager.service disabled
ok "the socket as well" is_enabled shm-manager.socket disabled
box_down
box_up
ok "nothing starts at the next boot" [ "$(property shm-manager.service ActiveState)" = inactive ]
ok "no socket either" [ "$(property shm-manager.socket ActiveState)" = inactive ]

# ---- README at its word, but for what was built and installed already
readme() { sed -nE '/^## As a service/,/^## /{ s/ +#.*//; s/^    sudo (cmake [^&]*&& sudo )?//p }' "$source_dir/README.md"; }
ok "README says how" [ "$(readme | wc -l)" -ge 4 ]
readme | sed 's/sudo //g' >"$box_root/tmp/readme.sh"
ok "and it works" inside env USER=mallory sh -ex /tmp/readme.sh
ok "the service runs" active shm-manager
ok "and who was let in reads" says 0 'kept40' as mallory shmtool list

# ---- bad edits: what shm-edits(7) says of each is what the journal has
mkdir "$box_root/tmp/page"
perl "$box_source/table_page.pl" "$box_root/tmp/page" "$source_dir"/daemon/shm-{table.5,edits.7}
inside shmtool destroy --yes >/dev/null
inside rm -f "$table" "$table-wal" "$table-shm" # so that ids begin again
inside systemctl start shm-manager
bad_edits() { # with the triggers and constraints switched off
    inside bash -e -s "$table" <<'END' >"$work/rejected"
        cd /tmp/page
        edit() { sqlite3 "$1" '.dbconfig enable_trigger off' 'PRAGMA ignore_check_constraints = ON' "$2" >/dev/null; }
        for begin in *.begin; do
            [ -e "${begin%.begin}.applied" ] || sqlite3 "$1" "$(<"$begin")"
        done
        sqlite3 "$1" "UPDATE segment SET auto_apply = 0"
        shmtool reload >/dev/null
        sqlite3 "$1" ".backup /tmp/good.db"
        for text in *.edit; do
            example=${text%.edit}
            # without a holder another id is no mistake
            if [ ! -e "$example.rejected" ] || [ -e "$example.memfd" ] || grep -q 'SET id' "$example.sql"; then
                continue
            fi
            edit "$1" "$(<"$example.sql")"
            if shmtool reload >/dev/null 2>&1; then
                echo "applied: $(<"$example.sql")" >&2
                exit 1
            fi
            sed 's/^/table rejected: /' "$example.rejected"
            sqlite3 "$1" ".restore /tmp/good.db"
        done
END
}
ok "bad edits are rejected" bad_edits
ok "many of them" [ "$(wc -l <"$work/rejected")" -ge 35 ]
in_journal() {
    inside journalctl --sync
    diff "$work/rejected" <(inside journalctl --no-pager -o cat -u shm-manager \
        MESSAGE_ID=1785fb9ba1b949d08ceade14f33df87d | tail -n "$(wc -l <"$work/rejected")")
}
ok "the journal has each in the page's words, by its message id" in_journal
box_down
