#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# libshmcompat's README: its programs are compiled as it says, and say what it says.
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../../interop/harness.sh"
readme=$source_dir/libclient/compat/README.md
install_tree
cd "$work"
awk '/^```/ { file = "" }
    /^```c$/ { getline; file = $2; sub(/:$/, "", file) }
    file != "" { print > file }' "$readme"

compile() { # by README's line, in which a program is called that
    local line
    line=$(grep -m 1 '^cc ' "$readme")
    bash -c "${line//program/$1} -Wall -Wextra -Werror -Wl,-rpath,$libdir"
}
ok "the program with a section compiles" compile lamp
ok "the one with a zone compiles" compile zone
start_manager
grep -oE 'INSERT INTO [^`]*' "$readme" | edit_table
run_line() { grep -oE '`shmtool run --worker lamp[^`]*`' "$readme" | tr -d '`' | bash; }
ok "the section is written" test "$(run_line)" = "on, in 64 bytes"
ok "the child's word is heard" test "$(./zone)" = "from a child"
ok "both libraries are found by the program's rpath alone" env -u LD_LIBRARY_PATH ./zone
