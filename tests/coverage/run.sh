#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# run.sh BUILD: runs the unit tests of a build of the coverage preset, and says which branches of
# libclient/core they take (branches.php); fails below 95 %.  The list of the others is left in
# BUILD/branches.txt, what they look like in the source in BUILD/source.txt.
#
# Clang counts in the source, not in the machine code, so that an inlined exchange or a copy that
# became a loop has no branches of its own; and it finds the same condition again in each program.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$1"

# Also what no test links counts.
clang -shared -fprofile-instr-generate -Wl,--whole-archive libclient/libcore.a \
    -Wl,--no-whole-archive -o core.so
rm -rf profiles
mkdir profiles
# The tests of the two databases are slow, and take nothing of the core that the others don't.
LLVM_PROFILE_FILE=$PWD/profiles/%8m.profraw ctest --output-on-failure --no-tests=error -j 2 \
    -R '^unit\.' -E '^unit\.test_(state_db|table_)' >units.log 2>&1 || { cat units.log; exit 1; }
llvm-profdata merge -sparse profiles/*.profraw -o profile

programs=(-object core.so)
for program in tests/unit/test_*; do
    [ -x "$program" ] && [ -f "$program" ] && programs+=(-object "$program")
done
core=$(cd "$here/../.." && pwd)/libclient/core
llvm-cov export -instr-profile profile "${programs[@]:1}" "$core" >branches.json
llvm-cov show -instr-profile profile -show-branches=count "${programs[@]:1}" "$core" >source.txt
php "$here/branches.php" branches.json "$here/uncovered.txt" 95 | tee branches.txt
