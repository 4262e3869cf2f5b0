#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# sweep.sh DIRECTORY NAME PROGRAM [ARGUMENT...]: runs a kill sweep, and keeps its figures in
# DIRECTORY/NAME, for points.sh.
figures=$1/$2
shift 2
mkdir -p "$(dirname "$figures")"
rm -f "$figures"
output=$(mktemp) || exit 1
trap 'rm -f "$output"' EXIT
"$@" >"$output" 2>&1
status=$?
cat "$output"
grep '^figure: ' "$output" >"$figures"
exit $status
