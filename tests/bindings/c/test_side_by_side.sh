#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# shmop in C and PHP's own, on the same segments at the same time: what they answer is the same.
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/../../interop/harness.sh"
here=$source_dir/tests/bindings/c
php -r 'exit(extension_loaded("shmop") ? 0 : 1);' 2>/dev/null ||
    { echo "no PHP with shmop here"; exit 77; }
install_tree
# shellcheck disable=SC2046 # flags are words
gcc -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -Werror -o "$work/script" "$here/shmop_script.c" \
    $(pkg-config --cflags --libs shmcompat)

steps=4000
for seed in 1 $RANDOM; do
    ok "$steps operations with seed $seed" /usr/bin/python3 "$here/side_by_side.py" "$seed" "$steps" \
        "$work/script" php "$here/shmop_script.php"
done
