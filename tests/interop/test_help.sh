#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What --help says, the man pages say, and is completed: each verb and each option, in all of them.
# shellcheck source=tests/interop/harness.sh
. "$(dirname "$0")/harness.sh"
PATH=$build/daemon:$PATH
cd "$work"

page() { sed -e 's/\\f[BIR]//g' -e 's/\\-/-/g' "$source_dir/$1"; }
verbs() { shmtool --help | sed -nE 's/^  ((table )?[a-z][a-z-]*) .*/\1/p'; }
section() { sed -nE "/^\.S[HS] $1\$/,/^\.S[HS] $2\$/p"; }

documented_verbs() { # the tags of VERBS
    page tools/shmtool/shmtool.1 | section VERBS OPTIONS |
        awk '/^\.TP/ { tag = 1; next } tag { sub(/^\.B /, ""); print; tag = 0 }' |
        sed -E 's/^((table )?[a-z]+).*/\1/'
}
ok "shmtool(1) has the verbs of --help, and no others" diff <(verbs | sort) <(documented_verbs | sort)

# "VERB: -x, --hex", of --help and of the page.  Those of every verb are compared without a verb.
options_of() {
    # shellcheck disable=SC2086 # "table show" is two words
    shmtool $1 --help | sed -nE '/^options/,$s/^  (-., --[a-z-]+( [^ ]+)?)  .*/\1/p'
}
common() { options_of help; }
own() {
    local verb
    verbs | while read -r verb; do
        { options_of "$verb" | grep -vxF -f <(common) || :; } | sed "s/^/$verb: /"
    done
}
documented_common() {
    page tools/shmtool/shmtool.1 | section 'Of every verb' 'Of some verbs' | sed 's/; /\n/g' |
        grep -E '^-., --'
}
documented_own() {
    page tools/shmtool/shmtool.1 | section 'Of some verbs' 'EXIT STATUS' |
        sed -nE 's/^(-., --[^(]*) \((.*)\)$/\1|\2/p' |
        awk -F'|' '{ n = split($2, verbs, ", "); for (i = 1; i <= n; i++) print verbs[i] ": " $1 }'
}
ok "and the options of every verb" diff <(common | sort) <(documented_common | sort)
ok "and those of each" diff <(own | sort) <(documented_own | sort)

tagged() { # an option that a verb's tag shows is one of its own
    local verb letter
    page tools/shmtool/shmtool.1 | section VERBS OPTIONS |
        awk '/^\.TP/ { tag = 1; next } tag { sub(/^\.B /, ""); print; tag = 0 }' |
        while read -r line; do
            verb=$(sed -E 's/^((table )?[a-z]+).*/\1/' <<<"$line")
            for letter in $(grep -oE -- '(^|[ [])--?[a-zA-Z][a-z-]*' <<<"$line" | tr -d ' ['); do
                options_of "$verb" | grep -qE -- "(^|, )$letter(,| |\$)" ||
                    { echo "$verb has no $letter"; return 1; }
            done
        done
}
ok "and each verb's synopsis shows only its own" tagged

daemon_options() { shm-manager --help | grep -oE -- '--[a-z][a-z-]*' | sort -u; }
documented_daemon_options() {
    page daemon/shm-manager.8 | section OPTIONS SIGNALS |
        awk '/^\.TP/ { tag = 1; next } tag { print $2; tag = 0 }' | sort -u
}
ok "shm-manager(8) has the options of --help" diff <(daemon_options) <(documented_daemon_options)

# shellcheck source=tools/shmtool/completion/shmtool.bash
. "$source_dir/tools/shmtool/completion/shmtool.bash"
completed() { # WORDS...: what could stand for the last of them
    COMP_WORDS=(shmtool "$@")
    COMP_CWORD=$#
    _shmtool
    printf '%s\n' "${COMPREPLY[@]}" | sort -u
}
completes_options() {
    local verb
    while read -r verb; do
        # shellcheck disable=SC2086 # "table show" is two words
        diff <(completed $verb --) <(options_of "$verb" | grep -oE -- '--[a-z-]+' | sort -u) || return 1
    done < <(verbs)
}
ok "bash completes the verbs" diff <(completed '') <(verbs | sed 's/ .*//' | sort -u)
ok "and those of table" diff <(completed table '') <(verbs | sed -n 's/^table //p' | sort)
ok "and the options of each verb" completes_options
