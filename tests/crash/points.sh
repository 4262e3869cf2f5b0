#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# points.sh DIRECTORY NAME...: sums up what the kill sweeps of these names found (sweep.sh): a
# million points at least, and no violation.
directory=$1
shift
files=
for name; do
    [ ! -s "$directory/$name" ] || files="$files $directory/$name"
done
if [ -z "$files" ]; then
    echo 'skipped: no sweep has run here'
    exit 77
fi
# shellcheck disable=SC2086 # a word for each
cat $files | awk '
    $2 ~ /^kill_points[.]/ { points += $3 }
    $2 ~ /^kill_checks[.]/ { checks += $3 }
    $2 ~ /^kills[.]/ { kills += $3 }
    $2 ~ /^violations[.]/ { violations += $3 }
    END {
        printf "figure: kill_points.all %d points\n", points
        printf "figure: kill_checks.all %d checks\n", checks
        printf "figure: kills.all %d kills\n", kills
        printf "figure: violations.kills %d violations\n", violations
        exit points < 1000000 || violations > 0
    }'
