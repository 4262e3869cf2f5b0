#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The table of README that says what to do about which message: each of them is really said, to who
# makes that mistake.
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/harness.sh"
install_tree
cd "$work"
include=$(find "$root" -name shmclient.h)
include=$(dirname "$include")

# shellcheck disable=SC2016 # backquotes are README's
messages() { # one a line, with .* where README leaves something out
    sed -n '/^## When it/,/^## More/s/^| `\([^|]*\)` |.*/\1/p' "$source_dir/README.md" |
        sed -e 's/[].*^$[]/\\&/g' -e 's/…/.*/g'
}

# Each takes what it prints, to standard output or error, to said.
said() {
    "$@" >>said 2>&1 </dev/null || :
}
as_somebody() { # who is in no group
    setpriv --reuid 65533 --regid 65533 --clear-groups "$@"
}

start_manager
edit_table <<'SQL'
INSERT INTO section(name, owner, size, format) VALUES('temps', 'temp-driver', 65536, 'temps/2');
INSERT INTO section(name, owner, size) VALUES('other', 'other-driver', 64);
SQL
gcc -o mistakes "$source_dir/tests/interop/mistakes.c" -Wall -Wextra -Werror \
    -I"$include" -L"$libdir" -lshmclient
said ./mistakes
ok "options without their size: -22, and no text" grep -qx -e -22 said
said gcc -I"$include" -L"$libdir" -lshmclient -Wl,--as-needed -o early "$source_dir/tests/interop/mistakes.c"
said env LD_LIBRARY_PATH=/nonexistent ./mistakes
said env SHMC_KEY=0x7ffffff7 SHMC_RUNTIME_DIR=/nonexistent shmtool list
said env SHMC_RUNTIME_DIR=/nonexistent shmtool put temps
said env SHMC_RUNTIME_DIR=/nonexistent shmtool reload
said sqlite3 "$work/sections.db" "INSERT INTO section(name, owner, size) VALUES('x', 'y', 1)"
unmet='no lock lasts' # interop.overlay has that
if [ "$(id -u)" -eq 0 ]; then
    chmod 0755 "$work" "$work/run"
    chmod 0700 "$work/state"
    said as_somebody ./mistakes
    said as_somebody shmtool table add x y 1
    ok "doctor thinks nothing of it that the table is not for everybody" grep -q \
        '^note *table: .* you may not read it, which only editors need to' <(as_somebody shmtool doctor)
else
    unmet+='|may not write it|try with sudo' # takes another user
fi

really_said() {
    local message
    grep -vE "$unmet" wanted | while IFS= read -r message; do
        grep -q -e "$message" said || { echo "nothing says: $message"; exit 1; }
    done
}
messages >wanted
ok "README's table has its messages" test "$(wc -l <wanted)" -ge 15
ok "each of them is really said" really_said || { cat said; exit 1; }
