#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The provider's calls, one by one, next to those of httpd's own; and the files of both.
# shellcheck source=tests/bindings/httpd/httpd.sh
. "$(dirname "$0")/httpd.sh"
build_module
mkdir "$work/calls"
(cd "$work/calls" && cp "$here/calls.c" mod_slotmem_calls.c &&
    apxs -c -Wc,"-std=gnu17 -Wall -Wextra -Werror -I$source_dir/tests/unit" mod_slotmem_calls.c) >"$work/make.log" 2>&1 ||
    { cat "$work/make.log"; exit 1; }
port=$(free_port)

# PROVIDER WHAT: what the calls answered.  Then httpd ends, by the module's own wish.
calls() {
    rm -f "$work/answers" "$work/error.log"
    configure "$1" event <<EOF
LoadModule slotmem_calls_module $work/calls/.libs/mod_slotmem_calls.so
Listen 127.0.0.1:$port
Calls $2 $work/answers
$([ "$1" != "$ours" ] || echo "SlotmemShmSegment $segment
    SlotmemShmKey $SHMC_KEY
    SlotmemShmRuntimeDir $SHMC_RUNTIME_DIR")
EOF
    timeout 60 apache2 -f "$work/httpd.conf" -X >"$work/output" 2>&1 || :
    tail -n 1 "$work/answers" | grep -qx "done" || { cat "$work/output"; show_errors; return 1; }
}
answered() { # PROVIDER WHAT, and on stdin the answers that count
    calls "$1" "$2" && diff -a - <(grep -a -v -e '^figure' -e '^leaked' -e '^done$' "$work/answers")
}

as_stock() {
    rm -f "$work"/runtime/*
    calls "$ours" script && diff -a "$work/stock" "$work/answers"
}
strictly() {
    sed '/^nothing\|^grabbed/!s/^/shm->/' <<EOF | answered "$ours" strict
create(&slotmem, "strict", BYTES, SLOTS, 0, pool): 0
put(slotmem, 0, value, BYTES + 1): 22
get(slotmem, 0, value, BYTES + 1): 22
num_free_slots(slotmem): 4
create(&other, "strict", BYTES + 1, SLOTS, 0, pool): 22
create(&other, "strict", BYTES, SLOTS + 1, 0, pool): 22
create(&other, "huge", BYTES, 1u << 30, 0, pool) != APR_SUCCESS: 1
nothing was created: 1
num_slots(NULL): 0
num_free_slots(NULL): 0
slot_size(NULL): 0
create(&empty, "empty", BYTES, 0, 0, pool): 0
num_slots(empty): 0
num_free_slots(empty): 0
grab(empty, &id): 22
doall(empty, visit, NULL, pool): 0
create(&slotmem, "child's", BYTES, SLOTS, 0, pool): 0
fgrab(slotmem, 0): 0
grab(slotmem, &id): 0
grabbed: 1
attach(&slotmem, "child's", &size, &num, pool): 2
EOF
}
killed() {
    sed 's/^/shm->/' <<EOF | answered "$ours" kill
create(&slotmem, "killed", BYTES, SLOTS, AP_SLOTMEM_TYPE_PREGRAB, pool): 0
num_free_slots(slotmem): 4
grab(slotmem, &id): 0
grab(slotmem, &id): 0
grab(slotmem, &id): 0
grab(slotmem, &id): 0
EOF
}
no_leak() {
    calls "$ours" leak
    grep figure "$work/answers" | sed "s/httpd\./httpd.${segment}_/"
    diff - <(grep -e ^leaked -e left "$work/answers") <<<'leaked: 0
descriptors left: 0
threads left: 0'
}

rm -f "$work"/runtime/*
calls "$stock" script
mv "$work/answers" "$work/stock"
all_calls() {
    ok "$1: all calls answer as those of httpd's own" as_stock
    ok "$1: what would write beyond a slot is refused" strictly
    ok "$1: children that are killed leave no slot that can't be had" killed
}
segment=private
all_calls "a private segment"
ok "a private segment: 100,000 operations leave nothing behind" no_leak

# ---- files

file=$work/runtime/slotmem-shm-state.shm.persist
kept() { # WRITER READER
    rm -f "$work"/runtime/*
    calls "$1" write && calls "$2" read && grep -qx '0: first' "$work/answers" &&
        grep -qx 'shm->num_free_slots(slotmem): 2' "$work/answers" &&
        grep -qx "doall's slot begins with: $(printf %d "'t")" "$work/answers"
}
ok "what is kept comes back" kept "$ours" "$ours"
ok "it is nobody else's to read" [ "$(stat -c %a "$file")" = 600 ]
ok "and nothing is beside it" [ "$(ls "$work/runtime")" = "$(basename "$file")" ]
ok "httpd's own module reads it" kept "$ours" "$stock"
ok "and is read" kept "$stock" "$ours"
forgetful() {
    rm -f "$work"/runtime/*
    calls "$ours" write-forgetful && calls "$ours" read-forgetful &&
        grep -qx '0: first' "$work/answers" &&
        grep -qx 'shm->num_free_slots(slotmem): 4' "$work/answers"
}
ok "CLEARINUSE keeps what is in the slots, and not whose they are" forgetful

refused() { # COMMAND that damages the file
    cp "$work/good" "$file"
    "$@" && ! cmp -s "$work/good" "$file" && calls "$ours" read &&
        grep -qx 'shm->num_free_slots(slotmem): 4' "$work/answers" &&
        grep -qx '0: ' <(tr -d '\0' <"$work/answers") && grep -q 'begins empty' "$work/error.log"
}
flip() { # OFFSET
    printf '\377' | dd of="$file" bs=1 seek="$1" conv=notrunc status=none
}
append() { printf '\0' >>"$file"; }
other() { cp "$work/other" "$file"; }
kept "$ours" "$ours"
cp "$file" "$work/good"
rm "$file"
calls "$ours" write-forgetful
cp "$file" "$work/other"
for length in 0 7 107 108 123 125 139; do # of 140: head 8, slots 96, in use 4, digest 16, 16
    ok "a file that was cut to $length bytes is refused" refused truncate -s "$length" "$file"
done
ok "one that grew is refused" refused append
for offset in 0 20 104 110 130; do
    ok "one with another byte $offset is refused" refused flip "$offset"
done
ok "a slotmem's of another type is refused" refused other
without_geometry() { # as httpd before 2.4.27 wrote it: whole, by its digest
    truncate -s 124 "$file" && calls "$ours" read && grep -qx '0: first' "$work/answers"
}
cp "$work/good" "$file"
ok "one of an older httpd, with its digest alone, is read" without_geometry

# ---- in a manager's segment

start_manager
edit_table <<<"INSERT INTO worker(name, may_create) VALUES('httpd', 1048576)"
segment=manager
all_calls "a manager's segment"
ok "a manager's segment: 100,000 operations leave nothing behind" no_leak
none_left() { ! shmtool list | grep -q '^httpd'; }
ok "httpd's end leaves no section" await 30 none_left
segment=auto
edit_table <<<"UPDATE worker SET may_create = 8192"
in_private() { # WHY
    as_stock && grep -q "in a private segment.*$1" "$work/error.log"
}
ok "beyond what httpd may create it goes on in a private one" in_private 8192
end_manager KILL
ok "and without a manager" in_private "no manager"
segment=manager
insists() {
    calls "$ours" write && grep -q 'create.*: 107$' "$work/answers" && grep -q "no manager" "$work/error.log"
}
ok "but not where a manager's is asked for" insists

# ---- directives
refuses() { # DIRECTIVE REGEX
    configure "$ours" event <<<"$1" && says 1 "$2" apache2 -f "$work/httpd.conf" -t
}
ok "a segment of no such kind is refused" refuses 'SlotmemShmSegment none' 'auto, manager or private'
ok "and a key of 0" refuses 'SlotmemShmKey 0' 'a number from 1 to 0xffffffff'
ok "and beyond 32 bits" refuses 'SlotmemShmKey 0x100000000' 'a number from 1 to 0xffffffff'
ok "and in a virtual host" refuses '<VirtualHost *>
SlotmemShmWorker web
</VirtualHost>' 'cannot occur within <VirtualHost>'
