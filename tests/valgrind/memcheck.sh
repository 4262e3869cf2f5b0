# shellcheck shell=bash disable=SC2034 # the sourcing scripts use the variables
# SPDX-License-Identifier: Apache-2.0
#
# How the scripts beside it run memcheck: errors and definite leaks give the exit status 99; what is
# still reachable at the end is no leak.
command -v valgrind >/dev/null || { echo "skipped: no valgrind (apt-get install valgrind)"; exit 77; }
memcheck=(valgrind -q --fair-sched=try --leak-check=full --errors-for-leak-kinds=definite
    --show-leak-kinds=definite --error-exitcode=99 --num-callers=30
    --suppressions="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/suppressions")
