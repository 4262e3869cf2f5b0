#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The Python binding on the backend memfd, where memory is the kernel's to give: what each kind of
# section does, what becomes of memory that was lent, and what others do meanwhile.
export SHM_TEST_BACKEND=memfd
. "$(dirname "$0")/../../interop/harness.sh"
here=$source_dir/tests/bindings/python
. "$here/python.sh"
export TABLE=$work/state/sections.db
start_manager
edit_table <"$here/table.sql"
ok "each kind of section" python "$here/kinds.py"
ok "collection and forks" python "$here/bad_moments.py" Collected WrongOrder
ok "edits, and what is taken" python "$here/changes.py" Changes.test_a_section_moves \
    Changes.test_a_section_is_renamed Changes.test_the_segment_is_replaced \
    Changes.test_a_section_is_taken_by_force Changes.test_the_lease_is_taken_back
