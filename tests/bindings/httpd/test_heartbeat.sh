#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# mod_heartmonitor on this module: heartbeats of mod_heartbeat, and of servers that are made up, are
# in its slots, and lbmethod_heartbeat goes by them in all children.  They come by multicast, which
# takes a network of the test's own.  It is mostly waiting: httpd looks every five seconds.
# shellcheck source=tests/bindings/httpd/httpd.sh
. "$(dirname "$0")/httpd.sh"
[ -n "${SHM_TEST_APART-}" ] || { echo "no network namespace here (root, iproute2)"; exit 77; }
build_module
start_servers one two
one=${ports[0]} two=${ports[1]}
port=$(free_port)
group=239.255.0.1 group_port=$(free_port)

heartbeat() { # MPM
    configure "$ours" "$1" status heartbeat heartmonitor proxy proxy_http proxy_balancer \
        lbmethod_heartbeat <<EOF
Listen 127.0.0.1:$port
StartServers 2
SlotmemShmSegment $segment
SlotmemShmKey $SHMC_KEY
SlotmemShmRuntimeDir $SHMC_RUNTIME_DIR
HeartbeatAddress $group:$group_port
HeartbeatListen $group:$group_port
HeartbeatMaxServers 10
<Proxy balancer://lb>
    BalancerMember http://127.0.0.2:$one
    BalancerMember http://127.0.0.3:$two
    ProxySet lbmethod=heartbeat
</Proxy>
ProxyPass /app balancer://lb
EOF
    start_httpd
}
section() { shmtool list | grep -oE '^httpd\.mod_heartmonitor\.[^ ]*'; }
in_use() { shmtool slots "$(section)" | grep -qx "$1 of 10 in use"; }
# Beats of a server that has a thousand idle workers, and of one that has none, which is still taken
# once in a thousand times.
taken() { # NAME IDLE BUSY
    web beats "http://127.0.0.1:$port/app" "$1" "$group" "$group_port" "$2" 1000 "$3" 0
}
beats() { # MPM
    heartbeat "$1"
    ok "$segment, $1: who is idle is taken" taken one 127.0.0.2 127.0.0.3
    ok "and the other, when that is" taken two 127.0.0.3 127.0.0.2
    if [ "$segment" = manager ]; then ok "both, and mod_heartbeat here, have a slot" await 60 in_use 3; fi
    ok "it is gracefully restarted" restart USR1
    ok "and begins anew" taken one 127.0.0.2 127.0.0.3
    ! grep -E 'exit signal (Seg|Bus|Abort)|slotmem[^ ]*:error' "$work/error.log" || return 1
    end_httpd
}
segment=private
beats event
start_manager
edit_table <<<"INSERT INTO worker(name, may_create) VALUES('httpd', 1048576)"
segment=manager
beats prefork
