# shellcheck shell=bash disable=SC2154 # the harness sets the variables
# SPDX-License-Identifier: Apache-2.0
#
# For the scripts beside it, behind the harness: Debian's Python, and the package as a copy.
[ -x /usr/bin/python3 ] || { echo "no /usr/bin/python3 here"; exit 77; }
install_tree
mkdir "$work/site"
cp -r "$source_dir/libclient/bindings/python/shmclient" "$work/site"
export PYTHONPATH=$work/site:$source_dir/tests/bindings/python PYTHONDONTWRITEBYTECODE=1
python() { timeout -k 1 200 /usr/bin/python3 -W error -X faulthandler "$@"; }
