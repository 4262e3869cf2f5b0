#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The Python binding's waits: asyncio, signals, and when the manager is killed.
. "$(dirname "$0")/../../interop/harness.sh"
here=$source_dir/tests/bindings/python
. "$here/python.sh"
start_manager
edit_table <"$here/table.sql"
ok "in an event loop, the loop goes on" python "$here/waiting.py" Loop
ok "signals" python "$here/waiting.py" Interrupted
MANAGER=$manager ok "all goes on without a manager" python "$here/waiting.py" WithoutManager
start_manager
ok "and with the next one" python -c 'import shmclient; shmclient.attach("py", timeout=30).close()'
