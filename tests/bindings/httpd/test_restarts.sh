#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Generations that overlap, and a manager that comes and goes between them.
# shellcheck source=tests/bindings/httpd/httpd.sh
. "$(dirname "$0")/httpd.sh"
build_module
start_servers one two
port=$(free_port)
site=http://127.0.0.1:$port
configure "$ours" event proxy proxy_http proxy_balancer lbmethod_byrequests <<EOF
Listen 127.0.0.1:$port
StartServers 2
SlotmemShmKey $SHMC_KEY
SlotmemShmRuntimeDir $SHMC_RUNTIME_DIR
BalancerPersist On
<Proxy balancer://lb>
    BalancerMember http://127.0.0.1:${ports[0]}
    BalancerMember http://127.0.0.1:${ports[1]}
</Proxy>
ProxyPass /app balancer://lb
<Location /manager>
    SetHandler balancer-manager
</Location>
EOF
generations() { [ "$(shmtool list | grep -cE '^httpd\.[^ ]*_lb\.')" -eq "$1" ]; }
two_answers() { [ "$(web names "$site/app" 8)" = two:8 ]; }
said() { [ "$(grep -c "$2" "$work/error.log")" -ge "$1" ]; }
unsaid() { ! said 1 "$@"; }
descriptors() { find "/proc/$httpd/fd" -mindepth 1 | wc -l; }

start_manager
edit_table <<<"INSERT INTO worker(name, may_create) VALUES('httpd', 1048576)"
start_httpd
ok "httpd makes its slotmems in the manager's segment" generations 1
web manage "$site/manager" b=lb "w=http://127.0.0.1:${ports[0]}" w_status_D=1
ok "one server is disabled" two_answers

# ---- a child that is left
python3 -IS "$here/web.py" names "$site/app/hold" 1 >"$work/held" &
holder=$!
children+=("$holder")
await 60 grep -q held "$work/served"
ok "it restarts gracefully, with a request under way" restart USR1
ok "both generations have their memory" generations 2
ok "and the new one serves" two_answers
ok "it restarts once more" restart USR1
ok "the last child of the first keeps it" await 60 generations 2
web names "http://127.0.0.1:${ports[1]}/release" 1 >/dev/null
wait "$holder"
ok "what was under way is answered" [ "$(cat "$work/held")" = two:1 ]
ok "and its generation's memory goes" await 60 generations 1

# ---- the manager
end_manager KILL
ok "it restarts without a manager" restart USR1
ok "in a private segment, as it says" said 1 'in a private segment, as there is no'
ok "with what was kept" two_answers
start_manager
ok "and once more, with one" restart USR1
ok "in its segment" await 60 generations 1
ok "with what was kept" two_answers
shmtool destroy --yes >/dev/null
wait "$manager" 2>/dev/null || :
manager=''
ok "its segment is destroyed, and it goes on" two_answers
start_manager
ok "it restarts with another segment" restart USR1
ok "where it is anew" await 60 generations 1
ok "with what was kept" two_answers

# ---- many
restart HUP
await 60 generations 1
before=$(descriptors)
for _ in {1..10}; do restart HUP; done
ok "ten restarts leave no section" await 60 generations 1
no_more() { [ "$(descriptors)" -le "$before" ]; }
ok "and no descriptor" await 60 no_more
ok "nothing crashed" unsaid 'exit signal'
end_httpd
