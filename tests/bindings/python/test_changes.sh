#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The Python binding while the table is edited, its lease taken back, and its segment replaced or
# destroyed.
. "$(dirname "$0")/../../interop/harness.sh"
here=$source_dir/tests/bindings/python
. "$here/python.sh"
export TABLE=$work/state/sections.db
start_manager
edit_table <"$here/table.sql"
ok "edits, and a new segment" python "$here/changes.py" Changes.test_a_section_moves \
    Changes.test_a_section_is_removed Changes.test_a_section_is_renamed \
    Changes.test_the_segment_is_replaced
ok "a section that is taken by force" python "$here/changes.py" Changes.test_a_section_is_taken_by_force
ok "a lease that is taken back" python "$here/changes.py" Changes.test_the_lease_is_taken_back
ok "a segment that is destroyed" python "$here/changes.py" Changes.test_the_segment_is_destroyed
