#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The Python binding leaks nothing over 100,000 operations.
. "$(dirname "$0")/../../interop/harness.sh"
here=$source_dir/tests/bindings/python
. "$here/python.sh"
start_manager
edit_table <"$here/table.sql"
ok "100,000 operations leave nothing behind" python "$here/leaks.py"
