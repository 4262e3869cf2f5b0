#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# mod_proxy_balancer on this module: changes by balancer-manager reach all children, are kept over
# restarts of both kinds, and over kills of children; and are seen from outside.
# shellcheck source=tests/bindings/httpd/httpd.sh
. "$(dirname "$0")/httpd.sh"
build_module
shopt -s extglob

start_servers one two three
one=${ports[0]} two=${ports[1]} three=${ports[2]}
member() { echo "http://127.0.0.1:$1"; }

example() { # README's, with servers that there are
    awk '/^## /{ there = $0 == "## An example" } /^```/{ code = /apache/; next } there && code' \
        "$source_dir/libclient/bindings/httpd/README.md" | sed "s/:8001/:$one/; s/:8002/:$two/"
}
balancer() { # MPM
    port=$(free_port)
    site=http://127.0.0.1:$port
    configure "$ours" "$1" proxy proxy_http proxy_balancer lbmethod_byrequests <<EOF
Listen 127.0.0.1:$port
StartServers 3
MaxRequestWorkers 150
SlotmemShmSegment $segment
SlotmemShmKey $SHMC_KEY
SlotmemShmRuntimeDir $SHMC_RUNTIME_DIR
$(example)
EOF
    start_httpd
}
manage() { web manage "$site/manager" b=lb "$@"; }
# Which servers answer, and none of them much more often than the others.
answer() {
    local answers wanted=$*
    answers=$(web names "$site/app" 24)
    if [ "${answers//:+([0-9])/}" != "$wanted" ] || grep -qE ':[0-4]( |$)' <<<"$answers"; then
        echo "not $wanted: $answers"
        return 1
    fi
}
section() { shmtool list | grep -oE '^httpd\.[^ ]*_lb\.[^ ]*'; }
slots() { shmtool slots "$(section)"; }
# Not while the generation before is there as well.
in_use() { slots | grep -qx "$1 of 4 in use"; }
generations() { [ "$(section | wc -l)" -eq "$1" ]; }
disabled() { web show "$site/manager" | grep -F "$(member "$1")" | grep -q Dis; }
faults() { grep -E 'exit signal (Seg|Bus|Abort)|slotmem.*:error|slotmem_shm:error' "$work/error.log"; }

managed() { [ "$segment" = manager ]; }
ok_if_managed() { ! managed || ok "$@"; }

# Until the last child that was there before has gone: it might take the next request still.
restart_wholly() { # SIGNAL
    local child old
    old=$(children_of "$httpd")
    restart "$1" || return 1
    for child in $old; do await 60 gone "$child" || return 1; done
}

killed_under_load() {
    local loader i child good lost status=0
    rm -f "$work/load" # an earlier one's says that it has begun
    python3 -IS "$here/web.py" load "$site/app" >"$work/load" &
    loader=$!
    children+=("$loader")
    await 60 grep -q begun "$work/load"
    for i in {1..4}; do
        child=$(children_of "$httpd" | awk -v n="$i" '{ pid[NR] = $1 } END { print pid[n % NR + 1] }')
        kill -KILL "$child"
        await 60 gone "$child"
    done
    kill "$loader"
    wait "$loader" || status=$?
    read -r good lost < <(tail -n 1 "$work/load")
    echo "under load: $good answers, $lost requests lost with their child"
    if [ "$status" -ne 0 ] || [ "$good" -eq 0 ] || ! answer three two; then
        show_errors
        return 1
    fi
}
gone() { ! kill -0 "$1"; }

all_of_it() { # MPM
    balancer "$1"
    ok "$segment, $1: two servers are balanced" answer one two
    ok_if_managed "and seen from outside" await 60 in_use 2
    manage "w=$(member "$one")" w_status_D=1
    ok "one is disabled for all children" answer two
    ok "and gracefully restarted" restart_wholly USR1
    ok "it still is" answer two
    ok "the manager's page says so" disabled "$one"
    manage "b_nwrkr=$(member "$three")" b_wyes=1
    manage "w=$(member "$three")" w_status_D=0
    ok "one more, by a child, is for all children" answer three two
    ok_if_managed "and seen from outside" await 60 in_use 3
    ok "children are killed under load" killed_under_load
    ok "and restarted at once" restart_wholly HUP
    ok "all is as it was" answer three two
    ok_if_managed "with one generation" await 60 generations 1
    end_httpd
    ok "httpd ends and starts" start_httpd
    ok "all is as it was" answer three two
    ok "the manager's page says so" disabled "$one"
    ! faults || { show_errors; return 1; }
}

segment=private
all_of_it event
end_httpd
rm "$work"/runtime/*

start_manager
edit_table <<<"INSERT INTO worker(name, may_create) VALUES('httpd', 1048576)"
segment=manager
all_of_it prefork

# ---- whoever dies
end_manager KILL
ok "without the manager it goes on" answer three two
manage "w=$(member "$two")" w_status_D=1
ok "and changes" answer three
child=$(children_of "$httpd" | awk 'END { print $1 }')
kill -KILL "$child"
ok "also in new children" answer three
start_manager
ok "its successor finds it" await 60 in_use 2
none() { ! section; }
{ kill -KILL "$httpd" && wait "$httpd"; } 2>/dev/null || :
ok "children without a parent keep its memory" await 60 in_use 2
kill -KILL -- "-$httpd" # its process group
ok "and the last one takes it along" await 60 none
