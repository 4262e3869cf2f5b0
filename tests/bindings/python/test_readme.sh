#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The Python binding's README, taken at its word: its programs are run as they stand there, and the
# package installs with pip where that is to be had.
. "$(dirname "$0")/../../interop/harness.sh"
here=$source_dir/tests/bindings/python
. "$here/python.sh"
cd "$work"
awk '/^```/ { file = "" }
    /^```python$/ { getline; file = $2; sub(/:$/, "", file) }
    /^```sql$/ { file = "table.sql"; next }
    file != "" { print > file }' "$source_dir/libclient/bindings/python/README.md"

start_manager
edit_table <table.sql
/usr/bin/python3 worker.py &
worker=$!
children+=("$worker")
/usr/bin/python3 reader.py >reader.log &
reader=$!
/usr/bin/python3 loop.py >loop.log 2>&1 &
children+=($!)
ok "the reader reads" await 60 grep -qE '^2[0-9]\.[0-9], 21\.0 version [0-9]+$' reader.log
ok "the loop does, too" await 60 grep -qE '^2[0-9]\.[0-9]$' loop.log
ok "a job is sent" python send.py 'fetch water'
ok "and done" await 60 grep -qE '^job fetch water from process [0-9]+$' loop.log
second() {
    ! /usr/bin/python3 worker.py 2>second.log && grep -q "Busy: EBUSY: .*held by process $worker" second.log
}
ok "a second worker is told by whom the name is held" second
{ kill -9 "$worker" && wait "$worker"; } 2>/dev/null || :
ok "the reader ends" wait "$reader"
ok "and says why" grep -q "^ETIME: section 'temps'" reader.log
if python -c 'import numpy' 2>/dev/null; then
    ok "arrays in place" test "$(python arrays.py)" = 4950.0
else
    echo "skipped: arrays in place (no NumPy here)"
fi

install() { # offline: what pip needs to build is Debian's
    mkdir -p tree/libclient/bindings
    cp -r "$source_dir/libclient/bindings/python" tree/libclient/bindings
    sed -n '/^```sh$/,/^```$/{/^```/!p}' tree/libclient/bindings/python/README.md |
        sed 's/-m venv/& --without-pip/; s/^python3/\/usr\/bin\/&/' >tree/install.sh # pip is Debian's
    (cd tree && PIP_NO_INDEX=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_COMPILE=1 PYTHONPATH='' \
        timeout 200 sh -e install.sh) >pip.log 2>&1 || {
        cat pip.log
        return 1
    }
    (cd tree && [ -n "$(find env -path '*/shmclient/py.typed')" ] &&
        PYTHONPATH='' timeout 60 env/bin/python -c 'import shmclient; shmclient.attach().info()')
}
python() { timeout -k 1 200 /usr/bin/python3 "$@"; }
if python -c 'import setuptools, wheel, pip' 2>/dev/null; then
    ok "pip installs it, as README says" install
else
    echo "skipped: pip installs it (python3-pip, python3-setuptools or python3-wheel isn't here)"
fi
