#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The Python binding where it is used wrongly, closed, collected and forked: it doesn't crash.
. "$(dirname "$0")/../../interop/harness.sh"
here=$source_dir/tests/bindings/python
. "$here/python.sh"
start_manager
edit_table <"$here/table.sql"
ok "wrong types, wrong order, collection, forks, threads" python "$here/bad_moments.py"
