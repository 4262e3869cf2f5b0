# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# For the scripts beside it, which source it with the build directory in $1: the Node binding,
# installed by npm for a user's program, whose directory becomes the current one.
. "$(dirname "${BASH_SOURCE[0]}")/../../interop/harness.sh"
here=$source_dir/tests/bindings/node
recent() { node -e 'process.exitCode = parseInt(process.versions.node) < 18 ? 1 : 0' 2>/dev/null; }
if ! recent || ! command -v npm >/dev/null; then
    echo "no Node.js 18 with npm here"
    exit 77
fi
install_tree

# Its headers come from npm's registry, or where that can't be reached from Node.js itself.
install_package() {
    mkdir "$work/app"
    cd "$work/app"
    echo '{"private": true}' >package.json
    CFLAGS="-Werror ${optimise-}" npm_config_fetch_retries=1 npm_config_fetch_timeout=20000 \
        npm install --install-links --no-package-lock --no-audit --no-fund \
        "$source_dir/libclient/bindings/node" >"$work/npm.log" 2>&1 || { cat "$work/npm.log"; return 1; }
}
ok "npm installs it from the tree" install_package
[ -e node_modules/shmclient/build/shmclient.node ] || # an npm that runs no scripts of packages
    ok "it is built by hand" node node_modules/shmclient/install.js
cp "$here"/*.mjs "$here"/*.cjs "$here"/*.js .

# README's programs, as they stand there: each begins with a line that names its file.
readme_programs() {
    awk '/^```/ { file = "" }
        /^```(js|ts)$/ { getline; file = $2; sub(/:$/, "", file) }
        file != "" { print > file }' node_modules/shmclient/README.md
}

# What a program prints is shown where it fails.
run() {
    timeout -k 1 200 node --expose-gc "$@" >"$work/node.log" 2>&1 || { cat "$work/node.log"; return 1; }
    grep '^figure: ' "$work/node.log" || :
}
