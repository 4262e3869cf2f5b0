# shellcheck shell=bash disable=SC2034 # the sourcing scripts use the variables
# SPDX-License-Identifier: Apache-2.0
#
# For the scripts beside it, which source it in place of the harness: a httpd of the test's own, with
# the module built and installed as its README says.
#
# In a network namespace of its own, which a test gets where it may, all ports are free, and what is
# sent to many reaches nobody else.
if [ "$(id -u)" -eq 0 ] && [ -z "${SHM_TEST_APART-}" ] && command -v ip >/dev/null &&
    unshare --net ip link set lo up 2>/dev/null; then
    # shellcheck disable=SC2016 # for the shell in there
    SHM_TEST_APART=1 exec unshare --net sh -c \
        'ip link set lo up multicast on; ip route add 224.0.0.0/4 dev lo; exec "$0" "$@"' "$0" "$@"
fi
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../../interop/harness.sh"
here=$source_dir/tests/bindings/httpd
PATH=$PATH:/usr/sbin
command -v apache2 >/dev/null || { echo "no Apache httpd here (apache2-bin)"; exit 77; }
command -v apxs >/dev/null || { echo "no apxs here (apache2-dev)"; exit 77; }

libexec=$(apxs -q LIBEXECDIR)
stock=$libexec/mod_slotmem_shm.so
ours=$work/httpd$libexec/shm/mod_slotmem_shm.so
httpd=''
mkdir "$work/httpd" "$work/runtime"
chmod 755 "$work" # children are another user

build_module() {
    install_tree
    cp -r "$source_dir/libclient/bindings/httpd" "$work/module"
    make -C "$work/module" install DESTDIR="$work/httpd" >"$work/make.log" 2>&1 ||
        { cat "$work/make.log"; exit 1; }
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# A configuration: PROVIDER MPM, then modules to load; its other directives come on stdin.
configure() {
    local provider=$1 mpm=$2 module
    shift 2
    {
        echo "ServerRoot $work"
        echo "ServerName localhost"
        echo "DefaultRuntimeDir $work/runtime"
        echo "PidFile $work/httpd.pid"
        echo "ErrorLog $work/error.log"
        echo "LogLevel ${log_level-notice}"
        [ "$(id -u)" -ne 0 ] || printf 'User www-data\nGroup www-data\n'
        for module in "mpm_$mpm" authz_core authz_host "$@"; do
            echo "LoadModule ${module}_module $libexec/mod_$module.so"
        done
        echo "LoadModule slotmem_shm_module $provider"
        cat
    } >"$work/httpd.conf"
}

show_errors() {
    sed 's/^/httpd: /' "$work/error.log"
}

# In a session of its own, as its end is a signal to all of its process group.
start_httpd() {
    : >"$work/error.log"
    setsid apache2 -f "$work/httpd.conf" -DFOREGROUND >"$work/output" 2>&1 &
    httpd=$!
    children+=("$httpd")
    await 60 resumed 1 || { cat "$work/output"; show_errors; return 1; }
}
resumed() { # N
    [ "$(grep -c 'resuming normal operations' "$work/error.log")" -ge "$1" ]
}
end_httpd() {
    { kill -TERM "$httpd" && wait "$httpd"; } 2>/dev/null || :
    httpd=''
}
restart() { # SIGNAL: USR1 gracefully, HUP at once
    local before
    before=$(grep -c 'resuming normal operations' "$work/error.log")
    kill "-$1" "$httpd"
    await 60 resumed $((before + 1))
}
children_of() {
    ps -o pid= --ppid "$1"
}

# In the foreground: of one behind an &, kill would end the shell alone.
web() {
    python3 -IS "$here/web.py" "$@"
}

# A process of this shell's: servers by these names, whose ports are in $ports.
start_servers() {
    python3 -IS "$here/web.py" serve "$@" >"$work/served" &
    children+=($!)
    await 60 grep -q . "$work/served"
    read -r -a ports <"$work/served"
}
