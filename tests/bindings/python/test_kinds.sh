#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The Python binding, copied out of the tree, over the installed library: what each kind of section
# does, and what is said of mistakes.
. "$(dirname "$0")/../../interop/harness.sh"
here=$source_dir/tests/bindings/python
. "$here/python.sh"
start_manager
edit_table <"$here/table.sql"
ok "each kind of section" python "$here/kinds.py"
